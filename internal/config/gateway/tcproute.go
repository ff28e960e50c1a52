package gateway

import (
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// maxSNI is how many host names a TLSRoute may have.
const maxSNI = 1024

// ParseTCPRoute checks a TCPRoute, which has one rule that takes every connection. When the problems Failed
// the route must not be used.
func ParseTCPRoute(d *document.Document, place Place) (*Route, document.Problems) {
	var in v1.TCPRoute
	c, ok := decodeRoute(d, place, &in)
	if !ok {
		return nil, c.problems
	}
	out := c.route(&in.Spec.CommonRouteSpec, nil, document.Path("spec"))
	out.Rules = c.streamRules(each(in.Spec.Rules, func(r v1.TCPRouteRule) streamRule { return streamRule{r.Name, r.BackendRefs} }))
	return out, c.problems
}

// ParseTLSRoute checks a TLSRoute, which takes the connections whose server name (SNI, RFC 6066) is one of its host
// names. Its rule has them as Hosts.
func ParseTLSRoute(d *document.Document, place Place) (*Route, document.Problems) {
	var in v1.TLSRoute
	c, ok := decodeRoute(d, place, &in)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := c.route(&in.Spec.CommonRouteSpec, nil, spec)
	hosts := spec.Key("hostnames")
	if len(in.Spec.Hostnames) == 0 {
		c.add(hosts, "is missing or empty", "write the server names (SNI) of the connections that the route takes")
	}
	out.Hostnames = c.hostnames(in.Spec.Hostnames, maxSNI, hosts)
	out.Rules = c.streamRules(each(in.Spec.Rules, func(r v1.TLSRouteRule) streamRule { return streamRule{r.Name, r.BackendRefs} }))
	for i := range out.Rules {
		out.Rules[i].Hosts = out.Hostnames
	}
	return out, c.problems
}

// decodeRoute reads a route's document. It reports whether the rest can be checked.
func decodeRoute(d *document.Document, place Place, into any) (*checker, bool) {
	c := &checker{doc: d, parent: place}
	c.problems = d.Decode(into)
	return c, !c.problems.Failed()
}

func each[A, B any](in []A, f func(A) B) []B {
	out := make([]B, len(in))
	for i := range in {
		out[i] = f(in[i])
	}
	return out
}

// streamRule is a rule of a TCPRoute, TLSRoute or UDPRoute.
type streamRule struct {
	name     *v1.SectionName
	backends []v1.BackendRef
}

// streamRules reads the one rule of a route for opaque bytes, which is in spec.rules.
func (c *checker) streamRules(in []streamRule) []Rule {
	f := document.Path("spec", "rules")
	if len(in) == 0 {
		c.add(f, "is missing or empty", "write one rule with backendRefs")
		return nil
	}
	c.atMost(len(in), 1, "rules", f)
	rules := make([]v1.HTTPRouteRule, len(in))
	for i, r := range in {
		rules[i].Name = r.name
		for _, b := range r.backends {
			rules[i].BackendRefs = append(rules[i].BackendRefs, v1.HTTPBackendRef{BackendRef: b})
		}
		if len(r.backends) == 0 {
			c.add(f.Index(i).Key("backendRefs"), "is missing or empty", "name the Service that takes what the route carries")
		}
	}
	return c.rules(rules, f)
}
