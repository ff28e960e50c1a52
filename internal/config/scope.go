package config

import (
	"cmp"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// Scope returns what the proxy of workload w runs when it calls the services of those names: these, and
// every service that the backends and mirrors of their rules name, or that is asked about requests, and so on. Names that the mesh does not have are
// left out. Services are sorted; the same input gives the same JSON, byte for byte.
func Scope(m *Mesh, w model.Workload, names []model.ServiceName) *model.Snapshot {
	out := &model.Snapshot{Revision: m.Revision, TrustDomain: m.TrustDomain, Workload: w}
	out.Workload.Policy = m.InboundPolicy(w.Service)
	var sees func(model.ServiceName) bool
	out.Workload.Outbound, sees = m.Sidecar(&w)
	out.Workload.Inbound = m.Inbound(&w)
	seen := make(map[model.ServiceName]bool, len(names))
	queue := slices.DeleteFunc(slices.Clone(names), func(n model.ServiceName) bool { return sees != nil && !sees(n) })
	need := func(n model.ServiceName) { queue = append(queue, n) }
	out.Workload.Outbound.EachUsed(need)
	out.Workload.Policy.EachAsked(need)
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		if seen[n] {
			continue
		}
		seen[n] = true
		s, ok := m.ServiceFor(n, m.ClientOf(n, &w))
		if !ok {
			continue
		}
		out.Services = append(out.Services, s)
		s.EachUsed(need)
	}
	slices.SortFunc(out.Services, func(a, b model.Service) int {
		return cmp.Or(cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
	})
	return out
}

// ServiceFor returns the service as clients of a namespace see it, or a client as ClientOf has it. Rules of routes in the client's
// namespace stand in place of the service's own, for the ports they are for.
func (m *Mesh) ServiceFor(n model.ServiceName, client string) (model.Service, bool) {
	s := m.Services[n]
	if s == nil {
		return model.Service{}, false
	}
	out := *s
	if view, ok := m.istio[consumerKey{n, client}]; ok {
		out.Rules, out.Ordered, out.Policy, out.Upstream = view.rules, view.ordered, view.policy, view.upstream
	}
	own := m.consumer[consumerKey{n, namespaceOf(client)}]
	if len(own) == 0 {
		return out, true
	}
	out.Rules, out.Ordered = slices.Clone(own), false
	for _, p := range s.Ports {
		if slices.ContainsFunc(own, func(r model.Rule) bool { return r.Port == 0 || r.Port == p.Number }) {
			continue
		}
		for _, r := range s.Rules {
			if r.Port == 0 || r.Port == p.Number {
				r.Port = p.Number
				out.Rules = append(out.Rules, r)
			}
		}
	}
	return out, true
}

// HasOwnRules reports whether clients of a namespace, or a client as ClientOf has it, see other rules of a service than
// everybody else.
func (m *Mesh) HasOwnRules(n model.ServiceName, client string) bool {
	_, ok := m.istio[consumerKey{n, client}]
	return ok || len(m.consumer[consumerKey{n, namespaceOf(client)}]) > 0
}
