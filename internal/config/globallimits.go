package config

import "github.com/weft-mesh/weft/internal/model"

// GlobalLimit is a rate limit that is counted for all proxies.
type GlobalLimit struct {
	*model.RateLimit

	// Counted are the workloads whose proxies count: the servers of the service that the limit is of. Nil means every
	// workload: the limit is of a route, or of a service without proxies.
	Counted map[model.Identity]bool
}

// Counts reports whether proxies of a workload have to do with the limit.
func (g *GlobalLimit) Counts(id model.Identity) bool { return g.Counted == nil || g.Counted[id] }

// GlobalLimits are those that the mesh's policies have, by the ID that proxies know them by.
func (m *Mesh) GlobalLimits() map[model.LimitID]GlobalLimit {
	out := map[model.LimitID]GlobalLimit{}
	add := func(p *model.Policy, s *model.Service) {
		if p == nil {
			return
		}
		for i := range p.Limits {
			l := &p.Limits[i]
			if !l.Global {
				continue
			}
			if id, err := l.ID(p.Ref); err == nil { // what is compiled can be written as JSON
				out[id] = GlobalLimit{l, servers(s)}
			}
		}
	}
	rules := func(rs []model.Rule) {
		for i := range rs {
			add(rs[i].Policy, nil)
		}
	}
	for _, s := range m.Services {
		add(s.Policy, s)
		rules(s.Rules)
	}
	for _, rs := range m.consumer {
		rules(rs)
	}
	for _, sockets := range m.gateways {
		for i := range sockets {
			for j := range sockets[i].Listeners {
				rules(sockets[i].Listeners[j].Rules)
			}
		}
	}
	for key, view := range m.istio {
		add(view.policy, m.Services[key.service])
		rules(view.rules)
	}
	return out
}

// servers are the identities of a service's endpoints in the mesh; nil when there are none.
func servers(s *model.Service) map[model.Identity]bool {
	if s == nil {
		return nil
	}
	var out map[model.Identity]bool
	for i := range s.Endpoints {
		if e := &s.Endpoints[i]; !e.Plain {
			if out == nil {
				out = map[model.Identity]bool{}
			}
			out[e.Identity] = true
		}
	}
	return out
}
