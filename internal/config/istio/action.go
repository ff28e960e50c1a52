package istio

import (
	"encoding/base64"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

func (c *checker) redirect(in *httpRedirect, out *HTTPRoute, f *document.Field) *model.Redirect {
	c.oneOf(f, "uri", "prefixRewrite")
	c.oneOf(f, "port", "derivePort")
	r := &model.Redirect{Scheme: in.Scheme, Status: int(in.RedirectCode)}
	switch r.Status {
	case 0:
		r.Status = 301
	case 301, 302, 303, 307, 308:
	default:
		c.add(f.Key("redirectCode"), fmt.Sprintf("%d is no redirect", in.RedirectCode), "write 301, 302, 303, 307 or 308")
	}
	if in.Scheme != "" && in.Scheme != "http" && in.Scheme != "https" {
		c.add(f.Key("scheme"), fmt.Sprintf("unknown value %q", clip(in.Scheme)), "write http or https")
	}
	if in.Authority != "" {
		r.Host, r.Port = c.authority(in.Authority, f.Key("authority"))
	}
	if in.Port != nil {
		r.Port = c.wantedPort(*in.Port, f.Key("port"))
	}
	if in.DerivePort != nil {
		kind := *in.DerivePort
		c.enum(&kind, []string{"FROM_PROTOCOL_DEFAULT", "FROM_REQUEST_PORT"}, f.Key("derivePort"))
		out.derivePort = kind == "FROM_REQUEST_PORT"
	}
	if in.URI != "" {
		c.path(in.URI, f.Key("uri"))
		r.Path = &model.PathChange{Type: model.ChangeFull, Value: in.URI}
	}
	if in.PrefixRewrite != "" {
		c.path(in.PrefixRewrite, f.Key("prefixRewrite"))
		out.prefixRewrite = in.PrefixRewrite
		for i := range out.Rule.Matches {
			if t := out.Rule.Matches[i].Path.Type; t != model.TextPrefix {
				c.add(f.Key("prefixRewrite"), fmt.Sprintf("match %d asks for no prefix", i), "write match with uri: {prefix: ...}, or uri here")
			}
		}
	}
	return r
}

// authority reads host[:port].
func (c *checker) authority(s string, f *document.Field) (host string, port uint16) {
	host, text, ok := strings.Cut(s, ":")
	if ok {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			c.add(f, fmt.Sprintf("%q has no port 1 to 65535 after its colon", clip(s)), "write a port, or no colon")
		}
		port = uint16(n)
	}
	if why := document.CheckSubdomain(strings.ToLower(host)); why != "" {
		c.add(f, fmt.Sprintf("%q is no valid host name", clip(s)), why)
	}
	return host, port
}

// path checks what is put in place of a path.
func (c *checker) path(s string, f *document.Field) {
	switch {
	case !strings.HasPrefix(s, "/"):
		c.add(f, fmt.Sprintf("%q does not begin with /", clip(s)), "paths are absolute")
	case strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '#' || r == '?' }):
		c.add(f, fmt.Sprintf("%q has a character that no path has", clip(s)), "percent-encode it; the query stays as it is")
	}
}

func (c *checker) direct(in *httpDirectResponse, f *document.Field) *model.DirectAnswer {
	const most = 1 << 20 // as Istio's own bound
	out := &model.DirectAnswer{Status: int(in.Status)}
	if in.Status < 200 || in.Status > 599 {
		c.add(f.Key("status"), fmt.Sprintf("wants a status 200 to 599, has %d", in.Status), "")
	}
	if in.Body == nil {
		return out
	}
	body := f.Key("body")
	c.oneOf(body, "string", "bytes")
	switch {
	case in.Body.String != nil:
		out.Body = *in.Body.String
	case in.Body.Bytes != nil:
		raw, err := base64.StdEncoding.DecodeString(*in.Body.Bytes)
		if err != nil {
			c.add(body.Key("bytes"), "is not base64", "encode it, or write string")
		} else if !utf8.Valid(raw) {
			c.add(body.Key("bytes"), "is not text in UTF-8, which an answer of Weft's has to be", "serve it from a program")
		}
		out.Body = string(raw)
	}
	if len(out.Body) > most {
		c.add(body, fmt.Sprintf("has %d bytes, more than 1 MiB", len(out.Body)), "serve it from a program")
	}
	return out
}

