package resilience

import (
	"fmt"
	"time"
)

// maxRetryAfter bounds what a server may ask for.
const maxRetryAfter = 24 * time.Hour

// ParseRetryAfter reads a field retry-after (RFC 9110, section 10.2.3): seconds, or an HTTP-date, which is compared
// with now. A time that has passed is 0; more than a day is a day. A retry waits so long at least, if its deadline
// allows it; a balancer may take it for the endpoint's latency.
func ParseRetryAfter(s string, now time.Time) (time.Duration, error) {
	if n, ok := digits(s); ok {
		return min(times(n, time.Second), maxRetryAfter), nil
	}
	for _, layout := range [...]string{"Mon, 02 Jan 2006 15:04:05 GMT", "Monday, 02-Jan-06 15:04:05 GMT", time.ANSIC} { // RFC 9110, section 5.6.7
		if at, err := time.Parse(layout, s); err == nil {
			return min(max(at.Sub(now), 0), maxRetryAfter), nil
		}
	}
	return 0, fmt.Errorf("retry-after %q is neither a number of seconds nor an HTTP-date", clip(s))
}

// Seconds is RetryAfter as the field retry-after has it: whole seconds, rounded up.
func (d Decision) Seconds() int64 { return int64((d.RetryAfter + time.Second - 1) / time.Second) }
