package config

import (
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// meshSuffixes end full names of services: reviews.default.svc.cluster.local.
func meshSuffixes() []string { return []string{".svc.cluster.local", ".svc", ".mesh"} }

// istioName reads a host as the name of a service: "reviews" of the namespace it is written in, "reviews.default",
// or its full name. ok is false for names that can be no service's.
func istioName(host, namespace string) (n model.ServiceName, ok bool) {
	for _, suffix := range meshSuffixes() {
		if rest, found := strings.CutSuffix(host, suffix); found {
			name, ns, two := strings.Cut(rest, ".")
			return model.ServiceName{Namespace: ns, Name: name}, two && document.CheckLabel(name) == "" && document.CheckLabel(ns) == ""
		}
	}
	name, ns, two := strings.Cut(host, ".")
	if !two {
		ns = namespace
	}
	return model.ServiceName{Namespace: ns, Name: name}, document.CheckLabel(name) == "" && document.CheckLabel(ns) == ""
}

// resolveHost returns the service that a host names: one of a ServiceEntry, or one of the mesh.
func (c *istioCompiler) resolveHost(host, namespace string) (model.ServiceName, bool) {
	if n, ok := c.entries[host]; ok {
		return n, visible(c.exported[n], namespace)
	}
	n, ok := istioName(host, namespace)
	return n, ok && c.resolve(n) != nil
}

// matching returns the services that a host of a VirtualService or DestinationRule stands for.
func (c *istioCompiler) matching(host, namespace string) []model.ServiceName {
	if !strings.HasPrefix(host, "*") {
		if n, ok := c.resolveHost(host, namespace); ok {
			return []model.ServiceName{n}
		}
		return nil
	}
	out := map[model.ServiceName]bool{}
	for n := range c.mesh.Services {
		if c.hostCovers(host, n) {
			out[n] = true
		}
	}
	return sortedNames(out)
}

// hostCovers reports whether a wildcard stands for a service. Any other host does: it was resolved.
func (c *istioCompiler) hostCovers(host string, n model.ServiceName) bool {
	return hostCovers(host, n, c.declared[n])
}

// hostCovers is istioCompiler's; declared tells that the service is a ServiceEntry's.
func hostCovers(host string, n model.ServiceName, declared bool) bool {
	suffix, wild := strings.CutPrefix(host, "*")
	if !wild || suffix == "" {
		return true
	}
	if declared {
		return strings.HasSuffix(n.Name, suffix)
	}
	for _, end := range append(meshSuffixes(), "") {
		if strings.HasSuffix(n.Name+"."+n.Namespace+end, suffix) {
			return true
		}
	}
	return false
}

// unknownHost words that nobody has a host, and what may have been meant.
func (c *istioCompiler) unknownHost(host, namespace string) (message, remedy string) {
	if strings.HasPrefix(host, "*") {
		return "no service has a name that " + clip(host) + " stands for", ""
	}
	n, ok := istioName(host, namespace)
	if !ok {
		return "no service or ServiceEntry has the host " + clip(host), "write a ServiceEntry with endpoints for it"
	}
	return "no service " + n.String() + " is registered or declared", c.nearest(n)
}

// warnOnce warns unless it did already, and reports whether it has.
func (c *istioCompiler) warnOnce(r *Resource, at gateway.Position, message, remedy string) bool {
	key := r.Key.String() + at.Field + message
	if c.told[key] {
		return false
	}
	c.told[key] = true
	c.warn(r, at, message, remedy)
	return true
}

func newIstioCompiler(c *compiler) *istioCompiler {
	return &istioCompiler{
		compiler: c, resources: map[istio.ObjectName]*Resource{}, entries: map[string]model.ServiceName{}, declared: map[model.ServiceName]bool{},
		certified: map[model.ServiceName][]string{}, exported: map[model.ServiceName][]string{},
		virtual: map[model.ServiceName][]*Resource{}, rules: map[model.ServiceName][]*Resource{},
		refs: map[ResourceKey][]failure{}, told: map[string]bool{},
		secrets: map[gateway.ObjectName]*gateway.Secret{},
	}
}
