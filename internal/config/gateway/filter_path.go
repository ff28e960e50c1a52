package gateway

import (
	"fmt"
	"strings"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// redirect reads a redirect. Its status is 302 when nothing is said (Gateway API, HTTPRequestRedirectFilter).
func (c *checker) redirect(in *v1.HTTPRequestRedirectFilter, f *document.Field) *model.Redirect {
	out := &model.Redirect{
		Scheme: deref(in.Scheme, ""), Host: c.preciseHost(in.Hostname, f.Key("hostname")),
		Port: c.port(in.Port, f.Key("port")), Status: deref(in.StatusCode, 302),
	}
	if in.Scheme != nil {
		c.oneOf(out.Scheme, []string{"http", "https"}, f.Key("scheme"))
	}
	switch out.Status {
	case 301, 302, 303, 307, 308:
	default:
		c.add(f.Key("statusCode"), fmt.Sprintf("%d is no status of a redirect", out.Status), "write 301, 302, 303, 307 or 308")
	}
	out.Path = c.pathChange(in.Path, f.Key("path"))
	return out
}

// rewrite reads a rewrite of host and path (Gateway API, HTTPURLRewriteFilter).
func (c *checker) rewrite(in *v1.HTTPURLRewriteFilter, f *document.Field) *model.Rewrite {
	return &model.Rewrite{Host: c.preciseHost(in.Hostname, f.Key("hostname")), Path: c.pathChange(in.Path, f.Key("path"))}
}

// preciseHost reads a host name without wildcard; none is "".
func (c *checker) preciseHost(h *v1.PreciseHostname, f *document.Field) string {
	if h == nil {
		return ""
	}
	s := string(*h)
	if len(s) > 1 && s[:2] == "*." {
		c.add(f, fmt.Sprintf("%q has a wildcard", clip(s)), "write one host name")
		return s
	}
	c.hostname(s, f)
	return s
}

// isPrefixChange reports whether the change is one of the prefix that the rule's match asks for.
func isPrefixChange(p *v1.HTTPPathModifier) bool {
	return p != nil && p.Type == v1.PrefixMatchHTTPPathModifier
}

// pathChange reads a change of a path.
func (c *checker) pathChange(p *v1.HTTPPathModifier, f *document.Field) *model.PathChange {
	if p == nil {
		return nil
	}
	full, prefix := string(v1.FullPathHTTPPathModifier), string(v1.PrefixMatchHTTPPathModifier)
	if p.Type == "" {
		c.add(f.Key("type"), "is missing", "write "+full+" or "+prefix)
		return nil
	}
	if !c.oneOf(string(p.Type), []string{full, prefix}, f.Key("type")) {
		return nil
	}
	out := &model.PathChange{}
	for _, x := range []struct {
		kind, field string
		value       *string
		as          model.PathChangeType
	}{
		{full, "replaceFullPath", p.ReplaceFullPath, model.ChangeFull},
		{prefix, "replacePrefixMatch", p.ReplacePrefixMatch, model.ChangePrefix},
	} {
		at, mine := f.Key(x.field), string(p.Type) == x.kind
		switch {
		case mine && x.value == nil:
			c.add(at, "is missing, and type is "+x.kind, "write "+x.field+" with the new path, or another type")
		case mine:
			out.Type, out.Value = x.as, *x.value
			c.newPath(out, at)
		case x.value != nil:
			c.add(at, fmt.Sprintf("is given, but type is %s", p.Type), fmt.Sprintf("write type: %s or remove it", x.kind))
		}
	}
	return out
}

// newPath checks what is put in place of a path. A prefix may be empty.
func (c *checker) newPath(p *model.PathChange, f *document.Field) {
	if p.Value == "" && p.Type == model.ChangePrefix {
		return
	}
	if len(p.Value) > 1024 {
		c.add(f, fmt.Sprintf("has %d bytes, at most 1024 are allowed", len(p.Value)), "")
		return
	}
	if strings.Contains(p.Value, "?") {
		c.add(f, fmt.Sprintf("%q has a query", clip(p.Value)), "write the path alone: the query of the request stays")
		return
	}
	c.absolutePath(p.Value, f)
}

// prefixChange wants that a rule which replaces the prefix has exactly one match, by PathPrefix, and writes out
// the match that is meant where none is written (Gateway API, HTTPRouteRule, CEL rules).
func (c *checker) prefixChange(matches []v1.HTTPRouteMatch, out *model.Rule, f *document.Field) {
	const remedy = "write one match with path: {type: PathPrefix}, or a rule for each"
	if len(matches) > 1 {
		c.add(f, fmt.Sprintf("the rule has %d matches, and what it replaces is the prefix of exactly one", len(matches)), remedy)
		return
	}
	if len(out.Matches) == 0 {
		out.Matches = []model.Match{{}}
	}
	switch path := &out.Matches[0].Path; path.Type {
	case "":
		*path = model.PathMatch{Type: model.Prefix, Value: "/"}
	case model.Prefix:
	default:
		c.add(f, "the rule's match is not by PathPrefix, so there is no prefix to replace", remedy)
	}
}
