package istio

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// match reads a condition, and the gateways it is for.
func (c *checker) match(in *httpMatch, f *document.Field) (out model.Match, gateways []string) {
	c.idleAny(f, "HTTPMatchRequest", "statPrefix")
	if v, ok := c.value(in.URI, f.Key("uri")); ok {
		out.Path = model.PathMatch{Type: v.Type, Value: v.Value, Fold: in.IgnoreURICase && v.Type != model.Regex}
		if v.Type == model.Present {
			out.Path = model.PathMatch{}
		}
	}
	var more model.MoreMatch
	more.Port = c.port(in.Port, f.Key("port"))
	more.Scheme = c.whole(in.Scheme, f.Key("scheme"))
	more.Authority = c.whole(in.Authority, f.Key("authority"))
	if more.Method = c.whole(in.Method, f.Key("method")); more.Method != nil && more.Method.Type == model.Exact {
		out.Method, more.Method = more.Method.Value, nil
	}
	more.Source = c.source(in.SourceLabels, in.SourceNamespace, f)
	if more != (model.MoreMatch{}) {
		out.More = &more
	}
	out.Headers = append(c.values(in.Headers, f.Key("headers"), true, false), c.values(in.WithoutHeaders, f.Key("withoutHeaders"), true, true)...)
	out.Query = c.values(in.QueryParams, f.Key("queryParams"), false, false)
	if len(in.Gateways) > 0 {
		gateways = c.gateways(in.Gateways, f.Key("gateways"))
	}
	return out, gateways
}

// source reads who a rule is for; nil is everybody.
func (c *checker) source(labels map[string]string, namespace string, f *document.Field) *model.SourceMatch {
	c.labels(labels, f.Key("sourceLabels"))
	if namespace != "" && document.CheckLabel(namespace) != "" {
		c.add(f.Key("sourceNamespace"), fmt.Sprintf("%q is no namespace", clip(namespace)), document.CheckLabel(namespace))
	}
	if len(labels) == 0 && namespace == "" {
		return nil
	}
	return &model.SourceMatch{Namespace: namespace, Labels: labels}
}

// whole reads a condition on a value that every request has; nil is none.
func (c *checker) whole(in *stringMatch, f *document.Field) *model.ValueMatch {
	v, ok := c.value(in, f)
	if !ok || v.Type == model.Present {
		return nil
	}
	return &v
}

// value reads a StringMatch. One that says nothing asks for presence. ok is false without one.
func (c *checker) value(in *stringMatch, f *document.Field) (v model.ValueMatch, ok bool) {
	if in == nil || !c.oneOf(f, "exact", "prefix", "regex") {
		return v, false
	}
	switch {
	case in.Exact != nil:
		return model.ValueMatch{Type: model.Exact, Value: *in.Exact}, true
	case in.Prefix != nil:
		return model.ValueMatch{Type: model.TextPrefix, Value: *in.Prefix}, true
	case in.Regex == nil, *in.Regex == "*": // "*" is no regular expression: Istio takes it for presence
		return model.ValueMatch{Type: model.Present}, true
	}
	c.regexp(*in.Regex, f.Key("regex"))
	return model.ValueMatch{Type: model.Regex, Value: *in.Regex}, true
}

// values reads conditions by name, in the order of the names.
func (c *checker) values(in map[string]stringMatch, f *document.Field, header, not bool) []model.ValueMatch {
	c.atMost(len(in), maxItems, "conditions", f)
	var out []model.ValueMatch
	seen := map[string]bool{}
	for _, name := range slices.Sorted(maps.Keys(in)) {
		at, m := f.Key(name), in[name]
		v, ok := c.value(&m, at)
		if !ok {
			continue
		}
		v.Name, v.Not = name, not
		if header {
			if v.Name = strings.ToLower(name); !c.headerCondition(v.Name, at) {
				continue
			}
		} else if name == "" {
			c.add(at, "is the name of no query parameter", "write the parameter's name")
			continue
		}
		if seen[v.Name] {
			c.add(at, fmt.Sprintf("the name %q is here twice in other letter case", clip(v.Name)), "write it once, in lower case")
			continue
		}
		seen[v.Name] = true
		out = append(out, v)
	}
	return out
}

// headerCondition reports whether a name can be the key of a condition on a header.
func (c *checker) headerCondition(name string, f *document.Field) bool {
	switch {
	case strings.HasPrefix(name, "@request."):
		c.add(f, "conditions on the claims of a token are not supported in this version of Weft", "remove it")
	case slices.Contains([]string{"uri", "scheme", "method", "authority"}, name):
		c.add(f, fmt.Sprintf("Istio ignores the key %q here", name), "write "+name+" beside headers")
	case !isToken(name):
		c.add(f, fmt.Sprintf("%q is no field name", clip(name)), "wants letters, digits and - (RFC 9110, section 5.1)")
	default:
		return true
	}
	return false
}

func isToken(s string) bool {
	for i := range len(s) {
		c := s[i]
		if !(c >= 'a' && c <= 'z' || c >= '0' && c <= '9' || strings.IndexByte("!#$%&'*+-.^_`|~", c) >= 0) {
			return false
		}
	}
	return s != ""
}
