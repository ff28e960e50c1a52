package gateway

import (
	"fmt"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// filters reads the changes to headers; every other filter is refused by name. Response changes are
// allowed for a rule only.
func (c *checker) filters(filters []v1.HTTPRouteFilter, f *document.Field, response bool) (req, resp model.HeaderMod) {
	c.atMost(len(filters), maxItems, "filters", f)
	seen := map[v1.HTTPRouteFilterType]bool{}
	for i := range filters {
		at, filter := f.Index(i), &filters[i]
		if !c.filterShape(filter, at) {
			continue
		}
		if seen[filter.Type] {
			c.add(at.Key("type"), fmt.Sprintf("the filter %s is here twice", filter.Type), "put all its changes into one")
		}
		seen[filter.Type] = true
		if filter.Type == v1.HTTPRouteFilterRequestHeaderModifier {
			req = c.modifier(filter.RequestHeaderModifier, at.Key("requestHeaderModifier"))
			continue
		}
		if !response {
			c.add(at.Key("type"), "ResponseHeaderModifier of a single backend is not supported in this version of Weft", "use the filters of the rule")
			continue
		}
		resp = c.modifier(filter.ResponseHeaderModifier, at.Key("responseHeaderModifier"))
	}
	return req, resp
}

// filterShape checks that the filter's type is one Weft runs and that it has the type's field and no other.
func (c *checker) filterShape(filter *v1.HTTPRouteFilter, f *document.Field) bool {
	fields := []struct {
		kind  v1.HTTPRouteFilterType
		field string
		set   bool
		runs  bool
	}{
		{v1.HTTPRouteFilterRequestHeaderModifier, "requestHeaderModifier", filter.RequestHeaderModifier != nil, true},
		{v1.HTTPRouteFilterResponseHeaderModifier, "responseHeaderModifier", filter.ResponseHeaderModifier != nil, true},
		{v1.HTTPRouteFilterRequestMirror, "requestMirror", filter.RequestMirror != nil, false},
		{v1.HTTPRouteFilterRequestRedirect, "requestRedirect", filter.RequestRedirect != nil, false},
		{v1.HTTPRouteFilterURLRewrite, "urlRewrite", filter.URLRewrite != nil, false},
		{v1.HTTPRouteFilterCORS, "cors", filter.CORS != nil, false},
		{v1.HTTPRouteFilterExternalAuth, "externalAuth", filter.ExternalAuth != nil, false},
		{v1.HTTPRouteFilterExtensionRef, "extensionRef", filter.ExtensionRef != nil, false},
	}
	var known []string
	ok, found := true, false
	for _, x := range fields {
		known = append(known, string(x.kind))
		mine := filter.Type == x.kind
		found = found || mine
		switch {
		case mine && !x.runs:
			c.add(f.Key("type"), fmt.Sprintf("the filter %s is not supported in this version of Weft", x.kind), "remove it")
			ok = false
		case mine && !x.set:
			c.add(f.Key(x.field), fmt.Sprintf("is missing, and type is %s", x.kind), "")
			ok = false
		case !mine && x.set:
			c.add(f.Key(x.field), fmt.Sprintf("is given, but type is %q", filter.Type), fmt.Sprintf("write type: %s or remove it", x.kind))
			ok = false
		}
	}
	if !found {
		if filter.Type == "" {
			c.add(f.Key("type"), "is missing", "known are "+strings.Join(known, ", "))
		} else {
			c.oneOf(string(filter.Type), known, f.Key("type"))
		}
	}
	return ok && found
}

func (c *checker) modifier(m *v1.HTTPHeaderFilter, f *document.Field) model.HeaderMod {
	return model.HeaderMod{
		Set:    c.headerValues(m.Set, f.Key("set")),
		Add:    c.headerValues(m.Add, f.Key("add")),
		Remove: c.headerNames(m.Remove, f.Key("remove")),
	}
}

func (c *checker) headerValues(in []v1.HTTPHeader, f *document.Field) []model.HeaderValue {
	c.atMost(len(in), maxItems, "headers", f)
	seen := map[string]bool{}
	var out []model.HeaderValue
	for i, h := range in {
		at := f.Index(i)
		name := c.changedHeader(string(h.Name), seen, at.Key("name"))
		switch {
		case h.Value == "":
			c.add(at.Key("value"), "is missing or empty", "")
		case len(h.Value) > 4096:
			c.add(at.Key("value"), fmt.Sprintf("has %d bytes, at most 4096 are allowed", len(h.Value)), "")
		case strings.ContainsFunc(h.Value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }):
			c.add(at.Key("value"), "has a control character", "a header's value is one line of text")
		}
		out = append(out, model.HeaderValue{Name: name, Value: h.Value})
	}
	return out
}

func (c *checker) headerNames(in []string, f *document.Field) []string {
	c.atMost(len(in), maxItems, "headers", f)
	seen := map[string]bool{}
	var out []string
	for i, h := range in {
		out = append(out, c.changedHeader(h, seen, f.Index(i)))
	}
	return out
}

// changedHeader checks the name of a header to change and returns it in lower case.
func (c *checker) changedHeader(s string, seen map[string]bool, f *document.Field) string {
	name := strings.ToLower(s)
	if !c.headerName(s, f) {
		return name
	}
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "te", "trailer":
		c.add(f, fmt.Sprintf("%q belongs to one connection and cannot be changed", s), "remove it")
	}
	if seen[name] {
		c.add(f, fmt.Sprintf("the header %q is here twice", s), "write it once; names are compared without case")
	}
	seen[name] = true
	return name
}
