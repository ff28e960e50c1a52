package balance

import (
	"fmt"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// Why says how an endpoint was chosen.
type Why struct {
	Algorithm model.Algorithm
	Group     string  // the priority or locality; "all" when there is one
	Load      float64 // share of the requests that the group takes

	Other           int     // two choices: index of the one that was not taken; -1: there was none
	Cost, OtherCost float64 // leastRequest: requests in flight per weight; peakEWMA: expected nanoseconds

	None       bool // nobody can take the request
	NoHash     bool // the request has nothing to hash: the choice was by chance
	Elsewhere  bool // the group that was drawn had nobody
	Retried    bool // a try failed in another group
	Panic      bool // too few are healthy: health was not looked at
	LastResort bool // nobody was healthy
}

func (w *Why) set(s *Set, g int, elsewhere, panicking bool) {
	w.Group, w.Load, w.Elsewhere, w.Panic = s.parts[g].name, s.levels[g].Load, elsewhere, panicking
}

// String is one line for people. It names no endpoints; see Set.Explain.
func (w Why) String() string {
	if w.None {
		return fmt.Sprintf("%s: no endpoint is usable", w.Algorithm)
	}
	var b strings.Builder
	b.WriteString(string(w.Algorithm))
	if w.NoHash {
		b.WriteString(", by chance (the request has nothing to hash)")
	}
	if w.Other >= 0 {
		fmt.Fprintf(&b, ", %s against %s", w.cost(w.Cost), w.cost(w.OtherCost))
	}
	if w.Group != "all" {
		fmt.Fprintf(&b, "; %s takes %.0f%%", w.Group, 100*w.Load)
	}
	if w.Elsewhere {
		b.WriteString(", in place of another where nobody was usable")
	}
	if w.Retried {
		b.WriteString(", as a try has failed in another")
	}
	if w.Panic {
		b.WriteString("; panic: too few endpoints are healthy, so health is not looked at")
	}
	if w.LastResort {
		b.WriteString("; last resort: no endpoint is healthy")
	}
	return b.String()
}

func (w *Why) cost(c float64) string {
	if w.Algorithm == model.PeakEWMA {
		return time.Duration(c).Round(time.Microsecond).String()
	}
	return fmt.Sprintf("%.3g in flight", c)
}

// Verdict is what became of one endpoint.
type Verdict struct {
	ID      string
	Group   string  // priority or locality; "": in none
	Load    float64 // share of the requests that the group takes
	Weight  float64 // within the group, 1 on average, less what warm-up takes off
	Usable  bool
	Healthy bool
	Chosen  bool
	Reason  string
}

// Explain returns what Pick would do with the same input, and one verdict for each endpoint, in their order. It
// changes nothing and allocates.
func (s *Set) Explain(in *Input) (int, Why, []Verdict) {
	twin := s.twin()
	chosen, why := twin.Pick(in)
	out := make([]Verdict, len(s.all))
	for i := range out {
		out[i] = Verdict{ID: s.all[i].ID, Usable: in.Usable == nil || in.Usable(i), Healthy: in.Healthy == nil || in.Healthy(i), Chosen: i == chosen}
		out[i].Reason = "its locality has no share"
	}
	c := chooser{s: twin, in: in, cold: s.warmUp.over > 0 && in.Now.Before(s.warmUntil)}
	for g := range s.parts {
		c.enter(g, false)
		for at, i := range c.p.members {
			v := &out[i]
			v.Group, v.Load, v.Weight = c.p.name, twin.levels[g].Load, c.weight(at)
			v.Reason = c.reason(v, at, twin.levels[g].Panic)
			if v.Chosen {
				v.Reason = why.String()
			}
		}
	}
	return chosen, why, out
}

func (c *chooser) reason(v *Verdict, at int, panicking bool) string {
	switch {
	case !v.Usable:
		return "not usable for this request"
	case !v.Healthy && !panicking:
		return "not healthy"
	case v.Load == 0:
		return "its priority takes no requests while nearer ones can"
	}
	if c.cold {
		if w := c.warmth(at); w < 1 {
			return fmt.Sprintf("warming up, at %.0f%% of its weight", 100*w)
		}
	}
	return "could have been chosen"
}

// twin is a Set in the same state that can be changed without changing s.
func (s *Set) twin() *Set {
	out := s.Clone()
	copy(out.levels, s.levels)
	out.seeded, out.counted, out.stale = s.seeded, s.counted, s.stale
	for g := range s.groups {
		out.groups[g] = state{turn: s.groups[g].turn, queue: append(queue(nil), s.groups[g].queue...)}
	}
	return out
}
