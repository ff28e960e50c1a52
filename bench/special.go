package main

import (
	"context"
	"fmt"
)

// withDirect puts the backend itself before the proxies.
func withDirect(setup func(context.Context, *lab) ([]*subject, []missing, error)) func(context.Context, *lab) ([]*subject, []missing, error) {
	return func(ctx context.Context, l *lab) ([]*subject, []missing, error) {
		subjects, absent, err := setup(ctx, l)
		if err != nil {
			return nil, nil, err
		}
		backend, err := l.nginxBackend()
		if err != nil {
			return nil, nil, err
		}
		return append([]*subject{{name: "direct", addr: backend}}, subjects...), absent, nil
	}
}

// several starts Weft in different ways. The last is what is held against the bar; it is named "weft".
func several(kinds []string, hops []hop) func(context.Context, *lab) ([]*subject, []missing, error) {
	return func(_ context.Context, l *lab) ([]*subject, []missing, error) {
		backend, err := l.nginxBackend()
		if err != nil {
			return nil, nil, err
		}
		var out []*subject
		whole := l.dir
		defer func() { l.dir = whole }()
		for i, h := range hops {
			h.protocol, h.backend = http1, backend
			l.dir = fmt.Sprintf("%s/%d", whole, i)
			if err := mkdir(l.dir); err != nil {
				return nil, nil, err
			}
			s, err := l.weftHop(l.o.weft, h)
			if err != nil {
				return nil, nil, err
			}
			s.name = kinds[i]
			out = append(out, s)
		}
		return out, nil, nil
	}
}

// routes starts Weft with different numbers of routes.
func routes(numbers ...int) func(context.Context, *lab) ([]*subject, []missing, error) {
	var names []string
	var hops []hop
	for i, n := range numbers {
		name := fmt.Sprintf("%d routes", n)
		switch {
		case n == 1:
			name = "1 route"
		case i == len(numbers)-1:
			name = "weft"
		}
		names = append(names, name)
		hops = append(hops, hop{workers: 1, routes: n})
	}
	return several(names, hops)
}

// wrkLast asks for the last route there is.
func wrkLast(ctx context.Context, l *lab, s *subject) (float64, error) {
	path := "/route-0/x"
	switch s.name {
	case "100 routes":
		path = "/route-99/x"
	case "weft":
		path = "/route-9999/x"
	}
	return l.wrk(ctx, s, 32, path)
}

// loops starts Weft with one event loop and with two.
func loops(ctx context.Context, l *lab) ([]*subject, []missing, error) {
	return several([]string{"one loop", "weft"}, []hop{{workers: 1, routes: 1}, {workers: 2, routes: 1}})(ctx, l)
}

// policies starts Weft with a bare route, and with one that has every filter and policy.
func policies(ctx context.Context, l *lab) ([]*subject, []missing, error) {
	return several([]string{"bare route", "weft"}, []hop{{workers: 1, routes: 1}, {workers: 1, routes: 1, policies: true}})(ctx, l)
}
