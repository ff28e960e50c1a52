//go:build linux && !weft_goroutines

package proxy

import (
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	fixedRequest = "GET /things HTTP/1.1\r\nHost: web\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
	fixedAnswer  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
)

// fixedServer answers every request with the same bytes and allocates nothing for one.
func fixedServer(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, answer := make([]byte, 4096), []byte(fixedAnswer)
				for {
					// One request at a time, which comes whole.
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln
}

// fixedLoad sends n requests one after another and allocates nothing for one.
func fixedLoad(t testing.TB, c net.Conn, n int) {
	t.Helper()
	request, buf := []byte(fixedRequest), make([]byte, 4096)
	for range n {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(fixedAnswer); {
			m, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
	}
}

// fixedHop is a connection to a gateway whose one route changed may change, and its service too.
func fixedHop(t testing.TB, change func(*model.Rule, *model.Service)) net.Conn {
	t.Helper()
	l := newLab(t)
	rules := toWeb()
	s := edgeOf(addrOf(t, fixedServer(t)), model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: rules}},
	})
	change(&rules[0], &s.Services[0])
	_, at := l.gateway(s, 1)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	return c
}

func bare(*model.Rule, *model.Service) {}

// protections are what a request can meet without being answered by it.
var protections = []struct {
	name  string
	apply func(*model.Rule, *model.Service)
}{
	{"request headers", func(r *model.Rule, _ *model.Service) {
		r.Request = model.HeaderMod{Set: []model.HeaderValue{{Name: "x-one", Value: "1"}}, Remove: []string{"x-two"}}
	}},
	{"response headers", func(r *model.Rule, _ *model.Service) {
		r.Response = model.HeaderMod{Set: []model.HeaderValue{{Name: "x-three", Value: "3"}}, Remove: []string{"x-two"}}
	}},
	{"headers of a backend", func(r *model.Rule, _ *model.Service) {
		r.Backends[0].Request = model.HeaderMod{Set: []model.HeaderValue{{Name: "x-four", Value: "4"}}}
	}},
	{"rewrite", func(r *model.Rule, _ *model.Service) {
		r.Matches = []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/things"}}}
		r.Filters.Rewrite = &model.Rewrite{Host: "inner.example", Path: &model.PathChange{Type: model.ChangePrefix, Value: "/inner"}}
	}},
	{"CORS", func(r *model.Rule, _ *model.Service) {
		r.Filters.CORS = &model.CORS{Origins: []model.ValueMatch{{Value: "https://example.com"}}}
	}},
	{"timeouts", func(r *model.Rule, s *model.Service) {
		r.Policy.Timeout, r.Policy.BackendTimeout, r.Policy.IdleTimeout = 10*time.Second, 5*time.Second, 30*time.Second
		s.Upstream.Connections.ConnectTimeout = time.Second
	}},
	{"retries", func(r *model.Rule, s *model.Service) {
		r.Policy.Retry = &model.Retry{Attempts: 2, Codes: []int{503}}
		s.Upstream.Budget = &model.RetryBudget{Ratio: 0.2}
	}},
	{"hedging", func(r *model.Rule, _ *model.Service) {
		r.Policy.Hedge = &model.Hedge{Delay: time.Minute, Attempts: 1}
	}},
	{"faults", func(r *model.Rule, _ *model.Service) {
		jason := model.Match{Headers: []model.ValueMatch{{Name: "end-user", Value: "jason"}}}
		r.Policy.Faults = []model.Fault{{Matches: []model.Match{jason}, Status: 500, AbortShare: 1}}
	}},
	{"rate limits", func(r *model.Rule, _ *model.Service) {
		r.Policy.Limits = []model.RateLimit{
			{Name: "all", Requests: 1_000_000, Per: time.Second},
			{Name: "each", Requests: 1_000_000, Per: time.Second, Key: model.LimitKey{Source: true}},
			{Name: "agents", Requests: 1_000_000, Per: time.Second, Key: model.LimitKey{Header: "user-agent"}},
		}
	}},
	{"limits", func(_ *model.Rule, s *model.Service) {
		c := &s.Upstream.Connections
		c.Max, c.Requests, c.Pending, c.Retries, c.PerConnection = 1000, 100_000, 10_000, 1000, 1_000_000
	}},
	{"ejection", func(_ *model.Rule, s *model.Service) {
		s.Upstream.Ejection = &model.Ejection{Consecutive5xx: 5, ConsecutiveGateway: 5, ConsecutiveLocal: 5, SuccessRate: 0.5}
		s.Upstream.RetryAfter = &model.RetryAfter{}
	}},
	{"a port of its own", func(_ *model.Rule, s *model.Service) {
		s.Upstream.Ports = []model.PortUpstream{
			{Port: 79, Connections: model.Connections{Requests: 1}},
			{Port: 80, Ejection: &model.Ejection{Consecutive5xx: 5, Statuses: []int{404}}, Connections: model.Connections{MaxAge: time.Hour}},
		}
	}},
	{"health checks", func(_ *model.Rule, s *model.Service) {
		s.Upstream.Health = &model.HealthCheck{Type: model.HealthTCP, Interval: time.Minute}
	}},
	{"peak EWMA", func(_ *model.Rule, s *model.Service) {
		s.Upstream.Balance = model.Balance{Algorithm: model.PeakEWMA, WarmUp: 10 * time.Second, Panic: 0.5, Locality: &model.Locality{Prefer: true}}
	}},
}

