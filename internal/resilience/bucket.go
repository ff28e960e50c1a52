package resilience

import "time"

// Bucket is a token bucket in the form of the generic cell rate algorithm (GCRA; ITU-T I.371, annex A): it keeps the
// one time at which it would be full again. A request is allowed as long as that time is not further away than
// burst requests need. The zero value is full.
type Bucket struct {
	full int64 // nanoseconds since the epoch of its rate's owner
}

// Rate is how fast a Bucket fills, and how much it holds.
type Rate struct {
	interval int64 // nanoseconds for one request; at least 1
	burst    int64 // nanoseconds that a full bucket is worth
}

// NewRate allows so many requests per time, and burst at once (0: requests). The interval between two requests is
// rounded up to whole nanoseconds, so no more than asked for are allowed. 0 requests allow none.
func NewRate(requests uint32, per time.Duration, burst uint32) Rate {
	if requests == 0 || per <= 0 {
		return Rate{}
	}
	if burst == 0 {
		burst = requests
	}
	interval := (int64(per) + int64(requests) - 1) / int64(requests)
	return Rate{interval: interval, burst: mulCapped(interval, int64(burst))}
}

// mulCapped bounds products to 30 years, so that sums with times do not overflow.
func mulCapped(a, b int64) int64 {
	const most = int64(30 * 365 * 24 * time.Hour)
	if a > 0 && b > most/a {
		return most
	}
	return a * b
}

// Decision is what a rate limit says.
type Decision struct {
	Allowed    bool
	Remaining  uint32        // requests that would be allowed at once after this one
	RetryAfter time.Duration // not allowed: when one will be. At most a day when none ever will
	Expired    bool          // global limits: the lease has ended, and the last share is used on one's own
}

// Take asks for one request at a time, in nanoseconds since an epoch that stays the same. Time that goes back is as
// good as time that stands still.
func (b *Bucket) Take(r Rate, now int64) Decision {
	if r.interval == 0 {
		return Decision{RetryAfter: 24 * time.Hour}
	}
	full := max(b.full, now) + r.interval
	room := r.burst - (full - now)
	if room < 0 {
		return Decision{RetryAfter: time.Duration(-room)}
	}
	b.full = full
	return Decision{Allowed: true, Remaining: uint32(min(room/r.interval, 1<<32-1))}
}
