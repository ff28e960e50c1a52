package gateway

import (
	"fmt"
	"regexp"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// ParseGRPCRoute checks a GRPCRoute. A method of gRPC is a path, /service/method, so that its rules become
// those of an HTTPRoute (GEP-1016). When the problems Failed the route must not be used.
func ParseGRPCRoute(d *document.Document, place Place) (*Route, document.Problems) {
	var in v1.GRPCRoute
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
	rules := make([]v1.HTTPRouteRule, len(in.Spec.Rules))
	for i := range in.Spec.Rules {
		rules[i] = c.grpcRule(&in.Spec.Rules[i])
	}
	at := spec.Key("rules")
	if in.Spec.Rules == nil && !d.Has(at) {
		rules = nil
	}
	out.Rules = c.rules(rules, at)
	for i := range out.Rules {
		out.Rules[i].Hosts = out.Hostnames
		c.grpcMatches(&out.Rules[i].Rule, in.Spec.Rules, i, at.Index(i).Key("matches"))
	}
	return out, c.problems
}

// grpcRule returns the rule without its matches as one of an HTTPRoute. Empty matches take their place, so
// that their number is checked.
func (c *checker) grpcRule(r *v1.GRPCRouteRule) v1.HTTPRouteRule {
	out := v1.HTTPRouteRule{
		Name: r.Name, SessionPersistence: r.SessionPersistence,
		Matches: make([]v1.HTTPRouteMatch, len(r.Matches)),
		Filters: grpcFilters(r.Filters),
	}
	for i := range r.BackendRefs {
		b := &r.BackendRefs[i]
		out.BackendRefs = append(out.BackendRefs, v1.HTTPBackendRef{BackendRef: b.BackendRef, Filters: grpcFilters(b.Filters)})
	}
	return out
}

func grpcFilters(in []v1.GRPCRouteFilter) []v1.HTTPRouteFilter {
	out := make([]v1.HTTPRouteFilter, len(in))
	for i, f := range in {
		out[i] = v1.HTTPRouteFilter{
			Type:                  v1.HTTPRouteFilterType(f.Type),
			RequestHeaderModifier: f.RequestHeaderModifier, ResponseHeaderModifier: f.ResponseHeaderModifier,
			RequestMirror: f.RequestMirror, ExtensionRef: f.ExtensionRef,
		}
	}
	return out
}

// grpcMatches fills the matches of rule i.
func (c *checker) grpcMatches(out *model.Rule, rules []v1.GRPCRouteRule, i int, f *document.Field) {
	if i >= len(rules) {
		return
	}
	for j := range rules[i].Matches {
		m, at := &rules[i].Matches[j], f.Index(j)
		headers := make([]v1.HTTPHeaderMatch, len(m.Headers))
		for k, h := range m.Headers {
			headers[k] = v1.HTTPHeaderMatch{Type: (*v1.HeaderMatchType)(h.Type), Name: v1.HTTPHeaderName(h.Name), Value: h.Value}
		}
		out.Matches[j] = c.match(&v1.HTTPRouteMatch{Headers: headers}, at)
		if m.Method != nil {
			out.Matches[j].Path = c.grpcPath(m.Method, at.Key("method"))
		}
	}
}

var (
	grpcService = regexp.MustCompile(`^\.?[A-Za-z_][A-Za-z_0-9]*(\.[A-Za-z_][A-Za-z_0-9]*)*$`)
	grpcMethod  = regexp.MustCompile(`^[A-Za-z_][A-Za-z_0-9]*$`)
)

// grpcPath turns a condition on service and method into one on the path.
func (c *checker) grpcPath(m *v1.GRPCMethodMatch, f *document.Field) model.PathMatch {
	kind := string(deref(m.Type, v1.GRPCMethodMatchExact))
	service, method := deref(m.Service, ""), deref(m.Method, "")
	if !c.oneOf(kind, []string{"Exact", "RegularExpression"}, f.Key("type")) {
		return model.PathMatch{}
	}
	if service == "" && method == "" {
		c.add(f, "has neither service nor method", "write one of them or both")
		return model.PathMatch{}
	}
	for _, x := range []struct {
		name, value string
		exact       *regexp.Regexp
	}{{"service", service, grpcService}, {"method", method, grpcMethod}} {
		at := f.Key(x.name)
		switch {
		case x.value == "":
		case len(x.value) > 1024:
			c.add(at, fmt.Sprintf("has %d bytes, at most 1024 are allowed", len(x.value)), "")
		case kind == "RegularExpression":
			c.regexp(x.value, at)
		case !x.exact.MatchString(x.value):
			c.add(at, fmt.Sprintf("%q is no valid gRPC %s name", x.value, x.name), "wants letters, digits and _ (in a service also .); for a pattern write type: RegularExpression")
		}
	}
	if kind == "RegularExpression" {
		return model.PathMatch{Type: model.Regex, Value: "/" + part(service) + "/" + part(method)}
	}
	switch {
	case method == "":
		return model.PathMatch{Type: model.Prefix, Value: "/" + service}
	case service == "":
		return model.PathMatch{Type: model.Regex, Value: "/[^/]+/" + method}
	}
	return model.PathMatch{Type: model.Exact, Value: "/" + service + "/" + method}
}

// part returns the expression for one part of a path.
func part(expression string) string {
	if expression == "" {
		return "[^/]+"
	}
	return "(?:" + expression + ")"
}