// TestHopAllocatesNothing has a request through the whole engine, routes and metrics included, allocate nothing once all
// that is pooled has been made: on a bare route, with each protection, and with all.
func TestHopAllocatesNothing(t *testing.T) {
	t.Run("bare", func(t *testing.T) { allocatesNothing(t, bare) })
	for _, p := range protections {
		t.Run(p.name, func(t *testing.T) { allocatesNothing(t, protected(p.apply)) })
	}
	for _, hash := range []model.HashKey{{Header: "user-agent"}, {Source: true}} {
		for _, algorithm := range []model.Algorithm{model.RingHash, model.Maglev, model.RoundRobin, model.Random} {
			t.Run(string(algorithm), func(t *testing.T) {
				allocatesNothing(t, protected(func(_ *model.Rule, s *model.Service) {
					s.Upstream.Balance = model.Balance{Algorithm: algorithm, Hash: []model.HashKey{hash}}
				}))
			})
		}
	}
	t.Run("all", func(t *testing.T) { allocatesNothing(t, protected(everyProtection)) })
}

func protected(apply func(*model.Rule, *model.Service)) func(*model.Rule, *model.Service) {
	return func(r *model.Rule, s *model.Service) {
		r.Policy, s.Upstream = &model.Policy{}, &model.Upstream{}
		apply(r, s)
	}
}

func everyProtection(r *model.Rule, s *model.Service) {
	for _, p := range protections {
		p.apply(r, s)
	}
}

func allocatesNothing(t *testing.T, change func(*model.Rule, *model.Service)) {
	c := fixedHop(t, change)
	fixedLoad(t, c, 500)
	wantNoAllocations(t, 2000, func(n int) { fixedLoad(t, c, n) })
}

// wantNoAllocations has a load of n be made up to five times. One allocation in twenty is not the load's own.
func wantNoAllocations(t *testing.T, n int, load func(n int)) {
	t.Helper()
	allowed := uint64(n / 20)
	// Goroutines of other tests that are ending, and the runtime's own, may allocate meanwhile. A request that
	// allocates does so in every round.
	least := uint64(math.MaxUint64)
	for round := 0; round < 5 && least > allowed; round++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		load(n)
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	if least > allowed {
		t.Errorf("at least %d allocations for %d", least, n)
	}
}

func BenchmarkHop(b *testing.B) {
	for _, c := range []struct {
		name   string
		change func(*model.Rule, *model.Service)
	}{{"bare", bare}, {"all", protected(everyProtection)}} {
		b.Run(c.name, func(b *testing.B) {
			c := fixedHop(b, c.change)
			fixedLoad(b, c, 500)
			b.ReportAllocs()
			b.ResetTimer()
			fixedLoad(b, c, b.N)
			b.StopTimer()
		})
	}
}
