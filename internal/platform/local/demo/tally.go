package demo

import (
	"slices"
	"sync"
	"time"
)

// outcome is one request, as recorded.
type outcome struct {
	flight Flight
	took   time.Duration
	status int
	answer string
	reason string // "" is success
}

// tally adds up outcomes in bounded memory. It is safe for concurrent use.
type tally struct {
	mu        sync.Mutex
	trace     bool
	r         Result
	latencies []time.Duration // a ring once it is full
	next      int
}

func newTally(trace bool) *tally {
	return &tally{trace: trace, r: Result{Status: map[int]int{}, Answers: map[string]int{}}}
}

func (t *tally) abort() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Sent++
	t.r.Aborted++
}

func (t *tally) record(o outcome) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.r.Sent++
	t.r.Status[o.status]++
	if o.reason == "" {
		t.r.OK++
	} else {
		t.r.Failed++
		if len(t.r.Failures) < maxFailures {
			t.r.Failures = append(t.r.Failures, Failure{Flight: o.flight, Status: o.status, Reason: o.reason})
		}
	}
	if o.answer != "" {
		t.r.Answers[o.answer]++
	}
	if t.trace && len(t.r.Flights) < maxFlights {
		t.r.Flights = append(t.r.Flights, o.flight)
	}
	if len(t.latencies) < maxLatencies {
		t.latencies = append(t.latencies, o.took)
		return
	}
	t.latencies[t.next] = o.took
	t.next = (t.next + 1) % maxLatencies
}

// result is called when nothing records any more.
func (t *tally) result() Result {
	t.mu.Lock()
	defer t.mu.Unlock()
	slices.Sort(t.latencies)
	if n := len(t.latencies); n > 0 {
		at := func(q float64) float64 { return t.latencies[min(n-1, int(q*float64(n)))].Seconds() }
		t.r.Latency = Latency{P50: at(0.5), P99: at(0.99), Max: t.latencies[n-1].Seconds()}
	}
	return t.r
}
