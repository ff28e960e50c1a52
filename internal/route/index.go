package route

import "slices"

// maxHost bounds the host names compared: 253 bytes (RFC 1035, section 2.3.4) and the dot of a wildcard.
const maxHost = 254

// hostIndex finds the candidates that a request's host and path allow.
type hostIndex struct {
	exact map[string]*pathIndex
	wild  map[string]*pathIndex // key ".x.y"
	any   pathIndex
	named bool // there are hosts at all

	exclusive bool // rules of less specific hosts are not tried where there are some of a more specific one
}

// pathIndex holds the candidates of one host, each list in the order in which they are tried.
type pathIndex struct {
	exact    map[string][]*candidate
	prefixes map[string][]*candidate // by element
	texts    map[string][]*candidate // byte by byte
	lengths  []int                   // of the keys of prefixes and texts, longest first, each once
	regexps  []*candidate
	folded   []*candidate // in any letter case, but for regular expressions
	root     []*candidate

	ports   []uint16 // that the candidates are for
	anyPort bool     // some are for every port

	ranked bool // what is found in one of the lists goes before all that is in those after it
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

func (x *hostIndex) finish(byPrecedence bool) {
	x.any.finish(byPrecedence)
	for _, p := range x.exact {
		p.finish(byPrecedence)
	}
	for _, p := range x.wild {
		p.finish(byPrecedence)
	}
}

// find tries the request's own host, then the wildcards from the longest, then the rules of any host.
func (x *hostIndex) find(r *request) *candidate {
	host := r.hostName()
	if p := x.exact[string(host)]; p != nil {
		if c := p.find(r); c != nil || x.exclusive && p.covers(r.port) {
			return c
		}
	}
	if len(x.wild) > 0 {
		for i := 1; i < len(host); i++ {
			if host[i] != '.' {
				continue
			}
			if p := x.wild[string(host[i:])]; p != nil {
				if c := p.find(r); c != nil || x.exclusive && p.covers(r.port) {
					return c
				}
			}
		}
	}
	return x.any.find(r)
}

func (p *pathIndex) add(c *candidate) {
	if c.port == 0 {
		p.anyPort = true
	} else if !slices.Contains(p.ports, c.port) {
		p.ports = append(p.ports, c.port)
	}
	switch {
	case c.path.rank == rankRegex:
		p.regexps = append(p.regexps, c)
	case c.path.rank == rankAny:
		p.root = append(p.root, c)
	case c.path.fold:
		p.folded = append(p.folded, c)
	case c.path.rank == rankExact:
		put(&p.exact, c)
	default:
		p.lengths = append(p.lengths, len(c.path.value))
		if c.path.text {
			put(&p.texts, c)
		} else {
			put(&p.prefixes, c)
		}
	}
}

// covers reports whether any candidate is for the port.
func (p *pathIndex) covers(port uint16) bool { return p.anyPort || slices.Contains(p.ports, port) }

// put appends a candidate to those of its path.
func put(m *map[string][]*candidate, c *candidate) {
	if *m == nil {
		*m = map[string][]*candidate{}
	}
	(*m)[c.path.value] = append((*m)[c.path.value], c)
}

func (p *pathIndex) finish(byPrecedence bool) {
	slices.SortFunc(p.lengths, func(a, b int) int { return b - a })
	p.lengths = slices.Clip(slices.Compact(p.lengths))
	p.ranked = byPrecedence && len(p.folded) == 0
}

// find returns the first candidate that holds. It looks a prefix up only at the lengths that occur, and one by
// element only where the path has an element's end, so that neither the number of prefixes nor that of the path's
// elements matters alone.
func (p *pathIndex) find(r *request) *candidate {
	var best *candidate
	if len(p.exact) > 0 {
		if best = first(best, p.exact[r.path], r); best != nil && p.ranked {
			return best
		}
	}
	for _, n := range p.lengths {
		if n > len(r.path) {
			continue
		}
		if len(p.prefixes) > 0 && (n == len(r.path) || r.path[n] == '/') {
			best = first(best, p.prefixes[r.path[:n]], r)
		}
		if len(p.texts) > 0 {
			best = first(best, p.texts[r.path[:n]], r)
		}
		if best != nil && p.ranked {
			return best
		}
	}
	if best = first(best, p.regexps, r); best != nil && p.ranked {
		return best
	}
	return first(first(best, p.folded, r), p.root, r)
}

// first returns best, or what of cs goes before it and holds.
func first(best *candidate, cs []*candidate, r *request) *candidate {
	for _, c := range cs {
		if best != nil && c.order > best.order {
			break
		}
		if c.check(r).holds() {
			return c
		}
	}
	return best
}
