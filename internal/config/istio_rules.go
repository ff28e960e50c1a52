package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// istioResolver finds what destinations name: in a mesh, or at a gateway.
type istioResolver interface {
	// destination returns the service, the labels and the policy of the subset, and why they do not resolve.
	destination(d istio.Destination, namespace string) (b model.Backend, f *failure, remedy string)
	// virtualService returns what a delegate names.
	virtualService(n istio.ObjectName) (*istio.VirtualService, *Resource)
	// unresolved reports what does not resolve.
	unresolved(r *Resource, at gateway.Position, f failure, remedy string)
}

// meshRules returns the rules of a VirtualService for clients of a namespace.
func (c *istioCompiler) meshRules(r *Resource, v *istio.VirtualService, s *model.Service, client string) []model.Rule {
	m := &meshResolver{c, client}
	var out []model.Rule
	for _, route := range expandRoutes(m, r, v) {
		for _, rule := range route.For(istio.Mesh, v.Gateways) {
			out = append(out, c.place(route, rule, s)...)
		}
	}
	return append(c.streams(m, r, v, s), out...)
}

// place ties a redirect to where requests come in: by HTTP, on a port of the service.
func (c *istioCompiler) place(route *istio.HTTPRoute, rule model.Rule, s *model.Service) []model.Rule {
	to := rule.Filters.Redirect
	if to == nil {
		return []model.Rule{rule}
	}
	if !route.DerivesPort() || to.Port != 0 || len(s.Ports) == 0 {
		return []model.Rule{placeRedirect(rule, "http", 0)}
	}
	var out []model.Rule
	for _, p := range s.Ports {
		one := placeRedirect(rule, "http", p.Number)
		one.Port = p.Number
		out = append(out, one)
	}
	return out
}

// placeRedirect completes a redirect by the scheme of the listener, so that its port is the scheme's own unless
// another is asked for. port is the one that the request's is derived from, or 0.
func placeRedirect(rule model.Rule, scheme string, port uint16) model.Rule {
	to := *rule.Filters.Redirect
	if to.Scheme == "" && (to.Host != "" || port != 0) {
		to.Scheme = scheme
	}
	if to.Port == 0 {
		to.Port = port
	}
	rule.Filters.Redirect = &to
	return rule
}

// expandRoutes resolves the routes of a VirtualService, with those that it delegates to in their places.
func expandRoutes(x istioResolver, r *Resource, v *istio.VirtualService) []*istio.HTTPRoute {
	var out []*istio.HTTPRoute
	for i := range v.HTTP {
		route := &v.HTTP[i]
		if route.Delegate == nil {
			out = append(out, resolveRoute(x, r, v.Namespace, route))
			continue
		}
		child, from := x.virtualService(route.Delegate.Name)
		f := delegateFailure(route.Delegate.Name, child, v.Namespace)
		if f != nil {
			x.unresolved(r, route.Delegate.At, *f, "")
			continue
		}
		for j := range child.HTTP {
			merged, ok := route.To(&child.HTTP[j])
			if !ok {
				x.unresolved(from, gateway.Position{Line: child.HTTP[j].Rule.Ref.Line}, failure{
					ReasonBackendNotFound,
					fmt.Sprintf("rule %d matches nothing that %s rule %d delegates to it", j, r.Key, i),
				}, "its matches must lie within those of the rule that delegates")
				continue
			}
			out = append(out, resolveRoute(x, from, child.Namespace, &merged))
		}
	}
	return out
}

// delegateFailure says why a route cannot be handed over.
func delegateFailure(n istio.ObjectName, child *istio.VirtualService, namespace string) *failure {
	switch {
	case child == nil:
		return &failure{ReasonBackendNotFound, "there is no VirtualService " + n.String()}
	case len(child.Hosts) > 0:
		return &failure{ReasonBackendNotFound, fmt.Sprintf("the VirtualService %s has hosts: only one without can be delegated to", n)}
	case !visible(child.ExportTo, namespace):
		return &failure{ReasonRefNotPermitted, fmt.Sprintf("the VirtualService %s is not exported to namespace %s", n, namespace)}
	}
	return nil
}

// resolveRoute returns a copy of the route with services in place of hosts. One that does not resolve keeps its
// share, which is answered 500.
func resolveRoute(x istioResolver, r *Resource, namespace string, route *istio.HTTPRoute) *istio.HTTPRoute {
	out := *route
	out.Rule.Backends = resolveBackends(x, r, namespace, route.Rule.Backends, route.Backends)
	out.Rule.Filters.Mirrors = slices.Clone(out.Rule.Filters.Mirrors)
	for i, d := range route.Mirrors {
		b, f, remedy := x.destination(d, namespace)
		m := &out.Rule.Filters.Mirrors[i]
		m.Service, m.Port, m.Subset = b.Service, b.Port, b.Subset
		if f != nil {
			m.Invalid = f.reason + ": " + f.message
			x.unresolved(r, d.At, *f, remedy)
		}
	}
	return &out
}

