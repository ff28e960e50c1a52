package proxy

import (
	"encoding/json"
	"errors"
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
	key     string       // where it was written and what it says
}

func newLimit(p *model.Policy, m *model.RateLimit) (*limit, error) {
	if m.Global {
		return nil, errors.New("a count for all proxies is not supported by this proxy")
	}
	l := &limit{RateLimit: m}
	if len(m.Matches) > 0 {
		var err error
		if l.matches, err = route.Compile([]model.Rule{{Matches: m.Matches}}); err != nil {
			return nil, err
		}
	}
	says, err := json.Marshal(m)
	if err != nil {
		return nil, err
	}
	l.key = p.Ref.Kind + "/" + p.Ref.Namespace + "/" + p.Ref.Name + " " + string(says)
	if m.Domain != "" {
		l.key = m.Domain + " " + string(says)
	}
	return l, nil
}

// limiters are the counters of all rate limits of an engine. All loops share them, under a lock that only requests
// under a limit take: a limit divided among loops would be wrong for clients with few connections.
type limiters struct {
	mu    sync.Mutex
	byKey map[string]*resilience.Limiter
}

// take asks for one request.
func (s *limiters) take(l *limit, key string, now time.Time) (resilience.Decision, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.byKey[l.key]
	if c == nil {
		if s.byKey == nil {
			s.byKey = map[string]*resilience.Limiter{}
		}
		c = resilience.NewLimiter(*l.RateLimit, 1)
		s.byKey[l.key] = c
	}
	return c.Take(key, now), c.Status()
}

// keep forgets the limits that a configuration does not have.
func (s *limiters) keep(have map[string]bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for key := range s.byKey {
		if !have[key] {
			delete(s.byKey, key)
		}
	}
}

// limitKeys are the keys of the rate limits of a configuration.
func (c *config) limitKeys() map[string]bool {
	have := map[string]bool{}
	add := func(p *plan) {
		if p != nil {
			for _, l := range p.limits {
				have[l.key] = true
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
			return &Failure{"route", status, flagRateLimit, fmt.Errorf("the rate limit %q allows %d requests in %s", l.Name, l.Requests, l.Per)}
		}
	}
	return nil
}
