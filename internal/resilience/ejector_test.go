package resilience

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

func ids(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprint("reviews-", i)
	}
	return all
}

// harness is an Ejector and what is asked of it.
type harness struct {
	t *testing.T
	*Ejector
	now time.Time
}

func newHarness(t *testing.T, m model.Ejection, n int) *harness {
	return &harness{t, NewEjector(&m, ids(n)), start()}
}

// try sends a request to an endpoint that must be admitted, and ends it.
func (h *harness) try(i int, o Outcome) (ejected bool) {
	h.t.Helper()
	if !h.Admits(i, h.now) {
		h.t.Fatalf("endpoint %d is not admitted: %+v", i, h.Explain(h.now))
	}
	o.Probe = h.Begin(i, h.now)
	return h.Observe(i, o, h.now, 0)
}

func (h *harness) admits(i int, want bool) {
	h.t.Helper()
	if h.Admits(i, h.now) != want {
		h.t.Errorf("after %v endpoint %d is admitted: %v; %+v", h.now.Sub(start()), i, !want, h.Explain(h.now))
	}
}

func (h *harness) pass(d time.Duration) { h.now = h.now.Add(d) }

func status(n int) Outcome { return Outcome{Status: n} }

func TestConsecutiveFailures(t *testing.T) {
	ok := status(200)
	for _, c := range []struct {
		name     string
		m        model.Ejection
		outcomes []Outcome
		why      string // "": not ejected
	}{
		{"5xx", model.Ejection{Consecutive5xx: 3}, []Outcome{status(500), status(501), status(503)}, "3 failures or answers 5xx in a row"},
		{"5xx interrupted", model.Ejection{Consecutive5xx: 3}, []Outcome{status(500), status(500), ok, status(500), status(500)}, ""},
		{"5xx by failures", model.Ejection{Consecutive5xx: 2}, []Outcome{{Failure: Timeout}, {Failure: Refused}}, "2 failures or answers 5xx in a row"},
		{"4xx", model.Ejection{Consecutive5xx: 1}, []Outcome{status(404), status(429), status(499)}, ""},
		{"gateway", model.Ejection{ConsecutiveGateway: 3}, []Outcome{status(502), status(503), status(504)}, "3 failures or answers 502, 503 or 504 in a row"},
		{"gateway interrupted by 500", model.Ejection{ConsecutiveGateway: 2}, []Outcome{status(502), status(500), status(502)}, ""},
		{"gateway by failures", model.Ejection{ConsecutiveGateway: 2}, []Outcome{{Failure: Reset}, status(503)}, "2 failures or answers 502, 503 or 504 in a row"},
		{"local", model.Ejection{ConsecutiveLocal: 2}, []Outcome{{Failure: Connect}, {Failure: Reset}}, "2 failures to connect, or resets, in a row"},
		{"local interrupted by an answer", model.Ejection{ConsecutiveLocal: 2}, []Outcome{{Failure: Connect}, status(500), {Failure: Connect}}, ""},
		{"not local", model.Ejection{ConsecutiveLocal: 1}, []Outcome{{Failure: Timeout}, status(503)}, ""},
		{"rate", model.Ejection{SuccessRate: 0.8}, []Outcome{ok, ok, ok, status(500), status(500)}, "success rate 60.0%, below 80%, over 10s"},
		{"rate of few", model.Ejection{SuccessRate: 0.8}, []Outcome{status(500), status(500), status(500), status(500)}, ""},
		{"rate at the limit", model.Ejection{SuccessRate: 0.8}, []Outcome{ok, ok, ok, ok, status(500)}, ""},
		{"gRPC", model.Ejection{Consecutive5xx: 3}, []Outcome{{Status: 200, GRPC: "14"}, {Status: 200, GRPC: "13"}, {Status: 200, GRPC: "4"}}, "3 failures or answers 5xx in a row"},
		{"gRPC, the caller's fault", model.Ejection{Consecutive5xx: 1}, []Outcome{{Status: 200, GRPC: "5"}, {Status: 200, GRPC: "8"}, {Status: 200, GRPC: "0"}}, ""},
		{"nothing asked for", model.Ejection{}, []Outcome{status(500), status(500), status(500), status(500), status(500), status(500)}, ""},
	} {
		h := newHarness(t, c.m, 4)
		ejected := false
		for _, o := range c.outcomes {
			ejected = h.try(1, o)
		}
		if ejected != (c.why != "") {
			t.Errorf("%s: ejected %v", c.name, ejected)
		}
		if c.why == "" {
			continue
		}
		if x := h.Explain(h.now); len(x) != 1 || x[0].ID != "reviews-1" || !strings.HasPrefix(x[0].Why, c.why+"; a probe follows in 1s") || !x[0].Until.Equal(h.now.Add(time.Second)) {
			t.Errorf("%s: %+v", c.name, x)
		}
		h.admits(1, false)
		h.admits(0, true)
	}
}

