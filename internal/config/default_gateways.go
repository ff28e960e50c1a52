package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// ConditionDefaultGateway is True of a Gateway with a default scope (GEP-3793).
const ConditionDefaultGateway = "DefaultGateway"

// defaulted is what became of a route at a default Gateway.
type defaulted struct {
	gateway.GatewayParent
	failure *failure // nil: it is bound
	remedy  string
}

// attachDefaults attaches a route to the default Gateways that take it, as if it named them (GEP-3793, Creating a
// Defaulted Route). It returns those that do; when none does, and the route has no other parent, those that do not and why.
func (c *standalone) attachDefaults(r *Resource, route *gateway.Route, rules []model.Rule, attached map[*gate]bool) (out []defaulted) {
	if !route.UseDefaults {
		return nil
	}
	var refused []defaulted
	for _, e := range c.order {
		if e.parent != nil || !e.spec.DefaultScope {
			continue
		}
		p := gateway.GatewayParent{Kind: e.resource.Key.Kind, Gateway: e.objectName(), At: route.DefaultsAt}
		if slices.ContainsFunc(route.Gateways, func(q gateway.GatewayParent) bool { q.At = p.At; return q == p }) {
			continue // it is named, too
		}
		f, remedy := c.attach(r, route, p, rules, attached)
		if f == nil {
			out = append(out, defaulted{GatewayParent: p})
			continue
		}
		refused = append(refused, defaulted{p, f, remedy})
	}
	if len(out) > 0 || len(route.Gateways)+len(route.Parents) > 0 {
		return out
	}
	for _, d := range refused {
		c.warn(r, d.At, fmt.Sprintf("the default Gateway %s does not take the route: %s", d.Gateway, d.failure.message), d.remedy)
	}
	return refused
}

// acceptedBy is newCondition for the whole of a route, which says the default Gateways that it is bound to.
func acceptedBy(failures []failure, byDefault []string) Condition {
	out := newCondition(ConditionAccepted, ReasonAccepted, failures)
	if len(failures) == 0 && len(byDefault) > 0 {
		out.Message = "bound to default Gateway " + some(byDefault)
	}
	return out
}

// noDefaults is what is wrong with a route that names no parent while there is no default Gateway.
func noDefaults(route *gateway.Route, found int) *failure {
	if !route.UseDefaults || found > 0 || len(route.Gateways)+len(route.Parents) > 0 {
		return nil
	}
	return &failure{ReasonNoMatchingParent, "there is no default Gateway"}
}

// remedyNoDefaults is what to do where noDefaults is.
const remedyNoDefaults = "write defaultScope: All into a Gateway, or name the parents of the route"

// defaultCondition says that a Gateway is a default one.
func defaultCondition() Condition {
	return Condition{Type: ConditionDefaultGateway, Status: "True", Reason: ConditionDefaultGateway, Message: "Gateway has default scope All"}
}
