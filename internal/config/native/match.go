package native

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// matches reads conditions on requests, which are written as those of an HTTPRoute. No list is every request.
func (c *checker) matches(in []match, f *document.Field) []model.Match {
	if !c.atMost(len(in), maxMatches, "matches", f) {
		return nil
	}
	if in != nil && len(in) == 0 {
		c.add(f, "is empty", "write at least one match, or remove it for every request")
	}
	var out []model.Match
	for i := range in {
		at, m := f.Index(i), &in[i]
		x := model.Match{
			Headers: c.values(m.Headers, "header", 4096, at.Key("headers")),
			Query:   c.values(m.QueryParams, "query parameter", 1024, at.Key("queryParams")),
		}
		for j := range x.Headers {
			x.Headers[j].Name = strings.ToLower(x.Headers[j].Name)
		}
		if m.Path != nil {
			x.Path = c.path(m.Path, at.Key("path"))
		}
		if c.doc.Has(at.Key("method")) && m.Method != "" && c.known(m.Method, methods(), at.Key("method")) {
			x.Method = m.Method
		}
		out = append(out, x)
	}
	return out
}

// methods are those that HTTPRoute knows.
func methods() []string {
	return []string{"GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH"}
}

func (c *checker) path(p *pathMatch, f *document.Field) model.PathMatch {
	kinds := map[string]model.MatchType{"PathPrefix": model.Prefix, "Exact": model.Exact, "RegularExpression": model.Regex}
	kind := c.enum(p.Type, []string{"PathPrefix", "Exact", "RegularExpression"}, f.Key("type"))
	out := model.PathMatch{Type: kinds[kind], Value: "/"}
	at := f.Key("value")
	if p.Value != nil {
		out.Value = *p.Value
	}
	switch {
	case len(out.Value) > 1024:
		c.add(at, fmt.Sprintf("has %d bytes, at most 1024 are allowed", len(out.Value)), "")
	case out.Type == model.Regex:
		c.regexp(out.Value, at)
	default:
		c.absolutePath(out.Value, at)
	}
	return out
}

// absolutePath applies the rules of the Gateway API's HTTPPathMatch.
func (c *checker) absolutePath(s string, f *document.Field) {
	if !strings.HasPrefix(s, "/") {
		c.add(f, fmt.Sprintf("%q does not begin with \"/\"", clip(s)), "paths are absolute")
		return
	}
	for _, bad := range []string{"//", "/./", "/../", "%2f", "%2F", "#", "?"} {
		if strings.Contains(s, bad) {
			remedy := "write the path as it is after normalization"
			if bad == "?" {
				remedy = "match the query with queryParams"
			}
			c.add(f, fmt.Sprintf("%q must not contain %q", clip(s), bad), remedy)
			return
		}
	}
	if strings.HasSuffix(s, "/.") || strings.HasSuffix(s, "/..") {
		c.add(f, fmt.Sprintf("%q must not end with a dot segment", clip(s)), "write the path as it is after normalization")
		return
	}
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '%':
			if len(s) < i+3 || strings.Trim(s[i+1:i+3], "0123456789abcdefABCDEF") != "" {
				c.add(f, fmt.Sprintf("%q has a \"%%\" without two hexadecimal digits", clip(s)), "write %25 for the sign itself")
				return
			}
		case !isAlnum(s[i]) && strings.IndexByte("-/._~!$&'()*+,;=:@", s[i]) < 0:
			c.add(f, fmt.Sprintf("%q has %q, which no path has", clip(s), s[i:i+1]), "percent-encode it")
			return
		}
	}
}

// values reads conditions on headers or query parameters; of each name there is one.
func (c *checker) values(in []valueMatch, what string, most int, f *document.Field) []model.ValueMatch {
	c.atMost(len(in), maxItems, "conditions", f)
	seen := map[string]bool{}
	var out []model.ValueMatch
	for i := range in {
		at, v := f.Index(i), &in[i]
		c.token(v.Name, what, at.Key("name"))
		x := model.ValueMatch{Name: v.Name, Value: v.Value, Type: model.Exact}
		if c.enum(v.Type, []string{"Exact", "RegularExpression"}, at.Key("type")) == "RegularExpression" {
			x.Type = model.Regex
		}
		name := v.Name
		if what == "header" {
			name = strings.ToLower(name)
		}
		switch {
		case v.Value == "":
			c.add(at.Key("value"), "is missing or empty", "write the value to compare with")
		case len(v.Value) > most:
			c.add(at.Key("value"), fmt.Sprintf("has %d bytes, at most %d are allowed", len(v.Value), most), "")
		case x.Type == model.Regex:
			c.regexp(v.Value, at.Key("value"))
		}
		if seen[name] {
			c.add(at.Key("name"), fmt.Sprintf("the %s %q is here twice", what, clip(v.Name)), "all conditions of a match must hold; write one for each name")
		}
		seen[name] = true
		out = append(out, x)
	}
	return out
}
