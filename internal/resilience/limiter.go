package resilience

import (
	"cmp"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// MaxKeys is how many keys a Limiter tells apart. Of more, the one that was used least recently is forgotten: it
// begins with a full bucket when it comes back.
const MaxKeys = 65_536

const defaultLimitStatus = 429 // RFC 6585, section 4

// Limiter is a local rate limit: a bucket for all requests, or one for each key. It keeps at most MaxKeys keys, of
// about 100 bytes each whatever their length. A new key allocates; others do not.
type Limiter struct {
	m     model.RateLimit
	rate  Rate
	epoch time.Time
	one   Bucket // without keys

	keys    *lru[Bucket] // nil: without keys
	refused uint64
}

// NewLimiter compiles a limit for one of share event loops that divide it among them: each allows its part of
// Requests and of Burst, of Burst at least 1.
func NewLimiter(m model.RateLimit, share int) *Limiter {
	l := &Limiter{m: m}
	share = max(1, share)
	l.rate = NewRate(m.Requests, m.Per*time.Duration(share), max(1, cmp.Or(m.Burst, m.Requests)/uint32(share)))
	if l.Keyed() {
		l.keys = newLRU[Bucket](MaxKeys, 0)
	}
	return l
}

// Keyed reports whether requests are counted by a key.
func (l *Limiter) Keyed() bool { return l.m.Key != model.LimitKey{} }

// Status is that of the answer to a request that is not allowed.
func (l *Limiter) Status() int { return cmp.Or(l.m.Status, defaultLimitStatus) }

// Name is the limit's, for messages and metrics.
func (l *Limiter) Name() string { return l.m.Name }

// Take asks for one request. key may be borrowed; it is ignored when the limit has none. Requests without a key
// share one bucket.
func (l *Limiter) Take(key string, now time.Time) Decision {
	if l.epoch.IsZero() {
		l.epoch = now
	}
	b := &l.one
	if l.keys != nil {
		b, _ = l.keys.get(key)
	}
	d := b.Take(l.rate, int64(now.Sub(l.epoch)))
	if !d.Allowed {
		l.refused++
	}
	return d
}

// Len is how many keys are known.
func (l *Limiter) Len() int {
	if l.keys == nil {
		return 0
	}
	return l.keys.len()
}

// Explain is one line about the limit and the key's bucket. It takes nothing.
func (l *Limiter) Explain(key string, now time.Time) string {
	b := l.one
	if l.keys != nil {
		b = Bucket{}
		if known := l.keys.peek(key); known != nil {
			b = *known
		}
	}
	at := int64(0)
	if !l.epoch.IsZero() {
		at = int64(now.Sub(l.epoch))
	}
	d := b.Take(l.rate, at)
	s := fmt.Sprintf("rate limit %s: %d per %s", l.m.Name, l.m.Requests, l.m.Per)
	if l.keys != nil {
		s += fmt.Sprintf(" for each of %d keys", l.keys.len())
	}
	if d.Allowed {
		return fmt.Sprintf("%s; allowed, %d more at once; %d refused so far", s, d.Remaining, l.refused)
	}
	return fmt.Sprintf("%s; refused, again in %s; %d refused so far", s, d.RetryAfter, l.refused)
}
