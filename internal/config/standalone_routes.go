package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// route resolves a route's references and attaches its rules to listeners.
func (c *standalone) route(r *Resource, route *gateway.Route) {
	var refs []failure
	fail := func(at gateway.Position, f *failure, remedy string) string {
		refs = append(refs, *f)
		c.warn(r, at, f.message, remedy)
		return f.reason + ": " + f.message
	}
	resolver := filterRefs{route: r.Key, backend: c.backend, tls: c, asked: c.asked, fail: fail}
	rules := make([]model.Rule, len(route.Rules))
	for i := range route.Rules {
		rules[i] = route.Rules[i].Rule
		backends := slices.Clone(rules[i].Backends)
		for j := range backends {
			b := &backends[j]
			if f, remedy := c.backend(r.Key, b.Service, b.Port); f != nil {
				b.Invalid = fail(route.Rules[i].BackendAt[j], f, remedy)
				continue
			}
			if r.Key.Kind != kindUDPRoute { // a BackendTLSPolicy is of connections
				b.Invalid = c.withoutTLS(b.Service, b.Port)
			}
		}
		rules[i].Backends = backends
		resolver.resolveRule(&rules[i], &route.Rules[i])
	}
	var parents []failure
	attached := map[*gate]bool{}
	for _, p := range route.Gateways {
		if f, remedy := c.attach(r, route, p, rules, attached); f != nil {
			parents = append(parents, *f)
			c.warn(r, p.At, f.message, remedy)
		}
	}
	byDefault := c.attachDefaults(r, route, rules, attached)
	var names []string
	for _, d := range byDefault {
		if names = append(names, d.Gateway.String()); d.failure != nil {
			parents = append(parents, *d.failure)
		}
	}
	if f := noDefaults(route, len(byDefault)); f != nil {
		parents = append(parents, *f)
		c.warn(r, route.DefaultsAt, f.message, remedyNoDefaults)
	}
	if len(attached) > 0 {
		c.use(r.Key.Kind, rules)
	}
	c.out.Status[r.Key] = []Condition{
		acceptedBy(parents, names),
		newCondition(ConditionResolvedRefs, ReasonResolvedRefs, refs),
	}
}

// attach gives the rules to the listeners of a parent that take the route. It fails when none does.
func (c *standalone) attach(r *Resource, route *gateway.Route, p gateway.GatewayParent, rules []model.Rule, attached map[*gate]bool) (*failure, string) {
	e := c.gateways[p.Gateway]
	if p.Kind == kindListenerSet {
		e = c.sets[p.Gateway]
	}
	switch {
	case e == nil && p.Kind == kindListenerSet:
		return &failure{ReasonNoMatchingParent, "there is no ListenerSet " + p.Gateway.String()}, ""
	case e == nil:
		return &failure{ReasonNoMatchingParent, "there is no Gateway " + p.Gateway.String()}, c.nearestGateway(p.Gateway)
	case !e.ours && p.Kind == kindListenerSet:
		return &failure{ReasonNoMatchingParent, fmt.Sprintf("the ListenerSet %s is not attached to a Gateway", p.Gateway)}, ""
	case !e.ours:
		return &failure{ReasonNoMatchingParent, fmt.Sprintf("the Gateway %s is of class %q, which is not served", p.Gateway, clip(e.spec.Class))},
			"write gatewayClassName: " + classWeft
	}
	var last *failure
	var remedy string
	taken, named := false, false
	for _, g := range e.gates {
		if p.Section != "" && p.Section != g.spec.Name || p.Port != 0 && p.Port != g.spec.Port {
			continue
		}
		named = true
		hosts, f, why := c.admits(g, r.Key, route)
		if f != nil {
			last, remedy = f, why
			continue
		}
		taken = true
		if first, ok := c.full[g]; ok && first != r.Key {
			g.waiting[r.Key] = true
			c.warn(r, p.At, fmt.Sprintf("the %s of listener %s go to %s, which is older: this route has no effect there", carriedBy(g), g.name(), first), "one route is all it takes")
			continue
		}
		if !attached[g] {
			attached[g] = true
			g.take(rules, hosts)
			c.hold(g, r.Key, hosts)
		}
	}
	switch {
	case taken:
		return nil, ""
	case !named:
		return &failure{ReasonNoMatchingParent, fmt.Sprintf("the %s %s has no such listener", p.Kind, p.Gateway)}, "it has " + listenerNames(e)
	}
	return last, remedy
}

// admits reports why a listener does not take a route, else the hosts it takes it for.
func (c *standalone) admits(g *gate, key ResourceKey, route *gateway.Route) (hosts []string, f *failure, remedy string) {
	switch {
	case !slices.Contains(g.spec.Kinds, key.Kind):
		return nil, &failure{ReasonNotAllowedByListeners, fmt.Sprintf("listener %s takes no %s", g.name(), key.Kind)},
			"it takes " + strings.Join(g.spec.Kinds, " and ")
	case !c.allows(g.spec.Admission, g.selector, g.edge.resource.Key.Namespace, key.Namespace):
		return nil, &failure{ReasonNotAllowedByListeners, fmt.Sprintf("listener %s takes no routes of namespace %s", g.name(), key.Namespace)},
			c.admissionRemedy(g.spec.Admission, key.Namespace)
	}
	if key.Kind == "TCPRoute" || key.Kind == kindUDPRoute {
		if _, ok := c.full[g]; !ok {
			c.full[g] = key
		}
		return nil, nil, ""
	}
	hosts, ok := commonHosts(route.Hostnames, g.spec.Hostname)
	if !ok {
		return nil, &failure{ReasonNoMatchingListenerHostname, fmt.Sprintf("listener %s takes no host of the route", g.name())},
			"its hostname is " + g.spec.Hostname
	}
	if other, host := c.holder(g, key, hosts); other != nil {
		return nil, &failure{ReasonConflicted, fmt.Sprintf("the requests of listener %s for %s go to %s already", g.name(), hostText(host), other)},
			"HTTPRoutes and GRPCRoutes share no host name of a listener: give them different hostnames"
	}
	return hosts, nil, ""
}

