package balance

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// Candidate is an endpoint that can be chosen. Endpoints that drain are left out: they are no part of a
// priority's capacity.
type Candidate struct {
	ID       string            // stable: tables hash it
	Weight   uint32            // 0 counts as 1
	Locality string            // "region/zone/subzone"
	Labels   map[string]string // for label priorities
	Since    time.Time         // when it began to serve, for warm-up; zero: long ago
}

// Set chooses among the endpoints of a service. It belongs to one event loop.
type Set struct {
	*compiled
	groups []state // of compiled.groups
	levels []Level

	counted time.Time // when levels were filled
	stale   bool
	seeded  bool
}

// state is what a group of a Set remembers between requests.
type state struct {
	turn  int   // roundRobin: whose turn it is
	queue queue // roundRobin with weights
}

// compiled is what all clones of a Set share. It is immutable.
type compiled struct {
	algorithm           model.Algorithm
	decay, warmUp       time.Duration
	capacity, threshold float64
	all                 []Candidate
	parts               []pool
	shares              []float64 // of parts, when distributed
	counts              bool      // health has to be counted
	warmUntil           time.Time // from then on nobody warms up
}

// New compiles how a service is balanced for a client. The endpoints are kept and must not change; indexes that the
// Set gives and takes are theirs. It fails when a table of that size cannot be made.
func New(b model.Balance, client Client, endpoints []Candidate) (*Set, error) {
	c := &compiled{
		algorithm: cmp.Or(b.Algorithm, model.LeastRequest), decay: b.Decay, warmUp: b.WarmUp,
		threshold: b.Panic, all: endpoints,
	}
	if b.Locality != nil {
		c.capacity = b.Locality.Capacity
	}
	found, distributed := groups(b.Locality, client, endpoints)
	for _, g := range found {
		p, err := newPart(c.algorithm, b.TableSize, g, endpoints)
		if err != nil {
			return nil, err
		}
		c.parts = append(c.parts, p)
		if distributed {
			c.shares = append(c.shares, g.share)
		}
	}
	c.counts = len(c.parts) > 1 || c.threshold > 0
	for i := range endpoints {
		if until := endpoints[i].Since.Add(c.warmUp); c.warmUp > 0 && !endpoints[i].Since.IsZero() && until.After(c.warmUntil) {
			c.warmUntil = until
		}
	}
	return (&Set{compiled: c}).Clone(), nil
}

// Clone returns a Set for another event loop, which shares the tables and nothing else.
func (s *Set) Clone() *Set {
	out := &Set{compiled: s.compiled, stale: true, groups: make([]state, len(s.parts)), levels: make([]Level, len(s.parts))}
	for i := range out.levels {
		out.levels[i].Total, out.levels[i].Load = len(s.parts[i].members), 1
	}
	return out
}

// Len is the number of endpoints.
func (s *Set) Len() int { return len(s.all) }

// pool is a group, compiled for its algorithm.
type pool struct {
	group
	even    bool      // all weights are equal
	weights []float64 // 1 on average
	ids     sampler
	ring    *Ring
	maglev  *MaglevTable
}

func newPart(a model.Algorithm, size int, g group, all []Candidate) (pool, error) {
	p := pool{group: g, even: true}
	keys, weights := make([]string, len(g.members)), make([]uint32, len(g.members))
	for n, i := range g.members {
		keys[n], weights[n] = all[i].ID, max(1, all[i].Weight)
		p.even = p.even && weights[n] == weights[0]
	}
	p.ids, p.weights = newSampler(weights)
	var err error
	switch a {
	case model.RingHash:
		p.ring, err = BuildRing(keys, weights, size)
	case model.Maglev:
		p.maglev, err = BuildMaglev(keys, weights, size)
	case model.LeastRequest, model.RoundRobin, model.Random, model.PeakEWMA:
	default:
		err = fmt.Errorf("unknown algorithm %q; known are leastRequest, roundRobin, random, peakEWMA, ringHash, maglev", a)
	}
	return p, err
}
