package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// scenario is one line of the table: subjects, the work each is given, and how dear it may be to Weft.
type scenario struct {
	name, about, unit string
	rounds            int // 0 is as asked for
	setup             func(context.Context, *lab) ([]*subject, []missing, error)
	figure            func(context.Context, *lab, *subject) (float64, error)
	bars              []bar
}

// missing is a proxy that is not in the table, and why.
type missing struct {
	name string
	why  error
}

// bar is a bound on Weft's median: as a ratio to the best of others, or, without others, as it is.
type bar struct {
	against []string
	most    float64
}

// measure sets up, runs all rounds, and ends what it started.
func (s scenario) measure(ctx context.Context, o *options, r *report) error {
	l, err := newLab(o)
	if err != nil {
		return err
	}
	defer l.close()
	subjects, absent, err := s.setup(ctx, l)
	if err != nil {
		return err
	}
	t := r.begin(s)
	t.missing = absent
	rounds := o.rounds
	if s.rounds > 0 {
		rounds = s.rounds
	}
	for round := range rounds + 1 { // the first is to warm up
		for _, sub := range subjects {
			if round == 0 && rounds == 1 {
				continue
			}
			v, err := s.figure(ctx, l, sub)
			if err != nil {
				return fmt.Errorf("%s: %w", sub.name, err)
			}
			if round > 0 {
				t.add(sub.name, v)
			}
		}
	}
	return nil
}

// hops starts all proxies for a hop; those that lack or cannot are named.
func hops(backend func(*lab) (string, error), h hop, names ...string) func(context.Context, *lab) ([]*subject, []missing, error) {
	return func(_ context.Context, l *lab) ([]*subject, []missing, error) {
		var err error
		if h.backend, err = backend(l); err != nil {
			return nil, nil, err
		}
		if h.workers == 0 {
			h.workers = 1
		}
		h.routes = max(h.routes, 1)
		var out []*subject
		var absent []missing
		for _, m := range l.o.makers() {
			if l.o.only != nil && !l.o.only[m.proxy] {
				continue
			}
			if len(names) > 0 && !contains(names, m.proxy) {
				absent = append(absent, missing{m.name, errCannot})
				continue
			}
			s, err := m.hop(l, h)
			if lacks := (errMissing{}); errors.As(err, &lacks) || errors.Is(err, errCannot) {
				absent = append(absent, missing{m.name, err})
				continue
			}
			if err != nil {
				return nil, nil, err
			}
			out = append(out, s)
		}
		return out, absent, nil
	}
}

// pairs starts all pairs of proxies.
func pairs(ctx context.Context, l *lab) ([]*subject, []missing, error) {
	backend, err := l.nginxBackend()
	if err != nil {
		return nil, nil, err
	}
	var out []*subject
	var absent []missing
	type pair struct {
		name, proxy string
		start       func() (*subject, error)
	}
	var all []pair
	for _, b := range l.o.builds() {
		all = append(all, pair{b.name, "weft", func() (*subject, error) { return l.weftPair(ctx, b) }})
	}
	for _, p := range append(all,
		pair{"nginx", "nginx", func() (*subject, error) { return l.nginxPair(backend) }},
		pair{"haproxy-h1", "haproxy", func() (*subject, error) { return l.haproxyPair("haproxy-h1", "http/1.1", backend) }},
		pair{"haproxy-h2", "haproxy", func() (*subject, error) { return l.haproxyPair("haproxy-h2", "h2", backend) }},
		pair{"envoy-h1", "envoy", func() (*subject, error) { return l.envoyPair("envoy-h1", "http/1.1", backend) }},
		pair{"envoy-h2", "envoy", func() (*subject, error) { return l.envoyPair("envoy-h2", "h2", backend) }},
	) {
		if l.o.only != nil && !l.o.only[p.proxy] {
			continue
		}
		s, err := p.start()
		if lacks := (errMissing{}); errors.As(err, &lacks) {
			absent = append(absent, missing{p.name, err})
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		out = append(out, s)
	}
	return out, absent, nil
}

func contains(list []string, s string) bool {
	for _, x := range list {
		if x == s {
			return true
		}
	}
	return false
}

// cost is the processor time of the proxy for each operation of a load, in microseconds.
func cost(load func(context.Context, *lab, *subject) (operations float64, err error)) func(context.Context, *lab, *subject) (float64, error) {
	return func(ctx context.Context, l *lab, s *subject) (float64, error) {
		before, err := cpuTime(s.pids)
		if err != nil {
			return 0, err
		}
		n, err := load(ctx, l, s)
		if err != nil {
			return 0, err
		}
		after, err := cpuTime(s.pids)
		if err != nil {
			return 0, err
		}
		if n < 1 {
			return 0, errors.New("the load did nothing")
		}
		return float64(after-before) / float64(time.Microsecond) / n, nil
	}
}
