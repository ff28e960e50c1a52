package config

import (
	"cmp"
	"maps"
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
	resource *Resource
	outbound *model.Outbound // with where its proxy leads; nil: not written
}

// sidecar takes a Sidecar. There may be one without a selector in a namespace.
func (c *istioCompiler) sidecar(r *Resource, s *istio.Sidecar) {
	all := c.mesh.sidecars
	if all == nil {
		all = &sidecars{by: map[string][]*sidecar{}, declared: c.declared}
		c.mesh.sidecars = all
	}
	one := &sidecar{s, r, s.Outbound}
	same := all.by[s.Namespace]
	if s.Labels == nil {
		if i := slices.IndexFunc(same, func(o *sidecar) bool { return o.Labels == nil }); i >= 0 {
			message := "namespace " + s.Namespace + " has a Sidecar without workloadSelector already: " + same[i].resource.Key.Name
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

// resolveSidecars finds the services that calls to what is no service go to.
func (c *istioCompiler) resolveSidecars() {
	if c.mesh.sidecars == nil {
		return
	}
	for _, ns := range slices.Sorted(maps.Keys(c.mesh.sidecars.by)) {
		for _, s := range c.mesh.sidecars.by[ns] {
			if s.Proxy == nil {
				continue
			}
			x := &meshResolver{c, ns}
			b, f, remedy := x.destination(*s.Proxy, ns)
			c.refs[s.resource.Key] = append(c.refs[s.resource.Key], []failure{}...)
			if f != nil {
				b.Invalid = f.reason + ": " + f.message
				x.unresolved(s.resource, s.Proxy.At, *f, remedy)
			}
			out := *s.Outbound
			out.Proxy, s.outbound = &b, &out
		}
	}
}

// Sidecar returns what holds for the programs of a workload, by its identity's namespace and its labels: what becomes of
// calls to what is no service, nil if nothing is said of it, and which services they see, nil for all.
func (m *Mesh) Sidecar(w *model.Workload) (*model.Outbound, func(model.ServiceName) bool) {
	if m.sidecars == nil {
		return nil, nil
	}
	var out *model.Outbound
	var from *sidecar
	for _, s := range m.sidecars.of(w) {
		if out == nil {
			out = s.outbound
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

// Inbound returns what the programs of a workload serve: what they registered, with the bounds of its Sidecar, or the
// ports that the Sidecar names in its ingress, where its programs are then.
func (m *Mesh) Inbound(w *model.Workload) []model.Inbound {
	if m.sidecars == nil {
		return w.Inbound
	}
	var pool *model.Connections
	var ingress []istio.Ingress
	for _, s := range m.sidecars.of(w) {
		if pool == nil {
			pool = s.Inbound
		}
		if ingress == nil {
			ingress = s.Ingress
		}
	}
	if pool == nil && ingress == nil {
		return w.Inbound
	}
	out := make([]model.Inbound, 0, len(w.Inbound))
	for _, in := range w.Inbound {
		in.Connections = pool
		if ingress != nil {
			i := slices.IndexFunc(ingress, func(g istio.Ingress) bool { return g.Port == in.ServicePort })
			if i < 0 {
				continue // not served
			}
			in.Port = cmp.Or(ingress[i].Program, in.Port)
			in.Protocol = cmp.Or(ingress[i].Protocol, in.Protocol)
			in.Connections = cmp.Or(ingress[i].Pool, in.Connections)
		}
		out = append(out, in)
	}
	return out
}

// of returns the Sidecars of a workload, the most special first: of several whose selectors match, the oldest.
func (all *sidecars) of(w *model.Workload) (out []*sidecar) {
	namespace := w.Identity.Namespace
	for _, s := range all.by[namespace] {
		if s.Labels == nil || len(out) == 0 && w.HasLabels(s.Labels) {
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
func (m *Mesh) Unseen(w *model.Workload, n model.ServiceName) (by model.PolicyRef, ok bool) {
	if m.sidecars == nil {
		return by, false
	}
	for _, s := range m.sidecars.of(w) {
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
