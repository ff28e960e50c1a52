package gateway

import (
	"fmt"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of the HTTPRoute schema.
const (
	maxParents      = 32
	maxHostnames    = 16
	maxRules        = 16
	maxMatches      = 64
	maxTotalMatches = 128
	maxItems        = 16 // backends, filters, header and query conditions, header changes
)

// ParseHTTPRoute checks an HTTPRoute. When the problems Failed the route must not be used.
func ParseHTTPRoute(d *document.Document, place Place) (*Route, document.Problems) {
	var in v1.HTTPRoute
	c, ok := decodeRoute(d, place, &in)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	if !d.Has(spec) {
		c.add(spec, "is missing", "write spec with parentRefs and rules")
		return nil, c.problems
	}
	out := c.route(&in.Spec.CommonRouteSpec, in.Spec.Hostnames, spec)
	out.Rules = c.rules(in.Spec.Rules, spec.Key("rules"))
	for i := range out.Rules {
		out.Rules[i].Hosts = out.Hostnames
	}
	return out, c.problems
}

// route reads what all kinds of routes share: parents and host names.
func (c *checker) route(in *v1.CommonRouteSpec, hostnames []v1.Hostname, spec *document.Field) *Route {
	out := &Route{Namespace: c.doc.Namespace}
	if at := spec.Key("useDefaultGateways"); c.defaultScope(in.UseDefaultGateways, at) {
		out.UseDefaults, out.DefaultsAt = true, c.position(at)
	}
	parents := spec.Key("parentRefs")
	c.atMost(len(in.ParentRefs), maxParents, "parents", parents)
	what := "the Service or the Gateway"
	if c.parent == InStandalone {
		what = "the Gateway"
	} else {
		out.Parents = c.parents(in.ParentRefs, parents)
	}
	out.Gateways = c.gateways(in.ParentRefs, parents)
	if len(in.ParentRefs) == 0 && !out.UseDefaults {
		c.add(parents, "names no parent", "name "+what+" whose requests the route takes")
	}
	out.Hostnames = c.hostnames(hostnames, maxHostnames, spec.Key("hostnames"))
	return out
}

// parents reads those parents of a route in the mesh that are Services.
func (c *checker) parents(refs []v1.ParentReference, f *document.Field) []Parent {
	seen := map[Parent]bool{}
	var out []Parent
	for i, ref := range refs {
		at := f.Index(i)
		group, kind := deref(ref.Group, v1.GroupName), deref(ref.Kind, "Gateway")
		switch {
		case group == "core" && kind == "Service":
			c.add(at.Key("group"), `the core group is the empty string, not "core"`, `write group: ""`)
			continue
		case group == v1.GroupName && kind == "Service":
			c.add(at, `a Service is of the group "", which has to be written`, `add group: ""`)
			continue
		case group == v1.GroupName && (kind == "Gateway" || kind == kindListenerSet):
			continue // see gateways
		case group != "" || kind != "Service":
			c.add(at.Key("kind"), fmt.Sprintf("a parent of kind %q in group %q is not supported in this version of Weft", kind, group), `name a Service: kind: Service, group: ""`)
			continue
		}
		if ref.SectionName != nil {
			c.add(at.Key("sectionName"), "is not supported in this version of Weft for a Service", "write port: with the port's number")
		}
		p := Parent{Service: c.serviceName(string(ref.Name), deref(ref.Namespace, v1.Namespace(c.doc.Namespace)), at)}
		p.Port = c.port(ref.Port, at.Key("port"))
		if seen[p] {
			c.add(at, fmt.Sprintf("the parent %s is here twice", p.Service), "name it once, or with different ports")
		}
		seen[p] = true
		p.At = c.position(at.Key("name"))
		out = append(out, p)
	}
	return out
}

func (c *checker) serviceName(name string, namespace v1.Namespace, at *document.Field) model.ServiceName {
	if name == "" {
		c.add(at.Key("name"), "is missing", "name a Service")
	} else if why := document.CheckLabel(name); why != "" {
		c.add(at.Key("name"), fmt.Sprintf("%q is no valid Service name", name), why)
	}
	if why := document.CheckLabel(string(namespace)); why != "" {
		c.add(at.Key("namespace"), fmt.Sprintf("%q is no valid namespace", namespace), why)
	}
	return model.ServiceName{Namespace: string(namespace), Name: name}
}

func (c *checker) port(p *v1.PortNumber, f *document.Field) uint16 {
	if p == nil {
		return 0
	}
	if *p < 1 || *p > 65535 {
		c.add(f, fmt.Sprintf("wants a port 1 to 65535, has %d", *p), "")
		return 0
	}
	return uint16(*p)
}

func (c *checker) hostnames(names []v1.Hostname, most int, f *document.Field) []string {
	c.atMost(len(names), most, "hostnames", f)
	var out []string
	for i, n := range names {
		c.hostname(string(n), f.Index(i))
		out = append(out, string(n))
	}
	return out
}

func (c *checker) hostname(s string, f *document.Field) {
	rest := strings.TrimPrefix(s, "*.")
	why := document.CheckSubdomain(rest)
	switch {
	case isIPv4(rest):
		c.add(f, fmt.Sprintf("%q is an IP address", s), "write a host name")
	case strings.Contains(rest, "*"):
		c.add(f, fmt.Sprintf("%q has a wildcard that is not the first label", s), `write "*." before a name`)
	case why != "":
		c.add(f, fmt.Sprintf("%q is no valid host name", s), why)
	}
}

func isIPv4(s string) bool {
	return strings.Count(s, ".") == 3 && strings.Trim(s, "0123456789.") == ""
}

func (c *checker) rules(rules []v1.HTTPRouteRule, f *document.Field) []Rule {
	if rules == nil && !c.doc.Has(f) {
		// The schema's default is one rule for every request; without backends it answers 500.
		rules = []v1.HTTPRouteRule{{}}
	} else if len(rules) == 0 {
		c.add(f, "is empty", "write at least one rule")
	}
	c.atMost(len(rules), maxRules, "rules", f)
	total := 0
	names := map[v1.SectionName]bool{}
	var out []Rule
	for i := range rules {
		at := f.Index(i)
		if n := rules[i].Name; n != nil {
			if names[*n] {
				c.add(at.Key("name"), fmt.Sprintf("the rule name %q is here twice", *n), "names of rules are unique within a route")
			}
			names[*n] = true
		}
		total += len(rules[i].Matches)
		out = append(out, c.rule(&rules[i], at, i))
	}
	c.atMost(total, maxTotalMatches, "matches in all rules together", f)
	return out
}

func (c *checker) rule(r *v1.HTTPRouteRule, f *document.Field, index int) Rule {
	out := Rule{Name: string(deref(r.Name, "")), Rule: model.Rule{Ref: model.RuleRef{
		Kind: c.doc.Kind, Namespace: c.doc.Namespace, Name: c.doc.Name, Rule: index,
		File: c.doc.File, Line: c.doc.LineOf(f),
	}}}
	c.atMost(len(r.Matches), maxMatches, "matches", f.Key("matches"))
	for i := range r.Matches {
		out.Matches = append(out.Matches, c.match(&r.Matches[i], f.Key("matches").Index(i)))
	}
	set := c.filters(r.Filters, f.Key("filters"))
	out.Request, out.Response, out.Filters = set.request, set.response, set.filters
	out.MirrorAt, out.AuthAt = set.mirrorAt, set.authAt
	if set.prefixAt != nil {
		c.prefixChange(r.Matches, &out.Rule, set.prefixAt)
	}
	if out.Filters.Redirect != nil && len(r.BackendRefs) > 0 {
		c.add(f.Key("backendRefs"), "are given beside RequestRedirect", "a request that is redirected goes to no backend: keep one of them")
	}
	out.Policy = c.policy(r, &out.Rule, f)
	c.atMost(len(r.BackendRefs), maxItems, "backends", f.Key("backendRefs"))
	for i := range r.BackendRefs {
		at := f.Key("backendRefs").Index(i)
		out.Backends = append(out.Backends, c.backend(&r.BackendRefs[i], at))
		out.BackendAt = append(out.BackendAt, c.position(at.Key("name")))
		c.backendFilters(r, i, &set, &out, at.Key("filters"))
	}
	return out
}

func (c *checker) backend(b *v1.HTTPBackendRef, f *document.Field) model.Backend {
	out := model.Backend{Weight: 1}
	out.Service, out.Port = c.serviceRef(&b.BackendObjectReference, f)
	if b.Weight != nil {
		if *b.Weight < 0 || *b.Weight > 1_000_000 {
			c.add(f.Key("weight"), fmt.Sprintf("wants an integer 0 to 1000000, has %d", *b.Weight), "")
		}
		out.Weight = uint32(max(*b.Weight, 0))
	}
	return out
}

// serviceRef reads a reference to a port of a Service.
func (c *checker) serviceRef(b *v1.BackendObjectReference, f *document.Field) (name model.ServiceName, port uint16) {
	group, kind := deref(b.Group, ""), deref(b.Kind, "Service")
	if group != "" || kind != "Service" {
		c.add(f.Key("kind"), fmt.Sprintf("a backend of kind %q in group %q is not supported in this version of Weft", kind, group), "name a Service")
	}
	name = c.serviceName(string(b.Name), deref(b.Namespace, v1.Namespace(c.doc.Namespace)), f)
	if b.Port == nil {
		c.add(f.Key("port"), "is missing", "a Service as backend needs its port")
	}
	return name, c.port(b.Port, f.Key("port"))
}

func (c *checker) atMost(n, most int, what string, f *document.Field) {
	if n > most {
		c.add(f, fmt.Sprintf("has %d %s, at most %d are allowed", n, what, most), "")
	}
}

func deref[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