// carriedBy is what a listener that knows no host names carries.
func carriedBy(g *gate) string {
	if g.spec.Kind.Datagrams() {
		return "datagrams"
	}
	return "connections"
}

// take adds rules for hosts.
func (g *gate) take(rules []model.Rule, hosts []string) {
	for _, rule := range rules {
		rule.Hosts = hosts
		g.rules = append(g.rules, rule)
	}
}

// commonHosts returns the hosts that both a route and a listener take (Gateway API, HTTPRouteSpec.hostnames),
// none for every host, and false when they have none in common.
func commonHosts(route []string, listener string) ([]string, bool) {
	switch {
	case listener == "":
		return route, true
	case len(route) == 0:
		return []string{listener}, true
	}
	var out []string
	for _, h := range route {
		common := ""
		switch {
		case covers(listener, h):
			common = h
		case covers(h, listener):
			common = listener
		default:
			continue
		}
		if !slices.Contains(out, common) {
			out = append(out, common)
		}
	}
	return out, len(out) > 0
}

// covers reports whether every name that b stands for is one of a's.
func covers(a, b string) bool {
	if a == b {
		return true
	}
	suffix, ok := strings.CutPrefix(a, "*")
	return ok && len(b) > len(suffix) && strings.HasSuffix(b, suffix)
}

// use notes the services of rules that are attached, and the ports that are called by gRPC.
func (c *standalone) use(kind string, rules []model.Rule) {
	for i := range rules {
		for _, b := range rules[i].Backends {
			if b.Invalid == "" {
				c.useService(kind, b.Service, b.Port)
				c.useFilters(kind, b.Filters)
			}
		}
		c.useFilters(kind, &rules[i].Filters)
	}
}

// useFilters notes the services of filters; f may be nil.
func (c *standalone) useFilters(kind string, f *model.Filters) {
	if f == nil {
		return
	}
	for _, m := range f.Mirrors {
		if m.Invalid == "" {
			c.useService(kind, m.Service, m.Port)
		}
	}
	if a := f.Auth; a != nil && a.Invalid == "" {
		c.useService(map[bool]string{true: "GRPCRoute", false: kind}[a.GRPC], a.Service, a.Port)
	}
}

func (c *standalone) useService(kind string, name model.ServiceName, port uint16) {
	c.used[name] = true
	if kind == "GRPCRoute" {
		c.grpc[servicePort{name, port}] = true
	}
}

// backend reports why a reference does not resolve.
func (c *standalone) backend(key ResourceKey, name model.ServiceName, port uint16) (f *failure, remedy string) {
	what, group := referrer(key)
	from := gateway.GrantFrom{Group: group, Kind: key.Kind, Namespace: key.Namespace}
	if !c.granted(from, name.Namespace, gateway.GrantTo{Kind: "Service", Name: name.Name}) {
		return &failure{ReasonRefNotPermitted, fmt.Sprintf("service %s is in another namespace than the %s", name, what)},
			"allow it with a ReferenceGrant in namespace " + name.Namespace
	}
	r := c.services[name]
	if r == nil {
		return &failure{ReasonBackendNotFound, "there is no Service " + name.String()}, c.nearest(name)
	}
	s := &model.Service{Name: name}
	for _, p := range r.body.(*gateway.Service).Ports {
		s.Ports = append(s.Ports, p.Port)
	}
	return servesPort(key.Kind, s, port)
}

// nearest names a service of the namespace that may have been meant.
func (c *standalone) nearest(n model.ServiceName) string {
	if len(c.problems) >= maxRemedies {
		return ""
	}
	names, ok := c.names[n.Namespace]
	if !ok {
		for s := range c.services {
			if s.Namespace == n.Namespace {
				names = append(names, s.Name)
			}
		}
		slices.Sort(names)
		c.names[n.Namespace] = names
	}
	if len(names) == 0 {
		return "there is no Service in namespace " + n.Namespace
	}
	return document.DidYouMean(n.Name, names)
}

func (c *standalone) nearestGateway(n gateway.ObjectName) string {
	var names []string
	for g := range c.gateways {
		if g.Namespace == n.Namespace {
			names = append(names, g.Name)
		}
	}
	if len(names) == 0 || len(c.problems) >= maxRemedies {
		return ""
	}
	slices.Sort(names)
	return document.DidYouMean(n.Name, names)
}

// listenerNames returns the names and ports of a Gateway's listeners.
func listenerNames(e *edge) string {
	var out []string
	for _, g := range e.gates {
		out = append(out, fmt.Sprintf("%s (port %d)", clip(g.spec.Name), g.spec.Port))
	}
	return some(out)
}

// some joins at most ten words.
func some(words []string) string {
	const most = 10
	if n := len(words) - most; n > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(words[:most], ", "), n)
	}
	return strings.Join(words, ", ")
}

// clip bounds what a message quotes.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