// TestStatusesOfOnesOwn has a policy name the statuses that are errors: these count everywhere, others nowhere, and
// failures as ever.
func TestStatusesOfOnesOwn(t *testing.T) {
	with := func(m model.Ejection) model.Ejection {
		m.Statuses = []int{404, 503}
		return m
	}
	for _, c := range []struct {
		name     string
		m        model.Ejection
		outcomes []Outcome
		why      string // "": not ejected
	}{
		{"one of them", model.Ejection{Consecutive5xx: 3}, []Outcome{status(404), status(503), status(404)}, "3 failures or answers of 404 503 in a row"},
		{"others", model.Ejection{Consecutive5xx: 1, ConsecutiveGateway: 1}, []Outcome{status(500), status(502), status(429)}, ""},
		{"with failures", model.Ejection{Consecutive5xx: 2}, []Outcome{{Failure: Reset}, status(404)}, "2 failures or answers of 404 503 in a row"},
		{"gateway", model.Ejection{ConsecutiveGateway: 2}, []Outcome{status(404), {Failure: Timeout}}, "2 failures or answers of 404 503 in a row"},
		{"interrupted", model.Ejection{Consecutive5xx: 2}, []Outcome{status(404), status(500), status(404)}, ""},
		{"rate", model.Ejection{SuccessRate: 0.8}, []Outcome{status(500), status(500), status(500), status(404), status(404)}, "success rate 60.0%, below 80%, over 10s"},
		{"gRPC", model.Ejection{Consecutive5xx: 1}, []Outcome{{Status: 200, GRPC: "14"}}, "1 failures or answers of 404 503 in a row"},
		{"gRPC, others", model.Ejection{Consecutive5xx: 1}, []Outcome{{Status: 200, GRPC: "13"}}, ""},
	} {
		h := newHarness(t, with(c.m), 4)
		ejected := false
		for _, o := range c.outcomes {
			ejected = h.try(1, o)
		}
		if ejected != (c.why != "") {
			t.Errorf("%s: ejected %v", c.name, ejected)
		}
		if x := h.Explain(h.now); ejected && (len(x) != 1 || !strings.HasPrefix(x[0].Why, c.why+"; ")) {
			t.Errorf("%s: %+v", c.name, x)
		}
	}
	// A probe is judged alike: 404 ejects again, 500 does not.
	h := newHarness(t, with(model.Ejection{Consecutive5xx: 1}), 4)
	h.try(0, status(404))
	h.pass(time.Second)
	if !h.try(0, status(404)) {
		t.Error("the probe's 404 returns the endpoint")
	}
	h.pass(2 * time.Second)
	if h.try(0, status(500)) {
		t.Error("the probe's 500 ejects the endpoint")
	}
	h.admits(0, true)
}

