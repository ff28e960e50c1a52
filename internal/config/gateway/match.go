package gateway

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

func (c *checker) match(m *v1.HTTPRouteMatch, f *document.Field) model.Match {
	var out model.Match
	if m.Path != nil {
		out.Path = c.path(m.Path, f.Key("path"))
	}
	if m.Method != nil {
		out.Method = string(*m.Method)
		c.oneOf(out.Method, methods(), f.Key("method"))
	}
	c.atMost(len(m.Headers), maxItems, "header conditions", f.Key("headers"))
	seen := map[string]bool{}
	for i, h := range m.Headers {
		at := f.Key("headers").Index(i)
		v := model.ValueMatch{Name: strings.ToLower(string(h.Name)), Value: h.Value}
		c.headerName(string(h.Name), at.Key("name"))
		v.Type = c.valueType(string(deref(h.Type, v1.HeaderMatchExact)), h.Value, 4096, at)
		c.once(seen, v.Name, "header", at.Key("name"))
		out.Headers = append(out.Headers, v)
	}
	c.atMost(len(m.QueryParams), maxItems, "query conditions", f.Key("queryParams"))
	seen = map[string]bool{}
	for i, q := range m.QueryParams {
		at := f.Key("queryParams").Index(i)
		v := model.ValueMatch{Name: string(q.Name), Value: q.Value}
		c.headerName(v.Name, at.Key("name"))
		v.Type = c.valueType(string(deref(q.Type, v1.QueryParamMatchExact)), q.Value, 1024, at)
		c.once(seen, v.Name, "query parameter", at.Key("name"))
		out.Query = append(out.Query, v)
	}
	return out
}

func methods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
}

func (c *checker) once(seen map[string]bool, name, what string, f *document.Field) {
	if seen[name] {
		c.add(f, fmt.Sprintf("the %s %q is here twice", what, name), "all conditions of a match must hold; write one for each name")
	}
	seen[name] = true
}

func (c *checker) oneOf(s string, known []string, f *document.Field) bool {
	for _, k := range known {
		if s == k {
			return true
		}
	}
	c.add(f, fmt.Sprintf("unknown value %q", s), document.DidYouMean(s, known))
	return false
}

func (c *checker) path(p *v1.HTTPPathMatch, f *document.Field) model.PathMatch {
	kind, value := string(deref(p.Type, v1.PathMatchPathPrefix)), deref(p.Value, "/")
	at := f.Key("value")
	if !c.oneOf(kind, []string{"Exact", "PathPrefix", "RegularExpression"}, f.Key("type")) {
		return model.PathMatch{}
	}
	if len(value) > 1024 {
		c.add(at, fmt.Sprintf("has %d bytes, at most 1024 are allowed", len(value)), "")
	}
	if kind == "RegularExpression" {
		c.regexp(value, at)
		return model.PathMatch{Type: model.Regex, Value: value}
	}
	c.absolutePath(value, at)
	if kind == "Exact" {
		return model.PathMatch{Type: model.Exact, Value: value}
	}
	return model.PathMatch{Type: model.Prefix, Value: value}
}

// absolutePath applies the rules of HTTPPathMatch's schema.
func (c *checker) absolutePath(s string, f *document.Field) {
	if !strings.HasPrefix(s, "/") {
		c.add(f, fmt.Sprintf("%q does not begin with \"/\"", s), "paths are absolute")
		return
	}
	for _, bad := range []string{"//", "/./", "/../", "%2f", "%2F", "#"} {
		if strings.Contains(s, bad) {
			c.add(f, fmt.Sprintf("%q must not contain %q", s, bad), "write the path as it is after normalization")
			return
		}
	}
	for _, bad := range []string{"/..", "/."} {
		if strings.HasSuffix(s, bad) {
			c.add(f, fmt.Sprintf("%q must not end with %q", s, bad), "write the path as it is after normalization")
			return
		}
	}
	for i := 0; i < len(s); i++ {
		if s[i] == '%' {
			if len(s) < i+3 || strings.Trim(s[i+1:i+3], "0123456789abcdefABCDEF") != "" {
				c.add(f, fmt.Sprintf("%q has a \"%%\" without two hexadecimal digits", s), "write %25 for the sign itself")
				return
			}
			continue
		}
		if !isAlnum(s[i]) && strings.IndexByte("-/._~!$&'()*+,;=:@", s[i]) < 0 {
			remedy := "percent-encode it"
			if s[i] == '?' {
				remedy = "match the query with queryParams"
			}
			c.add(f, fmt.Sprintf("%q has %q, which no path has", s, s[i:i+1]), remedy)
			return
		}
	}
}

func (c *checker) valueType(kind, value string, most int, f *document.Field) model.MatchType {
	if !c.oneOf(kind, []string{"Exact", "RegularExpression"}, f.Key("type")) {
		return model.Exact
	}
	at := f.Key("value")
	switch {
	case value == "":
		c.add(at, "is missing or empty", "write the value to compare with")
	case len(value) > most:
		c.add(at, fmt.Sprintf("has %d bytes, at most %d are allowed", len(value), most), "")
	}
	if kind == "RegularExpression" {
		c.regexp(value, at)
		return model.Regex
	}
	return model.Exact
}

func (c *checker) regexp(s string, f *document.Field) {
	_, err := regexp.Compile(s)
	if err == nil {
		return
	}
	message := err.Error()
	if bad, ok := errors.AsType[*syntax.Error](err); ok {
		message = bad.Code.String()
		if i := strings.Index(s, bad.Expr); i >= 0 && bad.Expr != "" && bad.Expr != s {
			message += fmt.Sprintf(" at character %d: %q", i+1, bad.Expr)
		}
	}
	c.add(f, fmt.Sprintf("regular expression %q does not compile: %s", s, message), "the syntax is RE2: no lookaround, no backreferences")
}

// nameRemedy is what the name of a field may have (RFC 9110, section 5.6.2).
const nameRemedy = "write letters, digits and !#$%&'*+-.^_`|~ only"

// headerName wants a token (RFC 9110, section 5.6.2) of at most 256 bytes.
func (c *checker) headerName(s string, f *document.Field) bool {
	switch {
	case s == "":
		c.add(f, "is missing or empty", "write the field's name")
		return false
	case len(s) > 256:
		c.add(f, fmt.Sprintf("has %d bytes, at most 256 are allowed", len(s)), "")
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			remedy := nameRemedy
			if s[i] == ':' {
				remedy = "pseudo-header fields cannot be used; match path and method by their own fields"
			}
			c.add(f, fmt.Sprintf("%q has %q, which no name has", s, s[i:i+1]), remedy)
			return false
		}
	}
	return true
}

func isAlnum(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}
