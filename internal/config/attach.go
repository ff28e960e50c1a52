package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// pending is a route whose state is not settled yet.
type pending struct {
	resource *Resource
	rules    []model.Rule
	refs     []failure // references that do not resolve
	parents  []parentState
	unbound  *failure // why it has no parent at all
}

// parentState is a parent of a route, and why it does not take the route.
type parentState struct {
	ParentRef
	failures  []failure
	byDefault bool // a default Gateway, which the route does not name
}

func serviceParent(p gateway.Parent) ParentRef {
	return ParentRef{Kind: "Service", Name: p.Service.String(), Port: p.Port}
}

func gatewayParent(p gateway.GatewayParent) ParentRef {
	return ParentRef{Kind: p.Kind, Name: p.Gateway.String(), Section: p.Section, Port: p.Port}
}

// attachment is a route at one of its parents.
type attachment struct {
	route  *pending
	parent gateway.Parent
	at     int // of route.parents
	rank   int // of its kind: the highest takes a port
}

// routeRank orders the kinds of routes on one port of a service: the highest alone has effect (GEP-1426, Route
// types).
func routeRank(kind string) int {
	switch kind {
	case "GRPCRoute":
		return 4
	case "HTTPRoute":
		return 3
	case "TLSRoute":
		return 2
	}
	return 1
}

// ranksHTTP is the lowest rank of the kinds that route HTTP.
const ranksHTTP = 3

// layerOf is what the rules of a kind of route are for.
func layerOf(kind string) model.Layer {
	switch kind {
	case "TLSRoute":
		return model.ServerNames
	case "TCPRoute":
		return model.Bytes
	}
	return model.Requests
}

// collectGrants files the ReferenceGrants by namespace.
func (c *compiler) collectGrants(resources []Resource) {
	for i := range resources {
		r := &resources[i]
		if g, ok := r.body.(*gateway.Grant); ok {
			c.grants[r.Key.Namespace] = append(c.grants[r.Key.Namespace], g)
			c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, nil)}
		}
	}
}

// attach notes that a route is for a parent, the one of index at of its parents: for all of its clients when the route is
// of its namespace, else for those of the route's namespace.
func (c *compiler) attach(route *pending, p gateway.Parent, at int) (*failure, string) {
	s := c.resolve(p.Service)
	if s == nil {
		return &failure{ReasonNoMatchingParent, "no service " + p.Service.String() + " is registered or declared"}, c.nearest(p.Service)
	}
	if p.Port != 0 && len(s.Ports) > 0 {
		if _, ok := s.Port(p.Port); !ok {
			return &failure{ReasonNoMatchingParent, fmt.Sprintf("service %s has no port %d", p.Service, p.Port)}, portRemedy(s)
		}
	}
	key := consumerKey{service: p.Service}
	if own := route.resource.Key.Namespace; own != p.Service.Namespace {
		key.namespace = own
	}
	if c.attached[key] == nil {
		c.audience = append(c.audience, key)
	}
	c.attached[key] = append(c.attached[key], &attachment{route: route, parent: p, at: at, rank: routeRank(route.resource.Key.Kind)})
	return nil, ""
}

// settle gives the rules of all routes to their services and says what became of the routes.
func (c *compiler) settle() {
	for _, key := range c.audience {
		rules := c.merge(c.mesh.Services[key.service], c.attached[key])
		if key.namespace == "" {
			c.mesh.Services[key.service].Rules = rules
		} else {
			c.mesh.consumer[key] = rules
		}
	}
	for _, p := range c.pending {
		resolved := newCondition(ConditionResolvedRefs, ReasonResolvedRefs, p.refs)
		var all []failure
		var byDefault []string
		for _, state := range p.parents {
			all = append(all, state.failures...)
			accepted := newCondition(ConditionAccepted, ReasonAccepted, state.failures)
			if state.byDefault && len(state.failures) == 0 {
				byDefault = append(byDefault, state.Name)
				accepted.Message = "Route is bound to default Gateway"
			}
			c.mesh.Parents[p.resource.Key] = append(c.mesh.Parents[p.resource.Key], ParentStatus{
				ParentRef:  state.ParentRef,
				Conditions: []Condition{accepted, resolved},
			})
		}
		if p.unbound != nil {
			all = append(all, *p.unbound)
		}
		c.mesh.Status[p.resource.Key] = []Condition{acceptedBy(all, byDefault), resolved}
	}
}

// merge puts the rules of all routes of a service together. Where they are of several kinds, each port has those of
// one kind.
func (c *compiler) merge(s *model.Service, all []*attachment) (out []model.Rule) {
	add := func(a *attachment, port uint16) {
		for _, rule := range a.route.rules {
			rule.Port, rule.Layer = port, layerOf(a.route.resource.Key.Kind)
			out = append(out, rule)
		}
	}
	if !slices.ContainsFunc(all, func(a *attachment) bool { return a.rank != all[0].rank }) {
		for _, a := range all {
			add(a, a.parent.Port)
		}
		return out
	}
	taken := make(map[*attachment]bool, len(all))
	beaten := make(map[*attachment]*attachment) // by whom
	for _, port := range portsOf(s, all) {
		winner := winnerOf(s, all, port)
		for _, a := range all {
			switch {
			case !a.covers(s, port):
			case a.rank == winner.rank:
				taken[a] = true
				add(a, port)
			case beaten[a] == nil:
				beaten[a] = winner
			}
		}
	}
	for _, a := range all {
		if taken[a] || beaten[a] == nil {
			continue
		}
		f := failure{ReasonConflicted, fmt.Sprintf("the requests for service %s go by %s, which is of a more specific kind", s.Name, beaten[a].route.resource.Key)}
		state := &a.route.parents[a.at]
		state.failures = append(state.failures, f)
		c.warn(a.route.resource, a.parent.At, f.message, "keep one kind of route for a port")
	}
	return out
}

// winnerOf returns the first route of the highest rank among those for a port; nil when there is none.
func winnerOf(s *model.Service, all []*attachment, port uint16) (out *attachment) {
	for _, a := range all {
		if a.covers(s, port) && (out == nil || a.rank > out.rank) {
			out = a
		}
	}
	return out
}

// covers reports whether the route is for a port. One for HTTP that names no port is not for a port of opaque bytes.
func (a *attachment) covers(s *model.Service, port uint16) bool {
	if a.parent.Port != 0 {
		return a.parent.Port == port
	}
	p, ok := s.Port(port)
	return !ok || p.Protocol != model.TCP || a.rank < ranksHTTP
}

// portsOf returns the ports that routes of a service can be for: its own, or those that the routes name when it has
// none that are known, and 0 for all others.
func portsOf(s *model.Service, all []*attachment) (out []uint16) {
	for _, p := range s.Ports {
		if p.Protocol != model.UDP {
			out = append(out, p.Number)
		}
	}
	if len(out) > 0 {
		return out
	}
	for _, a := range all {
		out = append(out, a.parent.Port)
	}
	slices.Sort(out)
	return slices.Compact(out)
}
