package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// fill gives a listener the rules of the VirtualServices that are bound to its gateway and have a host of its.
func (e *istioEdge) fill(ln *istioListener) {
	for _, s := range ln.servers {
		if s.server.Redirect {
			ref := model.RuleRef{
				Kind: "Gateway", Namespace: s.resource.Key.Namespace, Name: s.resource.Key.Name, File: s.resource.File, Line: s.server.At.Line,
			}
			rule := model.Rule{Ref: ref, Filters: model.Filters{Redirect: &model.Redirect{Scheme: "https", Status: 301}}}
			ln.Rules = []model.Rule{rule}
			e.bindOnly(s, ln)
			return
		}
	}
	for _, r := range e.virtual {
		v := r.body.(*istio.VirtualService)
		for _, s := range ln.servers {
			hosts, ok := e.hosts(v, s, ln.Hostname, ln.kind())
			if !ok {
				continue
			}
			if ln.kind().HTTP() {
				e.http(r, v, s, ln, hosts)
			} else if ln.kind() == model.SocketPassthrough {
				e.passthrough(r, v, s, ln)
			} else {
				e.stream(r, v, s, ln)
			}
		}
	}
	e.fillDefault(ln)
	if len(ln.Rules) == 0 && !ln.kind().HTTP() {
		s := ln.servers[0]
		e.warn(s.resource, s.server.At, fmt.Sprintf("listener %s has no rule: its connections are closed", ln.Name), "bind a VirtualService with tcp routes to the Gateway")
	}
}

// bindOnly notes the VirtualServices of a listener that answers by itself.
func (e *istioEdge) bindOnly(s istioServer, ln *istioListener) {
	for _, r := range e.virtual {
		if _, ok := e.hosts(r.body.(*istio.VirtualService), s, ln.Hostname, model.SocketHTTP); ok {
			e.bound[r] = e.bound[r] || slices.Contains(gatewaysOf(r.body.(*istio.VirtualService)), s.gateway())
		}
	}
}

// hosts returns the hosts that a VirtualService and a listener have in common, none for every host, and whether the
// server lets the VirtualService have them.
func (e *istioEdge) hosts(v *istio.VirtualService, s istioServer, listener string, kind model.SocketKind) ([]string, bool) {
	if s.namespace != "" && s.namespace != v.Namespace || len(v.Hosts) == 0 || !visible(v.ExportTo, s.resource.Key.Namespace) {
		return nil, false
	}
	if kind == model.SocketTCP {
		return nil, true
	}
	var names []string
	for _, h := range v.Hosts {
		if h.Name == "*" {
			return commonHosts(nil, listener)
		}
		names = append(names, h.Name)
		if n, ok := istioName(h.Name, v.Namespace); ok && !strings.Contains(h.Name, ".") {
			names = append(names, n.Name+"."+n.Namespace+meshSuffixes()[0])
		}
	}
	return commonHosts(names, listener)
}

func (e *istioEdge) http(r *Resource, v *istio.VirtualService, s istioServer, ln *istioListener, hosts []string) {
	if !slices.Contains(gatewaysOf(v), s.gateway()) {
		return
	}
	scheme := "http"
	if s.server.Kind.TLS() {
		scheme = "https"
	}
	x := &edgeResolver{meshResolver{e.rules, s.resource.Key.Namespace}, e}
	for _, route := range expandRoutes(x, r, v) {
		for _, rule := range route.For(s.gateway(), v.Gateways) {
			if rule.Filters.Redirect != nil {
				port := uint16(0)
				if route.DerivesPort() {
					port = s.server.Port
				}
				rule = placeRedirect(rule, scheme, port)
			}
			rule.Hosts = hosts
			ln.Rules = append(ln.Rules, rule)
			e.bound[r] = true
			e.useIstio(&rule)
		}
	}
}

// passthrough gives a listener of TLS that goes through its rules, by SNI.
func (e *istioEdge) passthrough(r *Resource, v *istio.VirtualService, s istioServer, ln *istioListener) {
	for i := range v.Streams {
		route := &v.Streams[i]
		hosts, ok := commonHosts(route.Rule.Hosts, ln.Hostname)
		if !ok || !route.TLS || !boundTo(route, v, s) {
			continue
		}
		rule := e.streamRule(r, v, s, route)
		rule.Hosts = hosts
		ln.Rules = append(ln.Rules, rule)
	}
}

// boundTo reports whether a rule for connections is for the port of a server.
func boundTo(route *istio.StreamRoute, v *istio.VirtualService, s istioServer) bool {
	gateways := route.Gateways
	if gateways == nil {
		gateways = v.Gateways
	}
	return slices.Contains(gateways, s.gateway()) && (route.Rule.Port == 0 || route.Rule.Port == s.server.Port)
}

// streamRule resolves a rule for connections.
func (e *istioEdge) streamRule(r *Resource, v *istio.VirtualService, s istioServer, route *istio.StreamRoute) model.Rule {
	e.bound[r] = true
	rule := sourced(route)
	rule.Port, rule.Hosts = 0, nil
	rule.Backends = resolveBackends(&edgeResolver{meshResolver{e.rules, s.resource.Key.Namespace}, e}, r, v.Namespace, rule.Backends, route.Backends)
	e.useIstio(&rule)
	return rule
}

