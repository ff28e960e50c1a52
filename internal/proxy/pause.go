package proxy

import (
	"time"

	"github.com/weft-mesh/weft/internal/resilience"
)

// An endpoint that answers 429 or 503 may say when to come again (RFC 9110, section 10.2.3). Where the policy says so it is
// left out of the choice until then, while others are there.

// heeds reports whether the policy of the endpoints says so.
func (s *endpointSet) heeds() bool {
	return s.pool.upstream != nil && s.pool.upstream.RetryAfter != nil
}

// heed leaves the endpoint out that gave the answer at hand, if it asks for that. f is how the try ended.
func (x *exchange) heed(f *Failure) {
	if f != nil || x.set == nil || !x.set.heeds() || x.final == nil || x.final.Status < 429 {
		return
	}
	now := x.w.loop.Now()
	d := resilience.Pause(x.set.pool.upstream.RetryAfter, x.final.Status, x.final.Get("retry-after"), now)
	if until := now.Add(d); d > 0 && until.After(x.ep.pausedUntil) {
		x.ep.pausedUntil, x.ep.pausedBy = until, x.final.Status
		for _, set := range x.w.sets {
			if set.chooser != nil {
				set.chooser.Invalidate()
			}
		}
	}
}

// pauseLeft is how long the retry of an answer that asked for a pause has to wait, because no other endpoint can be
// chosen now: until the first of those who asked for one may be asked again. 0: no such wait.
func (x *exchange) pauseLeft(f *Failure) time.Duration {
	if f != nil || x.set == nil || !x.set.heeds() {
		return 0
	}
	c := &x.w.choice
	c.set, c.port, c.tried, c.now = x.set, x.tport, nil, x.w.loop.Now()
	if !c.now.Before(x.ep.pausedUntil) {
		return 0 // it is not that which the retry is for
	}
	var first time.Duration
	for i, ep := range x.set.all {
		if !c.usable(i) {
			continue
		}
		left := ep.pausedUntil.Sub(c.now)
		switch {
		case left > 0 && (first == 0 || left < first):
			first = left
		case left <= 0 && !contains(x.tried, ep) && c.healthy(i):
			return 0
		}
	}
	return first
}

// maxRetryPause is how long a retry waits at most, whatever time the request has: it holds the client's connection.
const maxRetryPause = 30 * time.Second

// fits reports whether a retry of a try that ended with f can begin before the exchange's time is over. One that is to
// wait longer is not worth making, and harms.
func (x *exchange) fits(f *Failure) bool {
	wait := x.pauseLeft(f)
	if wait > maxRetryPause {
		return false
	}
	return wait == 0 || x.limit == 0 || x.w.loop.Now().Add(wait).Before(x.rec.Start.Add(x.limit))
}
