package proxy

import (
	"fmt"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
	"github.com/weft-mesh/weft/internal/route"
)

// limit is a compiled rate limit. Its counters outlive snapshots by key.
type limit struct {
	*model.RateLimit
	matches *route.Table // nil: every request
	id      model.LimitID
}

func newLimit(p *model.Policy, m *model.RateLimit) (*limit, error) {
	l := &limit{RateLimit: m}
	var err error
	if len(m.Matches) > 0 {
		if l.matches, err = route.Compile([]model.Rule{{Matches: m.Matches}}); err != nil {
			return nil, err
		}
	}
	l.id, err = m.ID(p.Ref)
	return l, err
}

// limiters are the counters of all rate limits of an engine. All loops share them, under a lock that only requests
// under a limit take: a limit divided among loops would be wrong for clients with few connections.
type limiters struct {
	node string // the proxy's
	mu   sync.Mutex
	byID map[model.LimitID]counter
	asks []resilience.Ask // of DueQuota, to be used again
}

// counter is a resilience.Limiter, or the Leases of a limit that is counted for all proxies.
type counter interface {
	Take(key string, now time.Time) resilience.Decision
	Status() int
}

// take asks for one request.
func (s *limiters) take(l *limit, key string, now time.Time) (resilience.Decision, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counter(l)
	return c.Take(key, now), c.Status()
}

// counter returns that of a limit, a new one if need be. The lock is held.
func (s *limiters) counter(l *limit) counter {
	c := s.byID[l.id]
	if c != nil {
		return c
	}
	if l.Global {
		c = resilience.NewLeases(*l.RateLimit, s.node)
	} else {
		c = resilience.NewLimiter(*l.RateLimit, 1)
	}
	if s.byID == nil {
		s.byID = map[model.LimitID]counter{}
	}
	s.byID[l.id] = c
	return c
}

// keep forgets the limits that a configuration does not have, and has leases of the others asked for before the first
// request comes.
func (s *limiters) keep(have map[model.LimitID]*limit) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id := range s.byID {
		if have[id] == nil {
			delete(s.byID, id)
		}
	}
	for _, l := range have {
		if l.Global {
			s.counter(l)
		}
	}
}

// limits are the rate limits of a configuration.
func (c *config) limits() map[model.LimitID]*limit {
	have := map[model.LimitID]*limit{}
	add := func(p *plan) {
		if p != nil {
			for _, l := range p.limits {
				have[l.id] = l
			}
		}
	}
	rules := func(rs []*rule) {
		for _, r := range rs {
			add(r.plan)
			for i := range r.backends {
				add(r.backends[i].plan)
			}
		}
	}
	for _, s := range c.services {
		add(s.plan)
		rules(s.rules)
	}
	for _, s := range c.sockets {
		for _, ln := range s.listeners {
			rules(ln.rules)
		}
	}
	add(c.own)
	return have
}

// limited asks the rate limits of a plan.
func (x *exchange) limited(p *plan) *Failure {
	for _, l := range p.limits {
		if l.matches != nil {
			if _, _, ok := l.matches.Match(x.req, x.port); !ok {
				continue
			}
		}
		key := ""
		switch {
		case l.Key.Identity, l.Key.Source && x.o.peerID == "":
			key = x.clientName()
		case l.Key.Source:
			key = x.o.remote.Addr().String()
		case l.Key.Header != "":
			key = x.req.Get(l.Key.Header)
		}
		d, status := x.w.e.limiters.take(l, key, x.w.loop.Now())
		if !d.Allowed {
			x.retryAfter = d.RetryAfter
			together := ""
			if l.Global {
				together = " at all proxies together"
			}
			return &Failure{"route", status, flagRateLimit, fmt.Errorf("the rate limit %q allows %d requests in %s%s", l.Name, l.Requests, l.Per, together)}
		}
	}
	return nil
}
