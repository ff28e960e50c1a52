package gateway

import (
	"fmt"
	"slices"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// filterSet is what the filters of a rule or of a backend come to.
type filterSet struct {
	request, response model.HeaderMod
	filters           model.Filters
	mirrorAt          []Position
	authAt            Position
	prefixAt          *document.Field // of a replacePrefixMatch
	at                map[v1.HTTPRouteFilterType]*document.Field
}

// filters reads the filters of a rule or of one of its backends.
func (c *checker) filters(in []v1.HTTPRouteFilter, f *document.Field) (out filterSet) {
	c.atMost(len(in), maxItems, "filters", f)
	out.at = map[v1.HTTPRouteFilterType]*document.Field{}
	for i := range in {
		at, filter := f.Index(i), &in[i]
		if !c.filterShape(filter, at) {
			continue
		}
		kind := filter.Type
		if out.at[kind] != nil && kind != v1.HTTPRouteFilterRequestMirror {
			c.add(at.Key("type"), fmt.Sprintf("the filter %s is here twice", kind), "put all its changes into one")
		}
		out.at[kind] = at
		c.filter(filter, at, &out)
	}
	if out.at[v1.HTTPRouteFilterRequestRedirect] != nil && out.at[v1.HTTPRouteFilterURLRewrite] != nil {
		c.add(f, "has both RequestRedirect and URLRewrite", "a request that is redirected goes nowhere: keep one of them")
	}
	return out
}

// filter reads one filter of the right shape.
func (c *checker) filter(in *v1.HTTPRouteFilter, f *document.Field, out *filterSet) {
	switch in.Type {
	case v1.HTTPRouteFilterRequestHeaderModifier:
		out.request = c.modifier(in.RequestHeaderModifier, f.Key("requestHeaderModifier"))
	case v1.HTTPRouteFilterResponseHeaderModifier:
		out.response = c.modifier(in.ResponseHeaderModifier, f.Key("responseHeaderModifier"))
	case v1.HTTPRouteFilterRequestRedirect:
		at := f.Key("requestRedirect")
		out.filters.Redirect = c.redirect(in.RequestRedirect, at)
		if isPrefixChange(in.RequestRedirect.Path) {
			out.prefixAt = at.Key("path").Key("replacePrefixMatch")
		}
	case v1.HTTPRouteFilterURLRewrite:
		at := f.Key("urlRewrite")
		out.filters.Rewrite = c.rewrite(in.URLRewrite, at)
		if isPrefixChange(in.URLRewrite.Path) {
			out.prefixAt = at.Key("path").Key("replacePrefixMatch")
		}
	case v1.HTTPRouteFilterCORS:
		out.filters.CORS = c.cors(in.CORS, f.Key("cors"))
	case v1.HTTPRouteFilterExternalAuth:
		at := f.Key("externalAuth")
		out.filters.Auth = c.externalAuth(in.ExternalAuth, at)
		out.authAt = c.position(at.Key("backendRef").Key("name"))
	case v1.HTTPRouteFilterRequestMirror:
		at := f.Key("requestMirror")
		out.filters.Mirrors = append(out.filters.Mirrors, c.mirror(in.RequestMirror, at))
		out.mirrorAt = append(out.mirrorAt, c.position(at.Key("backendRef").Key("name")))
	}
}

// filterKinds returns the types of filters that a route of this kind may have.
func (c *checker) filterKinds() []string {
	grpc := []string{"RequestHeaderModifier", "ResponseHeaderModifier", "RequestMirror", "ExtensionRef"}
	if c.doc.Kind == "GRPCRoute" {
		return grpc
	}
	return append(grpc, "RequestRedirect", "URLRewrite", "CORS", "ExternalAuth")
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
		{v1.HTTPRouteFilterRequestMirror, "requestMirror", filter.RequestMirror != nil, true},
		{v1.HTTPRouteFilterRequestRedirect, "requestRedirect", filter.RequestRedirect != nil, true},
		{v1.HTTPRouteFilterURLRewrite, "urlRewrite", filter.URLRewrite != nil, true},
		{v1.HTTPRouteFilterCORS, "cors", filter.CORS != nil, true},
		{v1.HTTPRouteFilterExternalAuth, "externalAuth", filter.ExternalAuth != nil, true},
		{v1.HTTPRouteFilterExtensionRef, "extensionRef", filter.ExtensionRef != nil, false},
	}
	known := c.filterKinds()
	if filter.Type == "" {
		c.add(f.Key("type"), "is missing", "known are "+strings.Join(known, ", "))
		return false
	}
	if !slices.Contains(known, string(filter.Type)) {
		c.oneOf(string(filter.Type), known, f.Key("type"))
		return false
	}
	ok := true
	for _, x := range fields {
		mine := filter.Type == x.kind
		switch {
		case mine && !x.runs:
			c.add(f.Key("type"), fmt.Sprintf("the filter %s is not supported in this version of Weft", x.kind), "remove it")
			ok = false
		case mine && !x.set:
			c.add(f.Key(x.field), fmt.Sprintf("is missing, and type is %s", x.kind), "write "+x.field+" with what the filter does, or another type")
			ok = false
		case !mine && x.set:
			c.add(f.Key(x.field), fmt.Sprintf("is given, but type is %q", filter.Type), fmt.Sprintf("write type: %s or remove it", x.kind))
			ok = false
		}
	}
	return ok
}
