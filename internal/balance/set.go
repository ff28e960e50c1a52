package balance

import (
	"cmp"
	"fmt"
	"slices"
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
	decay               time.Duration
	warmUp              ramp
	capacity, threshold float64
	size                int
	all                 []Candidate
	parts               []pool
	shares              []float64 // of parts, when distributed
	counts              bool      // health has to be counted
	warmUntil           time.Time // from then on nobody warms up
}

// New compiles how a service is balanced for a client. The endpoints are kept and must not change; indexes that the
// Set gives and takes are theirs. It fails when a table of that size cannot be made.
func New(b model.Balance, client Client, endpoints []Candidate) (*Set, error) {
	return (*Set)(nil).Renew(b, client, endpoints)
}

// Renew is New, for a Set that takes the place of s. Tables of s whose endpoints and weights are the same are taken over:
// to build one takes milliseconds. s stays as it is, and may be nil.
func (s *Set) Renew(b model.Balance, client Client, endpoints []Candidate) (*Set, error) {
	c := &compiled{
		algorithm: cmp.Or(b.Algorithm, model.LeastRequest), decay: b.Decay, warmUp: rampOf(&b),
		threshold: b.Panic, size: b.TableSize, all: endpoints,
	}
	if b.Locality != nil {
		c.capacity = b.Locality.Capacity
	}
	found, distributed := groups(b.Locality, client, endpoints)
	for _, g := range found {
		p := newPool(g, endpoints)
		if !p.takeTables(s, c) {
			if err := p.build(c.algorithm, c.size); err != nil {
				return nil, err
			}
		}
		c.parts = append(c.parts, p)
		if distributed {
			c.shares = append(c.shares, g.share)
		}
	}
	c.counts = len(c.parts) > 1 || c.threshold > 0
	for i := range endpoints {
		if until := endpoints[i].Since.Add(b.WarmUp); b.WarmUp > 0 && !endpoints[i].Since.IsZero() && until.After(c.warmUntil) {
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

	keys   []string // with given, what the tables are made of
	given  []uint32
	ring   *Ring
	maglev *MaglevTable
}

func newPool(g group, all []Candidate) pool {
	p := pool{group: g, even: true, keys: make([]string, len(g.members)), given: make([]uint32, len(g.members))}
	for n, i := range g.members {
		p.keys[n], p.given[n] = all[i].ID, max(1, all[i].Weight)
		p.even = p.even && p.given[n] == p.given[0]
	}
	p.ids, p.weights = newSampler(p.given)
	return p
}

// takeTables takes over the tables of a pool of old with the same members.
func (p *pool) takeTables(old *Set, c *compiled) bool {
	if old == nil || old.algorithm != c.algorithm || old.size != c.size {
		return false
	}
	for i := range old.parts {
		o := &old.parts[i]
		if slices.Equal(o.keys, p.keys) && slices.Equal(o.given, p.given) {
			p.ring, p.maglev = o.ring, o.maglev
			return true
		}
	}
	return false
}

func (p *pool) build(a model.Algorithm, size int) (err error) {
	switch a {
	case model.RingHash:
		p.ring, err = BuildRing(p.keys, p.given, size)
	case model.Maglev:
		p.maglev, err = BuildMaglev(p.keys, p.given, size)
	case model.LeastRequest, model.RoundRobin, model.Random, model.PeakEWMA:
	default:
		err = fmt.Errorf("unknown algorithm %q; known are leastRequest, roundRobin, random, peakEWMA, ringHash, maglev", a)
	}
	return err
}
