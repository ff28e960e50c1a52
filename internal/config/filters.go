package config

import (
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// filterRefs resolves what the filters of a route refer to.
type filterRefs struct {
	route   ResourceKey
	backend func(ResourceKey, model.ServiceName, uint16) (f *failure, remedy string)       // why a reference does not resolve
	tls     *standalone                                                                    // says where nothing may be sent; nil: everywhere it may
	asked   func(ResourceKey, model.ServiceName, uint16, bool) (f *failure, remedy string) // why a service cannot be asked
	fail    func(at gateway.Position, f *failure, remedy string) string                    // notes a failure and words it
}

// resolve returns the filters with their references resolved; those that are given stay as they are.
func (x *filterRefs) resolve(in model.Filters, at gateway.FiltersAt) model.Filters {
	in.Mirrors = slices.Clone(in.Mirrors)
	for i := range in.Mirrors {
		m := &in.Mirrors[i]
		if f, remedy := x.backend(x.route, m.Service, m.Port); f != nil {
			m.Invalid = x.fail(at.Mirrors[i], f, remedy)
			continue
		}
		m.Invalid = x.tls.withoutTLS(m.Service, m.Port)
	}
	in.Auth = resolveAuth(in.Auth, x.route, x.asked, func(f *failure, remedy string) string { return x.fail(at.Auth, f, remedy) })
	return in
}

// resolveRule resolves the filters of a rule and of its backends, which are its own already.
func (x *filterRefs) resolveRule(rule *model.Rule, written *gateway.Rule) {
	rule.Filters = x.resolve(rule.Filters, gateway.FiltersAt{Mirrors: written.MirrorAt, Auth: written.AuthAt})
	for i := range rule.Backends {
		if b := &rule.Backends[i]; b.Filters != nil {
			own := x.resolve(*b.Filters, written.BackendFiltersAt[i])
			b.Filters = &own
		}
	}
}