// TestProbeDecides goes through penalties of 1, 2, 4 s, and one that good conduct has halved.
func TestProbeDecides(t *testing.T) {
	h := newHarness(t, model.Ejection{Consecutive5xx: 1, Max: 4 * time.Second}, 4)
	if !h.try(0, status(500)) {
		t.Fatal("not ejected")
	}
	for _, penalty := range []time.Duration{1, 2, 4, 4} {
		h.pass(penalty*time.Second - 1)
		h.admits(0, false)
		h.pass(1)
		h.admits(0, true)
		if !h.Begin(0, h.now) {
			t.Fatal("the request is no probe")
		}
		h.admits(0, false) // one at a time
		if x := h.Explain(h.now); !x[0].Probing {
			t.Errorf("%+v", x)
		}
		if h.Observe(0, status(200), h.now, 0) { // of an old request: decides nothing
			t.Error("ejected by an old answer")
		}
		if !h.Observe(0, Outcome{Status: 503, Probe: true}, h.now, 0) {
			t.Error("a failed probe did not eject")
		}
	}
	h.pass(4 * time.Second)
	h.try(0, status(200))
	h.admits(0, true)
	if len(h.Explain(h.now)) != 0 {
		t.Error("still ejected after a good probe")
	}
	h.pass(4 * time.Second) // well for as long as its last penalty: half of it
	h.try(0, status(500))
	if x := h.Explain(h.now); x[0].Penalty != 2*time.Second {
		t.Errorf("%+v", x)
	}
}

func TestAbandonedProbe(t *testing.T) {
	h := newHarness(t, model.Ejection{Consecutive5xx: 1}, 4)
	h.try(0, status(500))
	h.pass(time.Second)
	probe := h.Begin(0, h.now)
	h.Abandon(0, false)
	h.admits(0, false)
	h.Abandon(0, probe)
	h.admits(0, true)
	h.Begin(0, h.now)
	h.pass(probePatience - 1)
	h.admits(0, false)
	h.pass(1)
	h.admits(0, true) // it never ended
}

func TestMaxShareAndOneAlways(t *testing.T) {
	for _, c := range []struct {
		n        int
		maxShare float64
		want     int
	}{{1, 0, 1}, {2, 0.1, 1}, {4, 0, 2}, {10, 0.3, 3}, {10, 1, 10}, {3, 0.01, 1}} {
		h := newHarness(t, model.Ejection{Consecutive5xx: 1, MaxShare: c.maxShare}, c.n)
		for i := range c.n {
			h.try(i, status(500))
		}
		if got := len(h.Explain(h.now)); got != c.want {
			t.Errorf("%d of %d ejected with a share of %v, want %d", got, c.n, c.maxShare, c.want)
		}
	}
}

func TestMinHealthySuspends(t *testing.T) {
	h := newHarness(t, model.Ejection{Consecutive5xx: 1, MaxShare: 1, MinHealthy: 0.5}, 4)
	for i := range 3 {
		h.try(i, status(500))
	}
	for i := range 4 {
		h.admits(i, true) // one of four is healthy: all are asked
	}
	if h.try(3, status(500)) {
		t.Error("ejected while suspended")
	}
	if x := h.Explain(h.now); len(x) != 3 || !strings.Contains(x[0].Why, "fewer than minHealthy") {
		t.Errorf("%+v", x)
	}
	h = newHarness(t, model.Ejection{Consecutive5xx: 1, MaxShare: 1, MinHealthy: 0.5}, 4)
	h.SetDown(3)
	if h.try(0, status(500)) {
		t.Error("ejected though three of four are down")
	}
}

// TestJitter: penalties are spread over 100% to 150% of what they are.
func TestJitter(t *testing.T) {
	for random, want := range map[uint64]time.Duration{0: time.Second, 1 << 63: 1250 * time.Millisecond, 1<<64 - 1: 1500*time.Millisecond - 1} {
		e := NewEjector(&model.Ejection{Consecutive5xx: 1}, ids(2))
		e.Observe(0, status(500), start(), random)
		if got := e.Explain(start())[0].Until.Sub(start()); got != want {
			t.Errorf("%x: %v, want %v", random, got, want)
		}
	}
}