func (c *checker) rewrite(in *httpRewrite, out *HTTPRoute, f *document.Field) {
	c.oneOf(f, "uri", "uriRegexRewrite")
	if out.Rule.Filters.Redirect != nil || out.Rule.Filters.Direct != nil {
		c.add(f, "stands beside an answer of the rule's own", "remove it: no request goes on")
		return
	}
	w := &model.Rewrite{}
	if in.Authority != "" {
		c.authority(in.Authority, f.Key("authority"))
		w.Host = in.Authority
	}
	if in.URI != "" {
		c.path(in.URI, f.Key("uri"))
		out.rewriteURI = in.URI
	}
	if r := in.URIRegexRewrite; r != nil {
		at := f.Key("uriRegexRewrite")
		if r.Match == "" {
			c.add(at.Key("match"), "is missing or empty", "write a regular expression for the part to replace")
		} else if c.regexp(r.Match, at.Key("match")) {
			c.groups(r, at)
		}
		w.Path = &model.PathChange{Type: model.ChangeRegex, Regex: r.Match, Value: r.Rewrite}
	}
	out.Rule.Filters.Rewrite = w
}

// groups checks that what is put in refers to groups that the expression has.
func (c *checker) groups(r *regexRewrite, f *document.Field) {
	re, err := regexp.Compile(r.Match)
	if err != nil {
		return // reported
	}
	for i := 0; i+1 < len(r.Rewrite); i++ {
		if d := r.Rewrite[i+1]; r.Rewrite[i] == '\\' && d >= '0' && d <= '9' {
			if int(d-'0') > re.NumSubexp() {
				c.add(f.Key("rewrite"), fmt.Sprintf("\\%c is no group of match, which has %d", d, re.NumSubexp()), "refer to groups from \\1 on, and to all of it by \\0")
			}
			i++
		}
	}
	if strings.ContainsFunc(r.Rewrite, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		c.add(f.Key("rewrite"), "has a space or a control character", "percent-encode it")
	}
}

// headers reads changes of header fields, in the order of their names.
func (c *checker) headers(in *headerOperations, f *document.Field) (out model.HeaderMod) {
	if in == nil {
		return out
	}
	out.Set = c.fields(in.Set, f.Key("set"))
	out.Add = c.fields(in.Add, f.Key("add"))
	c.atMost(len(in.Remove), maxItems, "names", f.Key("remove"))
	for i, name := range in.Remove {
		at := f.Key("remove").Index(i)
		name = strings.ToLower(name)
		switch {
		case name == "host" || strings.HasPrefix(name, ":"):
			c.add(at, fmt.Sprintf("%q cannot be removed", name), "a request has it")
		case c.fieldName(name, at):
			out.Remove = append(out.Remove, name)
		}
	}
	return out
}

func (c *checker) fields(in map[string]string, f *document.Field) []model.HeaderValue {
	c.atMost(len(in), maxItems, "fields", f)
	var out []model.HeaderValue
	for _, key := range slices.Sorted(maps.Keys(in)) {
		at, name, value := f.Key(key), strings.ToLower(key), in[key]
		if name == ":authority" {
			name = "host"
		}
		if !c.fieldName(name, at) {
			continue
		}
		if strings.ContainsFunc(value, func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			c.add(at, "has a control character", "a header's value is one line of text")
			continue
		}
		if value, ok := c.literal(value, at); ok {
			out = append(out, model.HeaderValue{Name: name, Value: value})
		}
	}
	return out
}

