package balance

import (
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// Input is a request, as far as the choice depends on it. Functions take indexes of the Set's endpoints, must not
// block, and may be called several times for the same index.
type Input struct {
	Now    time.Time
	Random uint64 // one random word, new for each choice
	Hash   uint64 // ringHash, maglev: of what names the client
	Hashed bool   // there is a Hash; without one the choice is by chance

	Usable  func(i int) bool  // may take this request at all: serves the port, was not tried; nil: all
	Healthy func(i int) bool  // is not ejected, unreachable or failing its checks; nil: all
	Load    func(i int) int   // requests in flight; nil: none
	Latency func(i int) *EWMA // peakEWMA; nil: nothing is known

	Tried func(i int) bool // the request failed there: another group than theirs is preferred; nil: none

	LastResort bool // rather an endpoint that is not healthy than none
}

// recount is how long counts of healthy endpoints hold when nobody calls Invalidate.
const recount = 10 * time.Millisecond

// Pick chooses the endpoint for a request: its index, or -1 when there is none, and why. First the priority or
// locality is drawn by its load, then the endpoint in it by the algorithm; if nobody there is both usable and
// healthy, the others are asked in order. It allocates nothing.
func (s *Set) Pick(in *Input) (int, Why) {
	c := chooser{s: s, in: in, words: words(in.Random), cold: s.warmUp.over > 0 && in.Now.Before(s.warmUntil)}
	why := Why{Algorithm: s.algorithm, Other: -1, NoHash: s.hashes() && !in.Hashed}
	if len(s.parts) == 0 {
		why.None = true
		return -1, why
	}
	if in.Tried != nil && len(s.parts) > 1 {
		if at := s.elsewhere(&c, &why); at >= 0 {
			return at, why
		}
	}
	first := s.group(&c)
	for n := range s.parts {
		g := first
		if n > 0 {
			if g = n - 1; g >= first {
				g = n
			}
		}
		c.enter(g, s.levels[g].Panic)
		if at := c.choose(&why); at >= 0 {
			why.set(s, g, n > 0, s.levels[g].Panic)
			return int(c.p.members[at]), why
		}
	}
	if in.LastResort {
		for g := range s.parts {
			c.enter(g, true)
			if at := c.choose(&why); at >= 0 {
				why.set(s, g, g != first, false)
				why.LastResort = true
				return int(c.p.members[at]), why
			}
		}
	}
	why.None = true
	return -1, why
}

// elsewhere chooses in a priority or locality that the request has not tried: drawn by its load if it has any, else
// the nearest (Envoy, previous_priorities). It returns -1 when nobody there is both usable and healthy.
func (s *Set) elsewhere(c *chooser, why *Why) int {
	s.group(c) // counts
	total := 0.0
	for g := range s.parts {
		if !s.tried(c, g) {
			total += s.levels[g].Load
		}
	}
	left, first := unit(c.words.next())*total, -1
	for g := 0; g < len(s.parts) && first < 0; g++ {
		if !s.tried(c, g) {
			if left -= s.levels[g].Load; left < 0 {
				first = g
			}
		}
	}
	for n := -1; n < len(s.parts); n++ {
		g := n
		if n < 0 {
			g = first
		}
		if g < 0 || n == first || s.tried(c, g) {
			continue
		}
		c.enter(g, s.levels[g].Panic)
		if at := c.choose(why); at >= 0 {
			why.set(s, g, false, s.levels[g].Panic)
			why.Retried = true
			return int(c.p.members[at])
		}
	}
	return -1
}

// tried reports whether the request failed at a member of a group.
func (s *Set) tried(c *chooser, g int) bool {
	for _, i := range s.parts[g].members {
		if c.in.Tried(int(i)) {
			return true
		}
	}
	return false
}

// Invalidate makes the next Pick count healthy endpoints anew. Without it counts are at most 10 ms old.
func (s *Set) Invalidate() { s.stale = true }

func (s *Set) hashes() bool { return s.algorithm == model.RingHash || s.algorithm == model.Maglev }

// group draws the priority or locality.
func (s *Set) group(c *chooser) int {
	if !s.counts {
		return 0
	}
	if s.stale || c.in.Now.Sub(s.counted) >= recount {
		s.count(c.in)
	}
	if len(s.parts) == 1 {
		return 0
	}
	word := c.words.next()
	if s.hashes() && c.in.Hashed {
		word = mix(c.in.Hash) // a client stays with a locality while loads do
	}
	at := unit(word)
	for g := range s.levels {
		if at -= s.levels[g].Load; at < 0 {
			return g
		}
	}
	return 0
}

// count fills the levels.
func (s *Set) count(in *Input) {
	s.counted, s.stale = in.Now, false
	for g := range s.parts {
		l := &s.levels[g]
		l.Healthy = l.Total
		if in.Healthy == nil {
			continue
		}
		l.Healthy = 0
		for _, i := range s.parts[g].members {
			if in.Healthy(int(i)) {
				l.Healthy++
			}
		}
	}
	if s.shares != nil {
		Distribute(s.levels, s.shares, s.capacity, s.threshold)
		return
	}
	Spill(s.levels, s.capacity, s.threshold)
}
