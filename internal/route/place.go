package route

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// PathChange is a compiled change of a path. It is immutable.
type PathChange struct {
	kind     model.PathChangeType
	value    string
	text     string
	re       *regexp.Regexp
	template string
}

// CompilePathChange checks and compiles a change. A nil change is allowed and changes nothing.
func CompilePathChange(c *model.PathChange) (*PathChange, error) {
	if c == nil {
		return nil, nil
	}
	out := &PathChange{kind: c.Type, value: c.Value, text: c.Text}
	if strings.ContainsFunc(c.Value, func(r rune) bool { return r <= ' ' || r == 0x7f }) {
		return nil, fmt.Errorf("path %q has a space or a control character", c.Value)
	}
	switch c.Type {
	case model.ChangePrefix:
		out.value = strings.TrimRight(c.Value, "/")
	case model.ChangeFull:
		if !strings.HasPrefix(c.Value, "/") {
			return nil, fmt.Errorf("path %q does not begin with /", c.Value)
		}
	case model.ChangeText:
	case model.ChangeRegex:
		var err error
		if out.re, err = regexp.Compile(c.Regex); err != nil {
			return nil, fmt.Errorf("regular expression %q: %w", c.Regex, err)
		}
		out.template = expandable(c.Value)
	default:
		return nil, fmt.Errorf("unknown change of a path %q", c.Type)
	}
	return out, nil
}

// expandable turns \1 into ${1}, and keeps $ from meaning anything.
func expandable(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '$':
			b.WriteString("$$")
		case s[i] == '\\' && i+1 < len(s) && s[i+1] >= '0' && s[i+1] <= '9':
			i++
			b.WriteString("${" + s[i:i+1] + "}")
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String()
}

// Append appends the changed path to dst. path is as requested, with its query, which stays; prefix is what the
// rule's match asked for, "" or "/" when it did not ask for one (Gateway API, HTTPPathModifier). Only a regular
// expression allocates.
func (c *PathChange) Append(dst []byte, path, prefix string) []byte {
	query := ""
	if i := strings.IndexByte(path, '?'); i >= 0 {
		path, query = path[:i], path[i:]
	}
	begin := len(dst)
	switch c.kind {
	case model.ChangeFull:
		dst = append(dst, c.value...)
	case model.ChangePrefix:
		prefix = strings.TrimRight(prefix, "/")
		dst = append(append(dst, c.value...), strings.TrimPrefix(path, prefix)...)
	case model.ChangeText:
		dst = append(dst, c.value...)
		if len(path) >= len(c.text) && equalFold(path[:len(c.text)], c.text) {
			path = path[len(c.text):]
		}
		dst = append(dst, path...)
	default:
		dst = append(dst, c.re.ReplaceAllString(path, c.template)...)
	}
	if len(dst) == begin || dst[begin] != '/' {
		dst = append(dst, 0)
		copy(dst[begin+1:], dst[begin:])
		dst[begin] = '/'
	}
	return append(dst, query...)
}

// Place is where a request was made to, for AppendLocation.
type Place struct {
	Scheme, Host string // Host without port
	Port         uint16 // that the client connected to
	Path         string // with its query
	Prefix       string // that the rule's match asked for
}

// AppendLocation appends the value of the field location for a redirect (Gateway API, HTTPRequestRedirectFilter).
// path is the compiled r.Path.
func AppendLocation(dst []byte, r *model.Redirect, path *PathChange, at Place) []byte {
	scheme, host, port := at.Scheme, at.Host, at.Port
	if r.Scheme != "" {
		scheme, port = r.Scheme, 0
	}
	if r.Host != "" {
		host = r.Host
	}
	if r.Port != 0 {
		port = r.Port
	}
	dst = append(append(append(dst, scheme...), "://"...), host...)
	if port != 0 && port != wellKnown(scheme) {
		dst = strconv.AppendUint(append(dst, ':'), uint64(port), 10)
	}
	if path != nil {
		return path.Append(dst, at.Path, at.Prefix)
	}
	return append(dst, at.Path...)
}

func wellKnown(scheme string) uint16 {
	switch scheme {
	case "http":
		return 80
	case "https":
		return 443
	}
	return 0
}