func TestEndpointsKeepTheirRecord(t *testing.T) {
	h := newHarness(t, model.Ejection{Consecutive5xx: 1}, 4)
	h.try(2, status(500))
	h.SetEndpoints([]string{"new", "reviews-2", "reviews-0"})
	h.admits(0, true)
	h.admits(1, false)
	if x := h.Explain(h.now); len(x) != 1 || x[0].ID != "reviews-2" {
		t.Errorf("%+v", x)
	}
	h.SetEndpoints(ids(2))
	if h.out != 0 {
		t.Errorf("%d ejected of those that are left", h.out)
	}
	for _, i := range []int{-1, 2} { // it has left
		if !h.Admits(i, h.now) || h.Begin(i, h.now) || h.Observe(i, status(500), h.now, 0) {
			t.Errorf("endpoint %d is not there, and ejected", i)
		}
		h.Abandon(i, true)
	}
	var none *Ejector
	none.SetEndpoints(nil)
	none.SetDown(1)
	none.Abandon(0, true)
	if !none.Admits(0, h.now) || none.Begin(0, h.now) || none.Observe(0, status(500), h.now, 0) || none.Explain(h.now) != nil {
		t.Error("without a policy something is ejected")
	}
}

// TestEjectionRestoresSuccess: one of four endpoints fails half of its requests, 400 a second in all, without retries.
// In the first 10 s at least 99% succeed, and in every 10 s after that at least 99.5%.
func TestEjectionRestoresSuccess(t *testing.T) {
	for _, m := range []model.Ejection{
		{SuccessRate: 0.8},
		{Consecutive5xx: 3},
	} {
		for seed := range uint64(10) {
			e := NewEjector(&m, ids(4))
			random := rand.New(rand.NewPCG(seed, 9))
			var good, all [6]int
			for now := start(); ; now = now.Add(time.Duration(random.ExpFloat64() * float64(time.Second) / 400)) {
				span := int(now.Sub(start()) / (10 * time.Second))
				if span >= len(all) {
					break
				}
				i := random.IntN(4)
				for !e.Admits(i, now) {
					i = random.IntN(4)
				}
				o := Outcome{Status: 200, Probe: e.Begin(i, now)}
				if i == 3 && random.IntN(2) == 0 {
					o.Status = 500
				}
				all[span]++
				if o.OK() {
					good[span]++
				}
				e.Observe(i, o, now, random.Uint64())
			}
			for span := range all {
				rate, want := float64(good[span])/float64(all[span]), 0.995
				if span == 0 {
					want = 0.99
				}
				if rate < want {
					t.Errorf("%+v, seed %d: %.4f succeed from %d s on, want %v", m, seed, rate, 10*span, want)
				}
			}
		}
	}
}

func BenchmarkEjector(b *testing.B) {
	e := NewEjector(&model.Ejection{Consecutive5xx: 5, SuccessRate: 0.8}, ids(10))
	now := start()
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		at := i % 10
		if now = now.Add(time.Millisecond); e.Admits(at, now) {
			e.Observe(at, Outcome{Status: 200, Probe: e.Begin(at, now)}, now, 1)
		}
	}
}

// TestReturnIsAFreshStart: what led to the ejection does not count after it.
func TestReturnIsAFreshStart(t *testing.T) {
	for _, m := range []model.Ejection{{SuccessRate: 0.8}, {Consecutive5xx: 3}, {ConsecutiveGateway: 3}, {ConsecutiveLocal: 3}} {
		h := newHarness(t, m, 4)
		for !h.try(0, Outcome{Failure: Connect}) {
		}
		h.pass(time.Second)
		h.try(0, status(200)) // the probe
		for range 2 {
			if h.try(0, Outcome{Failure: Connect}) {
				t.Errorf("%+v: ejected again by the first failures", m)
			}
		}
	}
}