func resolveBackends(x istioResolver, r *Resource, namespace string, backends []model.Backend, to []istio.Destination) []model.Backend {
	out := slices.Clone(backends)
	for i, d := range to {
		b, f, remedy := x.destination(d, namespace)
		b.Weight, b.Request, b.Response = out[i].Weight, out[i].Request, out[i].Response
		if f != nil {
			b.Invalid = f.reason + ": " + f.message
			x.unresolved(r, d.At, *f, remedy)
		}
		out[i] = b
	}
	return out
}

// meshResolver resolves for the clients of a namespace.
type meshResolver struct {
	*istioCompiler
	client string
}

func (m *meshResolver) virtualService(n istio.ObjectName) (*istio.VirtualService, *Resource) {
	r := m.resources[n]
	if r == nil {
		return nil, nil
	}
	return r.body.(*istio.VirtualService), r
}

func (m *meshResolver) unresolved(r *Resource, at gateway.Position, f failure, remedy string) {
	if m.warnOnce(r, at, f.message, remedy) {
		m.refs[r.Key] = append(m.refs[r.Key], f)
	}
}

func (m *meshResolver) destination(d istio.Destination, namespace string) (model.Backend, *failure, string) {
	n, ok := m.resolveHost(d.Host, namespace)
	if !ok {
		n, _ = istioName(d.Host, namespace)
		message, remedy := m.unknownHost(d.Host, namespace)
		return model.Backend{Service: n}, &failure{ReasonBackendNotFound, message}, remedy
	}
	s := m.mesh.Services[n]
	b := model.Backend{Service: n, Port: destinationPort(d.Port, s)}
	if _, ok := s.Port(b.Port); !ok && b.Port != 0 && len(s.Ports) > 0 {
		return b, &failure{ReasonBackendNotFound, fmt.Sprintf("service %s has no port %d", n, b.Port)}, portRemedy(s)
	}
	if d.Subset == "" {
		return b, nil, ""
	}
	rule, r := m.ruleFor(n, m.client)
	if rule == nil {
		rule, r = m.ruleFor(n, namespace) // who wrote the destination wrote the subset, for whoever is routed by it
	}
	if rule == nil {
		return b, &failure{ReasonBackendNotFound, fmt.Sprintf("service %s has no subset %s: no DestinationRule is for it", n, d.Subset)}, "write a DestinationRule with the subset"
	}
	subset, ok := rule.Subsets[d.Subset]
	if !ok {
		return b, &failure{ReasonBackendNotFound, fmt.Sprintf("%s has no subset %s", r.Key, d.Subset)}, nearestSubset(rule, d.Subset)
	}
	b.Subset = subset.Labels
	b.Upstream = m.upstream(r, &subset.Traffic, s)
	return b, nil, ""
}

// destinationPort is the port asked for, or the only one of the service (Istio, Destination.port).
func destinationPort(port uint16, s *model.Service) uint16 {
	if port == 0 && len(s.Ports) == 1 {
		return s.Ports[0].Number
	}
	return port
}

func nearestSubset(d *istio.DestinationRule, name string) string {
	var names []string
	for n := range d.Subsets {
		names = append(names, n)
	}
	if len(names) == 0 {
		return "it has none"
	}
	slices.Sort(names)
	return document.DidYouMean(name, names)
}

// streams returns the rules for connections that are not HTTP. Ports that are declared to carry HTTP have none (Istio,
// VirtualService.tcp: "for all ports that are not HTTP").
func (c *istioCompiler) streams(x istioResolver, r *Resource, v *istio.VirtualService, s *model.Service) (out []model.Rule) {
	for i := range v.Streams {
		route := &v.Streams[i]
		gateways := route.Gateways
		if gateways == nil {
			gateways = v.Gateways
		}
		if !slices.Contains(gateways, istio.Mesh) {
			continue
		}
		rule := sourced(route)
		rule.Backends = resolveBackends(x, r, v.Namespace, rule.Backends, route.Backends)
		if rule.Layer = model.ServerNames; !route.TLS {
			rule.Layer = model.Bytes
		}
		if !slices.ContainsFunc(s.Ports, carriesHTTP) {
			out = append(out, rule)
			continue
		}
		before := len(out)
		for _, p := range s.Ports {
			if !carriesHTTP(p) && (rule.Port == 0 || rule.Port == p.Number) {
				one := rule
				one.Port = p.Number
				out = append(out, one)
			}
		}
		if len(out) == before {
			c.warnOnce(r, gateway.Position{Line: rule.Ref.Line}, fmt.Sprintf("rule %d for connections has no effect: the ports of service %s that it is for carry HTTP", rule.Ref.Rule, s.Name), "route them by http, or declare the port to carry tcp")
		}
	}
	return out
}

// carriesHTTP reports whether a port is declared to carry HTTP.
func carriesHTTP(p model.Port) bool {
	return p.Protocol == model.HTTP || p.Protocol == model.HTTP2 || p.Protocol == model.GRPC
}

// sourced returns the rule of a route for connections, with its conditions on the client and on addresses.
func sourced(route *istio.StreamRoute) model.Rule {
	rule := route.Rule
	if route.Source != nil || route.Addresses != nil {
		rule.Matches = []model.Match{{More: &model.MoreMatch{Source: route.Source, Addresses: route.Addresses}}}
	}
	return rule
}