// literal undoes Envoy's "%%". A value that Envoy would fill in is refused: to send it as it stands would be wrong.
func (c *checker) literal(s string, f *document.Field) (string, bool) {
	if strings.Contains(strings.ReplaceAll(s, "%%", ""), "%") {
		message, remedy := refusal("HeaderOperations.set")
		c.add(f, message, remedy)
		return "", false
	}
	return strings.ReplaceAll(s, "%%", "%"), true
}

// fieldName reports whether a rule may write a field.
func (c *checker) fieldName(name string, f *document.Field) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade", "content-length", "te", "trailer":
		c.add(f, fmt.Sprintf("%q frames the message and cannot be changed by a rule", name), "remove it")
		return false
	}
	if !isToken(name) {
		c.add(f, fmt.Sprintf("%q is no field name", clip(name)), "wants letters, digits and - (RFC 9110, section 5.1)")
		return false
	}
	return true
}

func (c *checker) cors(in *corsPolicy, f *document.Field) *model.CORS {
	out := &model.CORS{
		Methods: in.AllowMethods, Headers: in.AllowHeaders, Expose: in.ExposeHeaders, MaxAge: of(in.MaxAge),
		Credentials: in.AllowCredentials != nil && *in.AllowCredentials, Forward: true,
	}
	for i, origin := range in.AllowOrigin {
		if origin == "" {
			c.add(f.Key("allowOrigin").Index(i), "is empty", `write an origin such as "https://a.example", or "*"`)
		}
		out.Origins = append(out.Origins, model.ValueMatch{Type: model.Exact, Value: origin})
	}
	c.atMost(len(in.AllowOrigin)+len(in.AllowOrigins), maxItems, "origins", f)
	for i := range in.AllowOrigins {
		at := f.Key("allowOrigins").Index(i)
		switch v, ok := c.value(&in.AllowOrigins[i], at); {
		case !ok:
		case v.Type == model.Present:
			c.add(at, "says nothing", "write exact, prefix or regex")
		case v.Type == model.TextPrefix:
			out.Origins = append(out.Origins, model.ValueMatch{Type: model.Regex, Value: regexp.QuoteMeta(v.Value) + ".*"})
		default:
			out.Origins = append(out.Origins, v)
		}
	}
	preflights := in.UnmatchedPreflights
	c.enum(&preflights, []string{"UNSPECIFIED", "FORWARD", "IGNORE"}, f.Key("unmatchedPreflights"))
	out.Forward = preflights != "IGNORE"
	return out
}

func (c *checker) mirrors(in *httpRoute, out *HTTPRoute, f *document.Field) {
	c.oneOf(f, "mirror", "mirrors")
	c.oneOf(f, "mirrorPercent", "mirrorPercentage")
	if in.Mirror != nil {
		share := 1.0
		switch {
		case in.MirrorPercentage != nil:
			share = c.share(in.MirrorPercentage, f.Key("mirrorPercentage"))
		case in.MirrorPercent != nil:
			share = c.share(&percent{Value: float64(*in.MirrorPercent)}, f.Key("mirrorPercent"))
		}
		c.mirror(in.Mirror, share, out, f.Key("mirror"))
	}
	c.atMost(len(in.Mirrors), maxMirrors, "mirrors", f.Key("mirrors"))
	for i := range in.Mirrors {
		at, share := f.Key("mirrors").Index(i), 1.0
		if p := in.Mirrors[i].Percentage; p != nil {
			share = c.share(p, at.Key("percentage"))
		}
		c.mirror(&in.Mirrors[i].Destination, share, out, at.Key("destination"))
	}
}

func (c *checker) mirror(in *destination, share float64, out *HTTPRoute, f *document.Field) {
	out.Mirrors = append(out.Mirrors, c.destination(in, f))
	out.Rule.Filters.Mirrors = append(out.Rule.Filters.Mirrors, model.Mirror{Share: share})
}

// share reads a percentage as a share, 0 to 1.
func (c *checker) share(p *percent, f *document.Field) float64 {
	if !(p.Value >= 0 && p.Value <= 100) {
		c.add(f, fmt.Sprintf("wants a percentage 0 to 100, has %g", p.Value), "")
		return 0
	}
	return p.Value / 100
}