// stream gives a listener of bytes its rules for its port, up to the first that takes every connection.
func (e *istioEdge) stream(r *Resource, v *istio.VirtualService, s istioServer, ln *istioListener) {
	for i := range v.Streams {
		route := &v.Streams[i]
		if route.TLS || !boundTo(route, v, s) {
			continue
		}
		if n := len(ln.Rules); n > 0 && len(ln.Rules[n-1].Matches) == 0 {
			e.bound[r] = true
			e.warn(r, gateway.Position{Line: route.Rule.Ref.Line}, fmt.Sprintf("the connections of listener %s go to %s already", ln.Name, ln.Rules[n-1].Ref), "one rule is all it takes")
			return
		}
		ln.Rules = append(ln.Rules, e.streamRule(r, v, s, route))
	}
}

// useIstio notes the services that a rule names.
func (e *istioEdge) useIstio(rule *model.Rule) {
	note := func(n model.ServiceName, invalid string) {
		switch {
		case invalid != "":
		case e.rules.declared[n]:
			e.outside[n] = true
		default:
			e.used[n] = true
		}
	}
	for _, b := range rule.Backends {
		note(b.Service, b.Invalid)
	}
	for _, m := range rule.Filters.Mirrors {
		note(m.Service, m.Invalid)
	}
}

func gatewaysOf(v *istio.VirtualService) []string {
	out := slices.Clone(v.Gateways)
	for i := range v.HTTP {
		for _, g := range v.HTTP[i].Gateways {
			out = append(out, g...)
		}
	}
	for i := range v.Streams {
		out = append(out, v.Streams[i].Gateways...)
	}
	return out
}

// reportUnbound tells of VirtualServices that no listener took, and why as far as that is known.
func (e *istioEdge) reportUnbound() {
	for _, r := range e.virtual {
		v := r.body.(*istio.VirtualService)
		if len(v.Hosts) == 0 {
			continue // for others to delegate to
		}
		e.rules.refs[r.Key] = append(e.rules.refs[r.Key], []failure{}...) // it has the condition, good or bad
		if e.bound[r] {
			e.out.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, nil)}
			continue
		}
		message, remedy := e.whyUnbound(v)
		e.warn(r, v.Hosts[0].At, message, remedy)
		e.out.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, []failure{{ReasonNoMatchingParent, message}})}
	}
}

// whyUnbound says why no listener took a VirtualService.
func (e *istioEdge) whyUnbound(v *istio.VirtualService) (message, remedy string) {
	names := outerGateways(v)
	missing := e.missingGateways(names)
	switch {
	case len(names) == 0:
		return "is for the mesh only, and has no effect at a gateway", "name the Gateway in gateways"
	case len(missing) > 0:
		return "there is no Gateway " + some(missing), "write the Gateway, or its name as namespace/name"
	}
	return "no server of its gateways takes its hosts", "name a host of a server"
}

// outerGateways returns the Gateways that a VirtualService or any of its rules names, each once.
func outerGateways(v *istio.VirtualService) (names []string) {
	for _, g := range gatewaysOf(v) {
		if g != istio.Mesh && !slices.Contains(names, g) {
			names = append(names, g)
		}
	}
	return names
}

func (e *istioEdge) missingGateways(names []string) (out []string) {
	for _, n := range names {
		found := slices.ContainsFunc(e.in.Resources, func(r Resource) bool {
			_, ok := r.body.(*istio.Gateway)
			return ok && r.Key.Namespace+"/"+r.Key.Name == n
		})
		if !found {
			out = append(out, n)
		}
	}
	return out
}

// edgeResolver resolves for a gateway of a namespace.
type edgeResolver struct {
	meshResolver
	edge *istioEdge
}

// destination warns of subsets of services whose endpoints have no labels.
func (x *edgeResolver) destination(d istio.Destination, namespace string) (model.Backend, *failure, string) {
	b, f, remedy := x.meshResolver.destination(d, namespace)
	joined := x.edge.joined
	if f == nil && !joined && len(b.Subset) > 0 && !x.declared[b.Service] {
		return b, &failure{ReasonBackendNotFound, fmt.Sprintf("endpoints of service %s have no labels at a standalone gateway, so its subset %s is empty", b.Service, d.Subset)},
			"write a ServiceEntry, whose endpoints have labels"
	}
	if f == nil && b.Port == 0 {
		s := x.mesh.Services[b.Service]
		if len(s.Ports) == 0 {
			return b, &failure{ReasonBackendNotFound, fmt.Sprintf("the ports of service %s are not known, and the destination names none", b.Service)}, "write destination.port"
		}
		return b, &failure{ReasonBackendNotFound, fmt.Sprintf("service %s has several ports, and the destination names none", b.Service)}, portRemedy(s)
	}
	if f == nil && !joined && b.Upstream != nil {
		b.Upstream = x.edge.completeTLS(x.mesh.Services[b.Service], b.Upstream, d, namespace, x.client)
	}
	return b, f, remedy
}
