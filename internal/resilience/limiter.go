package resilience

import (
	"cmp"
	"fmt"
	"hash/maphash"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// MaxKeys is how many keys a Limiter tells apart. Of more, the one that was used least recently is forgotten: it
// begins with a full bucket when it comes back.
const MaxKeys = 65_536

const (
	defaultLimitStatus = 429 // RFC 6585, section 4
	maxKeyText         = 64  // bytes of a key that are kept, to explain
)

// Limiter is a local rate limit: a bucket for all requests, or one for each key. It keeps at most MaxKeys keys, of
// about 200 bytes each whatever their length. A new key allocates; others do not.
type Limiter struct {
	m     model.RateLimit
	rate  Rate
	epoch time.Time
	one   Bucket // without keys

	seeds   [2]maphash.Seed
	at      map[fingerprint]int32
	entries []entry // [0] is the head of the list of use: its next is the latest, its prev the oldest
	refused uint64
	max     int
}

// fingerprint stands for a key of any length. Its seeds are this Limiter's own, so nobody outside can look for two
// keys that share a bucket.
type fingerprint [2]uint64

type entry struct {
	bucket     Bucket
	key        fingerprint
	text       string // the beginning of the key
	prev, next int32
}

// NewLimiter compiles a limit for one of share event loops that divide it among them: each allows its part of
// Requests and of Burst, of Burst at least 1.
func NewLimiter(m model.RateLimit, share int) *Limiter {
	l := &Limiter{m: m, max: MaxKeys, entries: make([]entry, 1)}
	share = max(1, share)
	l.rate = NewRate(m.Requests, m.Per*time.Duration(share), max(1, cmp.Or(m.Burst, m.Requests)/uint32(share)))
	if l.Keyed() {
		l.at = map[fingerprint]int32{}
		l.seeds = [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()}
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
	if l.at != nil {
		b = &l.entries[l.find(key)].bucket
	}
	d := b.Take(l.rate, int64(now.Sub(l.epoch)))
	if !d.Allowed {
		l.refused++
	}
	return d
}

// find returns the entry of a key, which becomes the latest.
func (l *Limiter) find(key string) int32 {
	f := fingerprint{maphash.String(l.seeds[0], key), maphash.String(l.seeds[1], key)}
	i, ok := l.at[f]
	switch {
	case ok:
		if l.entries[0].next == i {
			return i
		}
		l.unlink(i)
	case len(l.entries) <= l.max:
		i = int32(len(l.entries))
		l.entries = append(l.entries, entry{})
	default:
		i = l.entries[0].prev
		l.unlink(i)
		delete(l.at, l.entries[i].key)
		l.entries[i] = entry{}
	}
	e, head := &l.entries[i], &l.entries[0]
	if !ok {
		e.key, e.text = f, strings.Clone(key[:min(len(key), maxKeyText)])
		l.at[f] = i
	}
	e.prev, e.next = 0, head.next
	l.entries[head.next].prev = i
	head.next = i
	return i
}

func (l *Limiter) unlink(i int32) {
	e := &l.entries[i]
	l.entries[e.prev].next, l.entries[e.next].prev = e.next, e.prev
}

// Len is how many keys are known.
func (l *Limiter) Len() int { return len(l.at) }

// Explain is one line about the limit and the key's bucket. It takes nothing.
func (l *Limiter) Explain(key string, now time.Time) string {
	b := l.one
	if l.at != nil {
		b = Bucket{}
		if i, ok := l.at[fingerprint{maphash.String(l.seeds[0], key), maphash.String(l.seeds[1], key)}]; ok {
			b = l.entries[i].bucket
		}
	}
	at := int64(0)
	if !l.epoch.IsZero() {
		at = int64(now.Sub(l.epoch))
	}
	d := b.Take(l.rate, at)
	s := fmt.Sprintf("rate limit %s: %d per %s", l.m.Name, l.m.Requests, l.m.Per)
	if l.at != nil {
		s += fmt.Sprintf(" for each of %d keys", len(l.at))
	}
	if d.Allowed {
		return fmt.Sprintf("%s; allowed, %d more at once; %d refused so far", s, d.Remaining, l.refused)
	}
	return fmt.Sprintf("%s; refused, again in %s; %d refused so far", s, d.RetryAfter, l.refused)
}
