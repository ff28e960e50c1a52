package config

import (
	"slices"

	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// sidecars are the Sidecars by what they are for. A field that the most special one does not write is that of the next
// (Istio, Sidecar: by workloadSelector, of the namespace, of the root namespace).
type sidecars struct {
	by       map[string][]*sidecar // by namespace, those with a selector first and then the older
	root     *sidecar              // of istioRoot, for all namespaces; nil: there is none
	declared map[model.ServiceName]bool
}

type sidecar struct {
	*istio.Sidecar
	key ResourceKey
}

// sidecar takes a Sidecar. There may be one without a selector in a namespace.
func (c *istioCompiler) sidecar(r *Resource, s *istio.Sidecar) {
	all := c.mesh.sidecars
	if all == nil {
		all = &sidecars{by: map[string][]*sidecar{}, declared: c.declared}
		c.mesh.sidecars = all
	}
	one := &sidecar{s, r.Key}
	same := all.by[s.Namespace]
	if s.Labels == nil {
		if i := slices.IndexFunc(same, func(o *sidecar) bool { return o.Labels == nil }); i >= 0 {
			message := "namespace " + s.Namespace + " has a Sidecar without workloadSelector already: " + same[i].key.Name
			c.refuse(r, s.At, message, "write workloadSelector, or what is to hold for the namespace into that one")
			c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, []failure{{ReasonConflicted, message}})}
			return
		}
		all.by[s.Namespace] = append(same, one)
		if s.Namespace == istioRoot {
			all.root = one
		}
	} else {
		at := slices.IndexFunc(same, func(o *sidecar) bool { return o.Labels == nil })
		if at < 0 {
			at = len(same)
		}
		all.by[s.Namespace] = slices.Insert(same, at, one)
	}
	c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, nil)}
}

// Sidecar returns what holds for the programs of a workload of that namespace with those labels: what becomes of calls
// to what is no service, nil if nothing is said of it, and which services they see, nil for all.
func (m *Mesh) Sidecar(namespace string, labels map[string]string) (*model.Outbound, func(model.ServiceName) bool) {
	if m.sidecars == nil {
		return nil, nil
	}
	var out *model.Outbound
	var from *sidecar
	for _, s := range m.sidecars.of(namespace, labels) {
		if out == nil {
			out = s.Outbound
		}
		if from == nil && s.Sees != nil {
			from = s
		}
	}
	if from == nil || slices.Contains(from.Sees, istio.SeenHost{Namespace: "*", Name: "*"}) {
		return out, nil
	}
	return out, func(n model.ServiceName) bool { return m.sidecars.sees(from, n) }
}

// of returns the Sidecars of a workload, the most special first: of several whose selectors match, the oldest.
func (all *sidecars) of(namespace string, labels map[string]string) (out []*sidecar) {
	for _, s := range all.by[namespace] {
		if s.Labels == nil || len(out) == 0 && hasLabels(labels, s.Labels) {
			out = append(out, s)
		}
	}
	if all.root != nil && namespace != istioRoot {
		out = append(out, all.root)
	}
	return out
}

// sees reports whether a service is one that a Sidecar names.
func (all *sidecars) sees(s *sidecar, n model.ServiceName) bool {
	return slices.ContainsFunc(s.Sees, func(h istio.SeenHost) bool {
		if h.Namespace != "*" && h.Namespace != n.Namespace {
			return false
		}
		if h.Name[0] == '*' {
			return hostCovers(h.Name, n, all.declared[n])
		}
		if all.declared[n] {
			return h.Name == n.Name || entryName(h.Name, n.Namespace) == n
		}
		named, ok := istioName(h.Name, n.Namespace)
		return ok && named == n
	})
}

// Unseen returns the Sidecar by which a workload does not see a service; ok is false if it sees it.
func (m *Mesh) Unseen(namespace string, labels map[string]string, n model.ServiceName) (by model.PolicyRef, ok bool) {
	if m.sidecars == nil {
		return by, false
	}
	for _, s := range m.sidecars.of(namespace, labels) {
		if s.Sees != nil {
			return s.Egress, !m.sidecars.sees(s, n)
		}
	}
	return by, false
}

// Addressed returns the services that workloads of a namespace may call by an address which is not one of the mesh's
// own: what ServiceEntries give. They come in the order of their age.
func (m *Mesh) Addressed(namespace string) (out []model.ServiceName) {
	for _, a := range m.addressed {
		if visible(a.exportTo, namespace) {
			out = append(out, a.name)
		}
	}
	return out
}

// addressedEntry is a service of a ServiceEntry with an address.
type addressedEntry struct {
	name     model.ServiceName
	exportTo []string
}

func hasLabels(have, want map[string]string) bool {
	for k, v := range want {
		if got, ok := have[k]; !ok || got != v {
			return false
		}
	}
	return true
}
