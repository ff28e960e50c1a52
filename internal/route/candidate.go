package route

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// candidate is one match of one rule for one host: the unit that precedence orders.
type candidate struct {
	rule, match int
	port        uint16
	host        hostPattern
	path        pathPattern
	method      string
	headers     []valuePattern
	query       []valuePattern
	more        *morePattern // nil for what the Gateway API can say
	order       int          // in the table: the lower goes first
}

// Ranks of a path condition, the most specific first.
const (
	rankExact = iota
	rankPrefix
	rankRegex
	rankAny // the prefix "/"
)

type pathPattern struct {
	rank  int
	value string // without trailing slash when it is a prefix by element
	re    *regexp.Regexp
	text  bool // a prefix byte by byte
	fold  bool // letter case does not matter
}

// hostPattern is "" for any host, "x.y" for that one, and ".x.y" for every name below x.y.
type hostPattern string

func (h hostPattern) wild() bool { return len(h) > 0 && h[0] == '.' }

// text returns the pattern as users write it.
func (h hostPattern) text() string {
	if h.wild() {
		return "*" + string(h)
	}
	return string(h)
}

// rank orders hosts: exact ones, then wildcards by length, then none. No request has two exact hosts.
func (h hostPattern) rank() int {
	switch {
	case h == "":
		return 0
	case h.wild():
		return len(h)
	}
	return 1 << 16
}

// precedence compares two candidates; a negative result means a goes first.
func precedence(a, b *candidate) int {
	return cmp.Or(
		cmp.Compare(b.host.rank(), a.host.rank()),
		cmp.Compare(a.path.rank, b.path.rank),
		comparePrefix(a, b),
		-compareBool(a.method != "", b.method != ""),
		cmp.Compare(len(b.headers), len(a.headers)),
		cmp.Compare(len(b.query), len(a.query)),
		cmp.Compare(a.rule, b.rule),
		cmp.Compare(a.match, b.match),
	)
}

func comparePrefix(a, b *candidate) int {
	if a.path.rank != rankPrefix || b.path.rank != rankPrefix {
		return 0
	}
	return cmp.Compare(len(b.path.value), len(a.path.value))
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func ruleCandidates(r *model.Rule, index int) ([]*candidate, error) {
	if err := checkRule(r); err != nil {
		return nil, err
	}
	hosts := []hostPattern{""}
	if len(r.Hosts) > 0 {
		hosts = hosts[:0]
	}
	for i, h := range r.Hosts {
		p, err := newHost(h)
		if err != nil {
			return nil, fmt.Errorf("hosts[%d]: %w", i, err)
		}
		hosts = append(hosts, p)
	}
	base := []candidate{{match: -1, path: pathPattern{rank: rankAny}}}
	if len(r.Matches) > 0 {
		base = base[:0]
	}
	for i := range r.Matches {
		c, err := newCandidate(&r.Matches[i])
		if err != nil {
			return nil, fmt.Errorf("matches[%d].%w", i, err)
		}
		c.match = i
		base = append(base, c)
	}
	out := make([]*candidate, 0, len(hosts)*len(base))
	for _, h := range hosts {
		for i := range base {
			c := base[i]
			c.rule, c.port, c.host = index, r.Port, h
			out = append(out, &c)
		}
	}
	return out, nil
}

func newCandidate(m *model.Match) (candidate, error) {
	c := candidate{method: m.Method}
	var err error
	if c.path, err = newPath(m.Path); err != nil {
		return c, fmt.Errorf("path: %w", err)
	}
	for i, v := range m.Headers {
		p, err := newNamedValue(v)
		if err != nil {
			return c, fmt.Errorf("headers[%d]: %w", i, err)
		}
		p.name = strings.ToLower(p.name)
		c.headers = append(c.headers, p)
	}
	for i, v := range m.Query {
		p, err := newNamedValue(v)
		if err != nil {
			return c, fmt.Errorf("query[%d]: %w", i, err)
		}
		c.query = append(c.query, p)
	}
	if m.More != nil {
		if c.more, err = newMore(m.More); err != nil {
			return c, fmt.Errorf("more.%w", err)
		}
	}
	return c, nil
}

func newHost(s string) (hostPattern, error) {
	host := strings.ToLower(strings.TrimSuffix(s, "."))
	host = strings.TrimPrefix(host, "*")
	switch {
	case host == "" || strings.Contains(host, "*") || len(host) > maxHost,
		strings.HasPrefix(s, "*") != strings.HasPrefix(host, "."):
		return "", fmt.Errorf("%q is not a host name nor \"*.\" and one", s)
	}
	return hostPattern(host), nil
}

func newPath(m model.PathMatch) (pathPattern, error) {
	p := pathPattern{value: m.Value, fold: m.Fold}
	switch m.Type {
	case "":
		if m.Value != "" {
			return p, fmt.Errorf("value %q without a type", m.Value)
		}
		return pathPattern{rank: rankAny}, nil
	case model.Exact:
		p.rank = rankExact
		return p, nil
	case model.Prefix:
		// "/a/" and "/a" are the same prefix (Gateway API, PathMatchPathPrefix).
		p.value = strings.TrimRight(m.Value, "/")
	case model.TextPrefix:
		p.text = true
		if m.Value == "/" {
			p.value = ""
		}
	case model.Regex:
		var err error
		p.rank = rankRegex
		if p.re, err = compileWhole(m.Value); err == nil && m.Fold {
			p.re, err = compileWhole("(?i:" + m.Value + ")")
		}
		return p, err
	default:
		return p, fmt.Errorf("unknown match type %q; known are exact, prefix, textPrefix, regex", m.Type)
	}
	p.rank = rankPrefix
	if p.value == "" {
		return pathPattern{rank: rankAny}, nil
	}
	return p, nil
}

// compileWhole compiles s to match whole values. It is compiled alone first, so that a stray parenthesis
// cannot close the group around it.
func compileWhole(s string) (*regexp.Regexp, error) {
	if _, err := regexp.Compile(s); err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", s, err)
	}
	re, err := regexp.Compile(`\A(?:` + s + `)\z`)
	if err != nil {
		return nil, fmt.Errorf("regular expression %q: %w", s, err)
	}
	return re, nil
}
