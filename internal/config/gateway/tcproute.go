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
	c := &checker{doc: d, parent: place}
	var in v1.TCPRoute
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := c.route(&in.Spec.CommonRouteSpec, nil, spec)
	rules := make([]streamRule, len(in.Spec.Rules))
	for i, r := range in.Spec.Rules {
		rules[i] = streamRule{r.Name, r.BackendRefs}
	}
	out.Rules = c.streamRules(rules, spec.Key("rules"))
	return out, c.problems
}

// ParseTLSRoute checks a TLSRoute, which takes the connections whose server name (SNI, RFC 6066) is one of its host
// names. Its rule has them as Hosts.
func ParseTLSRoute(d *document.Document, place Place) (*Route, document.Problems) {
	c := &checker{doc: d, parent: place}
	var in v1.TLSRoute
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := c.route(&in.Spec.CommonRouteSpec, nil, spec)
	hosts := spec.Key("hostnames")
	if len(in.Spec.Hostnames) == 0 {
		c.add(hosts, "is missing or empty", "write the server names (SNI) of the connections that the route takes")
	}
	out.Hostnames = c.hostnames(in.Spec.Hostnames, maxSNI, hosts)
	rules := make([]streamRule, len(in.Spec.Rules))
	for i, r := range in.Spec.Rules {
		rules[i] = streamRule{r.Name, r.BackendRefs}
	}
	out.Rules = c.streamRules(rules, spec.Key("rules"))
	for i := range out.Rules {
		out.Rules[i].Hosts = out.Hostnames
	}
	return out, c.problems
}

// ParseUDPRoute checks a UDPRoute and refuses it: Weft carries connections, and UDP has none.
func ParseUDPRoute(d *document.Document, place Place) (*Route, document.Problems) {
	c := &checker{doc: d, parent: place}
	var in v1.UDPRoute
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := c.route(&in.Spec.CommonRouteSpec, nil, spec)
	rules := make([]streamRule, len(in.Spec.Rules))
	for i, r := range in.Spec.Rules {
		rules[i] = streamRule{r.Name, r.BackendRefs}
	}
	out.Rules = c.streamRules(rules, spec.Key("rules"))
	c.add(document.Path("kind"), "a UDPRoute is not supported: "+noUDP, "remove it")
	return out, c.problems
}

// noUDP is why UDP is refused.
const noUDP = "a proxy of Weft carries connections, and datagrams belong to none"

// streamRule is a rule of a TCPRoute, TLSRoute or UDPRoute.
type streamRule struct {
	name     *v1.SectionName
	backends []v1.BackendRef
}

// streamRules reads the one rule of a route for opaque bytes.
func (c *checker) streamRules(in []streamRule, f *document.Field) []Rule {
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
			c.add(f.Index(i).Key("backendRefs"), "is missing or empty", "name the Service that takes the connections")
		}
	}
	return c.rules(rules, f)
}
