package config

import (
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// A DestinationRule with a workloadSelector is for the clients of its namespace that have the labels (Istio,
// DestinationRule.workloadSelector). What clients see of a service then depends on which of the selectors hold for them,
// so there is a view for each combination.

// maxChosen bounds the selectors that tell the clients of a service in one namespace apart: there are views for 2^4
// combinations at most.
const maxChosen = 4

// chosenMark is between the namespace and the combination in the name of a client. No namespace has it.
const chosenMark = "+"

// ClientOf returns how ServiceFor knows a workload that calls a service: its namespace, and which selectors hold for it
// where some tell the clients of the namespace apart.
func (m *Mesh) ClientOf(n model.ServiceName, w *model.Workload) string {
	if w == nil {
		return ""
	}
	namespace := w.Identity.Namespace
	return chosenClient(namespace, m.chosen[consumerKey{n, namespace}], func(labels map[string]string) bool { return w.HasLabels(labels) })
}

func chosenClient(namespace string, selectors []map[string]string, holds func(map[string]string) bool) string {
	mask := 0
	for i, s := range selectors {
		if holds(s) {
			mask |= 1 << i
		}
	}
	if mask == 0 {
		return namespace
	}
	return namespace + chosenMark + strconv.Itoa(mask)
}

// namespaceOf is that of a client as ClientOf has it.
func namespaceOf(client string) string {
	ns, _, _ := strings.Cut(client, chosenMark)
	return ns
}

// selectors returns those of DestinationRules of a namespace for the services, in the order of their age.
func (c *istioCompiler) selectors(of map[model.ServiceName]bool, client string) (out []map[string]string) {
	for _, name := range sortedNames(of) {
		for _, r := range append(slices.Clip(c.rules[name]), c.wild...) {
			d := r.body.(*istio.DestinationRule)
			if d.Selector == nil || d.Namespace != client || !c.hostCovers(d.Host.Name, name) {
				continue
			}
			if slices.ContainsFunc(out, func(s map[string]string) bool { return maps.Equal(s, d.Selector) }) {
				continue
			}
			if len(out) == maxChosen {
				c.warnOnce(r, d.Host.At, "has no effect on clients of "+name.String()+": workloadSelectors of 4 others tell them apart already, and more are not supported in this version of Weft", "remove one of them")
				continue
			}
			out = append(out, d.Selector)
		}
	}
	return out
}

// chosenViews makes what clients of a namespace see that selectors hold for; own is what the others see.
func (c *istioCompiler) chosenViews(s *model.Service, client string, of map[model.ServiceName]bool) {
	selectors := c.selectors(of, client)
	if len(selectors) == 0 {
		return
	}
	c.mesh.chosen[consumerKey{s.Name, client}] = selectors
	defer func() { c.holding = nil }()
	for mask := 1; mask < 1<<len(selectors); mask++ {
		c.holding = nil
		for i, labels := range selectors {
			if mask&(1<<i) != 0 {
				c.holding = append(c.holding, labels)
			}
		}
		name := chosenClient(client, selectors, c.holds)
		c.mesh.istio[consumerKey{s.Name, name}] = c.view(s, client)
	}
}

// holds reports whether a selector is one of those that hold for the clients whose view is made.
func (c *istioCompiler) holds(labels map[string]string) bool {
	return slices.ContainsFunc(c.holding, func(s map[string]string) bool { return maps.Equal(s, labels) })
}
