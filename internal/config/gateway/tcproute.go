package gateway

import (
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// ParseTCPRoute checks a TCPRoute, which has one rule that takes every connection. When the problems Failed
// the route must not be used.
func ParseTCPRoute(d *document.Document, place Place) (*Route, document.Problems) {
	c := &checker{doc: d, parent: place}
	var in v1.TCPRoute
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := c.route(&in.Spec.CommonRouteSpec, nil, spec)
	at := spec.Key("rules")
	if len(in.Spec.Rules) == 0 {
		c.add(at, "is missing or empty", "write one rule with backendRefs")
	}
	c.atMost(len(in.Spec.Rules), 1, "rules", at)
	var rules []v1.HTTPRouteRule
	for i, r := range in.Spec.Rules {
		rule := v1.HTTPRouteRule{Name: r.Name}
		for _, b := range r.BackendRefs {
			rule.BackendRefs = append(rule.BackendRefs, v1.HTTPBackendRef{BackendRef: b})
		}
		if len(r.BackendRefs) == 0 {
			c.add(at.Index(i).Key("backendRefs"), "is missing or empty", "name the Service that takes the connections")
		}
		rules = append(rules, rule)
	}
	if len(rules) > 0 {
		out.Rules = c.rules(rules, at)
	}
	return out, c.problems
}
