package balance

import (
	"math"
	"time"
)

const (
	defaultRTT   = 30 * time.Millisecond // of an endpoint that has not answered yet, as in Linkerd
	defaultDecay = 10 * time.Second
)

// EWMA estimates an endpoint's latency for PeakEWMA: an exponentially weighted moving average that jumps to a
// slower answer at once, forgets it by e^(-t/decay), and sinks towards 0 while nothing is heard, so that an
// endpoint that was slow is tried again (Finagle's Peak EWMA, which Linkerd uses). The zero value has heard
// nothing. It belongs to one event loop and outlives the Sets that its endpoint is part of.
type EWMA struct {
	nanos float64 // at the time at
	at    time.Time
}

// Observe takes the time from request to answer of one exchange; negative times count as 0. decay 0 is 10 s. An
// endpoint that asks for a pause (Retry-After) can be made to look slow by observing that time.
func (e *EWMA) Observe(rtt time.Duration, now time.Time, decay time.Duration) {
	sample := float64(max(rtt, 0))
	if e.at.IsZero() {
		e.nanos, e.at = sample, now
		return
	}
	if sample > e.nanos {
		e.nanos = sample
	} else {
		keep := e.keep(now, decay)
		e.nanos = e.nanos*keep + sample*(1-keep)
	}
	if now.After(e.at) {
		e.at = now
	}
}

// Estimate is the latency expected now: 30 ms as long as nothing was observed. decay 0 is 10 s.
func (e *EWMA) Estimate(now time.Time, decay time.Duration) time.Duration {
	return time.Duration(e.estimate(now, decay))
}

func (e *EWMA) estimate(now time.Time, decay time.Duration) float64 {
	if e.at.IsZero() {
		return float64(defaultRTT)
	}
	return e.nanos * e.keep(now, decay)
}

// keep is the share of the estimate that is still believed.
func (e *EWMA) keep(now time.Time, decay time.Duration) float64 {
	if decay <= 0 {
		decay = defaultDecay
	}
	t := now.Sub(e.at)
	if t <= 0 {
		return 1
	}
	return math.Exp(-float64(t) / float64(decay))
}
