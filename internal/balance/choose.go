package balance

import (
	"github.com/weft-mesh/weft/internal/model"
)

// chooser is one Pick at work in one group. Its indexes are of the group's members.
type chooser struct {
	s     *Set
	in    *Input
	words words
	cold  bool // some endpoint may be warming up

	p    *pool
	st   *state
	sick bool // health is not looked at
}

func (c *chooser) enter(g int, sick bool) { c.p, c.st, c.sick = &c.s.parts[g], &c.s.groups[g], sick }

func (c *chooser) usable(at int) bool {
	i := int(c.p.members[at])
	return (c.in.Usable == nil || c.in.Usable(i)) && (c.sick || c.in.Healthy == nil || c.in.Healthy(i))
}

// choose returns an endpoint of the group, or -1.
func (c *chooser) choose(why *Why) int {
	if len(c.p.members) == 0 {
		return -1
	}
	switch c.s.algorithm {
	case model.RoundRobin:
		return c.roundRobin()
	case model.LeastRequest, model.PeakEWMA:
		return c.twoChoices(why)
	case model.RingHash:
		if c.in.Hashed {
			return c.p.ring.Lookup(c.in.Hash, c.usable)
		}
	case model.Maglev:
		if c.in.Hashed {
			return c.p.maglev.Lookup(c.in.Hash, c.usable)
		}
	}
	return c.draw(-1)
}

// maxDraws bounds the draws that hit an endpoint which is not usable, or not warm.
const maxDraws = 8

// draw returns a usable endpoint other than not, in proportion to weights, or -1.
func (c *chooser) draw(not int) int {
	for range maxDraws {
		var at int
		if word := c.words.next(); c.p.even {
			at = below(uint32(word), len(c.p.members))
		} else {
			at = c.p.ids.draw(word)
		}
		if at != not && (!c.cold || unit(c.words.next()) < c.warmth(at)) && c.usable(at) {
			return at
		}
	}
	return c.drawExactly(not)
}

// drawExactly is draw for the case that few are usable: it looks at all of them.
func (c *chooser) drawExactly(not int) int {
	total := 0.0
	for at := range c.p.members {
		if at != not && c.usable(at) {
			total += c.weight(at)
		}
	}
	left, last := unit(c.words.next())*total, -1
	for at := range c.p.members {
		if at == not || !c.usable(at) {
			continue
		}
		last = at
		if left -= c.weight(at); left < 0 {
			break
		}
	}
	return last
}

// weight is 1 on average, less what an endpoint that warms up lacks.
func (c *chooser) weight(at int) float64 {
	w := c.p.weights[at]
	if c.cold {
		w *= c.warmth(at)
	}
	return w
}

func (c *chooser) warmth(at int) float64 {
	since := c.s.all[c.p.members[at]].Since
	if since.IsZero() {
		return 1
	}
	return c.s.warmUp.at(c.in.Now.Sub(since))
}

// twoChoices returns the cheaper of two endpoints. Among equals they are two different ones. With weights both are
// drawn by weight, which may give the same twice: else a small endpoint would be compared, and win, too often.
func (c *chooser) twoChoices(why *Why) int {
	a := c.draw(-1)
	if a < 0 || len(c.p.members) == 1 {
		return a
	}
	not := a
	if !c.p.even || c.cold {
		not = -1
	}
	b := c.draw(not)
	if b < 0 || b == a {
		return a
	}
	costA, costB := c.cost(a), c.cost(b)
	if costB < costA {
		a, b, costA, costB = b, a, costB, costA
	}
	why.Cost, why.Other, why.OtherCost = costA, int(c.p.members[b]), costB
	return a
}

// cost is what is compared: requests in flight for each unit of weight; for peakEWMA one more than these times the
// latency in nanoseconds.
func (c *chooser) cost(at int) float64 {
	i, load := int(c.p.members[at]), 0.0
	if c.in.Load != nil {
		if load = float64(c.in.Load(i)); load != 0 {
			load /= c.weight(at)
		}
	}
	if c.s.algorithm != model.PeakEWMA {
		return load
	}
	rtt := float64(defaultRTT)
	if c.in.Latency != nil {
		if e := c.in.Latency(i); e != nil {
			rtt = e.estimate(c.in.Now, c.s.decay)
		}
	}
	return rtt * (load + 1)
}

// roundRobin returns whose turn it is. Equals follow each other in order. With weights, each endpoint is due again
// after 1/weight (earliest deadline first), from a random beginning, so that proxies which start together do not
// all begin with the same one.
func (c *chooser) roundRobin() int {
	n := len(c.p.members)
	if c.p.even && c.s.warmUp.over == 0 {
		if !c.s.seeded {
			c.seed()
		}
		at := next(n, c.st.turn, c.usable)
		if at >= 0 {
			if c.st.turn = at + 1; c.st.turn == n {
				c.st.turn = 0
			}
		}
		return at
	}
	if !c.s.seeded {
		c.seed()
	}
	for range n {
		t := &c.st.queue[0]
		at, step := int(t.who), 1/max(c.weight(int(t.who)), leastTurn*c.p.weights[t.who])
		if c.usable(at) {
			t.due += step
			c.st.queue.fix()
			return at
		}
		// Behind whoever is next, else a heavy endpoint that is not usable would be asked again and again.
		second := t.due
		if n > 1 {
			second = c.st.queue[1].due
		}
		if n > 2 {
			second = min(second, c.st.queue[2].due)
		}
		t.due = max(t.due, second) + step
		c.st.queue.fix()
	}
	return c.draw(-1)
}

// seed gives every group of a round robin its beginning.
func (c *chooser) seed() {
	c.s.seeded = true
	for g := range c.s.groups {
		p, st := &c.s.parts[g], &c.s.groups[g]
		n := len(p.members)
		st.turn = below(uint32(c.words.next()), n)
		if p.even && c.s.warmUp.over == 0 {
			continue
		}
		st.queue = make(queue, n)
		for at := range st.queue {
			st.queue[at] = turn{due: unit(c.words.next()) / p.weights[at], who: int32(at)}
		}
		st.queue.init()
	}
}
