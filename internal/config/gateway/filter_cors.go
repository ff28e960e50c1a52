package gateway

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of HTTPCORSFilter.
const (
	maxCORS        = 64
	maxCORSMethods = 9
	defaultMaxAge  = 5 // seconds
)

// corsOrigin is the schema's pattern of a CORSOrigin.
var corsOrigin = regexp.MustCompile(`^https?://(((\*\.)?([a-zA-Z0-9-]+\.)*[a-zA-Z0-9-]+|\*)(:([0-9]{1,5}))?)$`)

// cors reads a CORS filter (Gateway API, HTTPCORSFilter).
func (c *checker) cors(in *v1.HTTPCORSFilter, f *document.Field) *model.CORS {
	out := &model.CORS{Credentials: deref(in.AllowCredentials, false), MaxAge: defaultMaxAge * time.Second}
	origins := f.Key("allowOrigins")
	for i, o := range c.corsSet(stringsOf(in.AllowOrigins), maxCORS, "origins", origins) {
		if v := c.corsOrigin(o, origins.Index(i)); v != "" {
			out.Origins = append(out.Origins, model.ValueMatch{Type: model.Exact, Value: v})
		}
	}
	out.Methods = c.corsSet(stringsOf(in.AllowMethods), maxCORSMethods, "methods", f.Key("allowMethods"))
	for i, m := range out.Methods {
		c.oneOf(m, append(methods(), "*"), f.Key("allowMethods").Index(i))
	}
	out.Headers = c.corsHeaders(in.AllowHeaders, f.Key("allowHeaders"))
	out.Expose = c.corsHeaders(in.ExposeHeaders, f.Key("exposeHeaders"))
	if at := f.Key("maxAge"); c.doc.Has(at) {
		if in.MaxAge < 1 {
			c.add(at, fmt.Sprintf("wants whole seconds from 1, has %d", in.MaxAge), "")
		}
		out.MaxAge = time.Duration(max(in.MaxAge, 0)) * time.Second
	}
	return out
}

// corsOrigin checks an origin and returns it as browsers send it: in lower case, without the scheme's own port.
func (c *checker) corsOrigin(s string, f *document.Field) string {
	if s == "*" {
		return s
	}
	m := corsOrigin.FindStringSubmatch(s)
	switch {
	case m == nil:
		c.add(f, fmt.Sprintf("%q is no origin", clip(s)), `write scheme and host, for example "https://shop.example" or "https://*.example:8443", or "*" for all`)
		return ""
	case len(s) > 253:
		c.add(f, fmt.Sprintf("has %d bytes, at most 253 are allowed", len(s)), "")
		return ""
	case m[6] != "":
		if port := strings.TrimLeft(m[6], "0"); port == "" || len(port) == 5 && port > "65535" {
			c.add(f, fmt.Sprintf("%q has a port that is not 1 to 65535", s), "write one of these, or none for the scheme's own")
			return ""
		}
	}
	s = strings.ToLower(s)
	if own := map[bool]string{true: ":443", false: ":80"}[strings.HasPrefix(s, "https:")]; m[5] == own {
		s = strings.TrimSuffix(s, own)
	}
	return s
}

// corsHeaders reads names of header fields, in lower case.
func (c *checker) corsHeaders(in []v1.HTTPHeaderName, f *document.Field) []string {
	out := c.corsSet(stringsOf(in), maxCORS, "headers", f)
	for i := range out {
		c.headerName(out[i], f.Index(i))
		out[i] = strings.ToLower(out[i])
	}
	return out
}

// corsSet wants distinct values, and "*" to stand alone.
func (c *checker) corsSet(in []string, most int, what string, f *document.Field) []string {
	c.atMost(len(in), most, what, f)
	seen := map[string]bool{}
	for i, s := range in {
		if seen[s] {
			c.add(f.Index(i), fmt.Sprintf("%q is here twice", clip(s)), "write it once")
		}
		seen[s] = true
	}
	if i := slices.Index(in, "*"); i >= 0 && len(in) > 1 {
		c.add(f.Index(i), `"*" stands beside others`, `"*" is everything: keep it alone, or remove it`)
	}
	return in
}

// stringsOf returns a list of strings of another type as strings.
func stringsOf[T ~string](in []T) []string {
	var out []string
	for _, s := range in {
		out = append(out, string(s))
	}
	return out
}
