package route

import (
	"slices"
	"strings"
)

// maxHost bounds the host names compared: 253 bytes (RFC 1035, section 2.3.4) and the dot of a wildcard.
const maxHost = 254

// hostIndex finds the candidates that a request's host and path allow.
type hostIndex struct {
	exact map[string]*pathIndex
	wild  map[string]*pathIndex // key ".x.y"
	any   pathIndex
	named bool // there are hosts at all
}

// pathIndex holds the candidates of one host, each list by precedence.
type pathIndex struct {
	exact    map[string][]*candidate
	prefixes map[string][]*candidate
	lengths  []int // of the keys of prefixes, longest first, each once
	regexps  []*candidate
	root     []*candidate
}

// add appends a candidate; the calls come in order of precedence.
func (x *hostIndex) add(c *candidate) {
	if c.host == "" {
		x.any.add(c)
		return
	}
	x.named = true
	m := &x.exact
	if c.host.wild() {
		m = &x.wild
	}
	if *m == nil {
		*m = map[string]*pathIndex{}
	}
	p := (*m)[string(c.host)]
	if p == nil {
		p = &pathIndex{}
		(*m)[string(c.host)] = p
	}
	p.add(c)
}

func (x *hostIndex) finish() {
	x.any.finish()
	for _, p := range x.exact {
		p.finish()
	}
	for _, p := range x.wild {
		p.finish()
	}
}

// find tries the request's own host, then the wildcards from the longest, then the rules of any host.
func (x *hostIndex) find(r *request) *candidate {
	host := r.hostName()
	if p := x.exact[string(host)]; p != nil {
		if c := p.find(r); c != nil {
			return c
		}
	}
	if len(x.wild) > 0 {
		for i := 1; i < len(host); i++ {
			if host[i] != '.' {
				continue
			}
			if p := x.wild[string(host[i:])]; p != nil {
				if c := p.find(r); c != nil {
					return c
				}
			}
		}
	}
	return x.any.find(r)
}

func (p *pathIndex) add(c *candidate) {
	switch c.path.rank {
	case rankExact:
		if p.exact == nil {
			p.exact = map[string][]*candidate{}
		}
		p.exact[c.path.value] = append(p.exact[c.path.value], c)
	case rankPrefix:
		if p.prefixes == nil {
			p.prefixes = map[string][]*candidate{}
		}
		if _, ok := p.prefixes[c.path.value]; !ok {
			p.lengths = append(p.lengths, len(c.path.value))
		}
		p.prefixes[c.path.value] = append(p.prefixes[c.path.value], c)
	case rankRegex:
		p.regexps = append(p.regexps, c)
	default:
		p.root = append(p.root, c)
	}
}

func (p *pathIndex) finish() {
	slices.SortFunc(p.lengths, func(a, b int) int { return b - a })
	p.lengths = slices.Clip(slices.Compact(p.lengths))
}

// find returns the first candidate that holds. It looks a prefix up only where the path has an element's
// end at one of the lengths that occur, so that neither the number of prefixes nor that of the path's
// elements matters alone.
func (p *pathIndex) find(r *request) *candidate {
	if len(p.exact) > 0 {
		if c := first(p.exact[r.path], r); c != nil {
			return c
		}
	}
	for _, n := range p.lengths {
		if n > len(r.path) || n < len(r.path) && r.path[n] != '/' {
			continue
		}
		if c := first(p.prefixes[r.path[:n]], r); c != nil {
			return c
		}
	}
	if c := first(p.regexps, r); c != nil {
		return c
	}
	return first(p.root, r)
}

func first(cs []*candidate, r *request) *candidate {
	for _, c := range cs {
		if c.check(r).holds() {
			return c
		}
	}
	return nil
}

// hasPathPrefix reports whether path is prefix or lies below it, element by element.
func hasPathPrefix(path, prefix string) bool {
	return strings.HasPrefix(path, prefix) && (len(path) == len(prefix) || path[len(prefix)] == '/')
}
