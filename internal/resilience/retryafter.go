package resilience

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// DefaultRetryAfter is how long an endpoint is left out at most where the policy does not say.
const DefaultRetryAfter = 30 * time.Second

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

// Pause is how long a policy leaves an endpoint out for an answer of this status and field retry-after; 0 is not at all,
// also for a field that cannot be read.
func Pause(p *model.RetryAfter, status int, field string, now time.Time) time.Duration {
	if p == nil || status != 429 && status != 503 || field == "" {
		return 0
	}
	d, err := ParseRetryAfter(field, now)
	if err != nil {
		return 0
	}
	return min(d, cmp.Or(p.Max, DefaultRetryAfter))
}

// Seconds is RetryAfter as the field retry-after has it: whole seconds, rounded up.
func (d Decision) Seconds() int64 { return int64((d.RetryAfter + time.Second - 1) / time.Second) }
