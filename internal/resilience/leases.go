package resilience

import (
	"cmp"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	// MaxLeases is how many keys of one global limit a proxy has leases for. Of more, the one that was used least
	// recently goes, and begins anew when it comes back.
	MaxLeases = 4096
	// MaxLedger is how many keys of one global limit the control plane knows. Of more, the one that was asked for
	// least recently is forgotten: it begins anew when it comes back.
	MaxLedger = 16_384

	// MaxKey is how many bytes a key has on the wire.
	MaxKey = 128
)

// Leases is a global limit at a proxy, with or without keys: a Tenant for each. It belongs to one event loop, or is
// asked by all of them under a lock. For each request call Take; every few milliseconds send what Due returns to the
// control plane, and give the answers to Grant.
type Leases struct {
	m     model.RateLimit
	name  string
	keyed bool
	alone float64
	keys  *lru[Tenant]
}

// NewLeases compiles a limit; proxy is the proxy's name, unique in the mesh.
func NewLeases(m model.RateLimit, proxy string) *Leases {
	l := &Leases{m: m, name: proxy, keyed: m.Key != model.LimitKey{}, alone: 1, keys: newLRU[Tenant](MaxLeases, MaxKey)}
	if !l.keyed {
		l.tenant("") // so that it asks before the first request
	}
	return l
}

// Status is that of the answer to a request that is not allowed.
func (l *Leases) Status() int { return cmp.Or(l.m.Status, defaultLimitStatus) }

// Take asks for one request. key may be borrowed; it is ignored when the limit has none. Only a new key allocates.
func (l *Leases) Take(key string, now time.Time) Decision {
	if !l.keyed {
		key = ""
	}
	return l.tenant(key).Take(now)
}

// tenant returns the side of a key. A key too long for the wire is cut, with a hash of all of it in place of the rest.
func (l *Leases) tenant(key string) *Tenant {
	if len(key) > MaxKey {
		key = shorten(key)
	}
	t, fresh := l.keys.get(key)
	if fresh {
		*t = *NewTenant(l.m, l.name)
		if l.keyed && l.alone < 1 {
			t.keepTo(l.alone)
		}
	}
	return t
}

func shorten(key string) string {
	const hex = "0123456789abcdef"
	b := append(make([]byte, 0, MaxKey), key[:MaxKey-17]...)
	b = append(b, '#')
	for h, i := xxhash.Sum64String(key), 0; i < 16; i++ {
		b = append(b, hex[h>>60])
		h <<= 4
	}
	return string(b)
}

// Due appends what is to be sent now to dst, and forgets keys without requests.
func (l *Leases) Due(now time.Time, dst []Ask) []Ask {
	for i := l.keys.oldest(); i != 0; {
		e, next := l.keys.entry(i), l.keys.newer(i)
		t := &e.value
		switch {
		case l.keyed && t.idle(now):
			l.keys.remove(i)
		case t.Due(now):
			a := t.Ask(now)
			a.Key = e.text
			dst = append(dst, a)
		}
		i = next
	}
	return dst
}

// idle reports whether all was said that there is to say, some time ago.
func (t *Tenant) idle(now time.Time) bool {
	return !t.asked.IsZero() && t.wanted == t.came && now.Sub(t.asked) >= idlePeriods*t.period
}

// Grant takes the answer to the last Ask with the key. One for a key that was forgotten is too late.
func (l *Leases) Grant(key string, q Quota) {
	if q.Alone > 0 {
		l.alone = q.Alone
	}
	if t := l.keys.peek(key); t != nil {
		t.Grant(q)
	}
}

// Len is how many keys have leases.
func (l *Leases) Len() int { return l.keys.len() }

// Ledger is a global limit on the control plane, with or without keys: an Allocator for each. It belongs to one
// goroutine. One control plane decides about a limit at a time.
type Ledger struct {
	m       model.RateLimit
	period  time.Duration
	rest    time.Duration // after which an Allocator is as good as new
	keys    *lru[Allocator]
	proxies map[string]time.Time // when each last asked
	swept   time.Time
}

// NewLedger begins with full buckets.
func NewLedger(m model.RateLimit) *Ledger {
	l := &Ledger{m: m, period: Period(&m), keys: newLRU[Allocator](MaxLedger, 0), proxies: map[string]time.Time{}}
	refill := time.Duration(min(Capacity(&m)/max(perPeriod(&m), 1e-9)*float64(l.period), float64(48*time.Hour)))
	l.rest = max(silence*l.period, refill)
	return l
}

// Ask answers a proxy. It looks at all proxies at most once in a silence of theirs.
func (l *Ledger) Ask(q Ask, now time.Time) Quota {
	if len(q.Key) > MaxKey {
		q.Key = shorten(q.Key) // no proxy of ours sends it
	}
	if _, known := l.proxies[q.Proxy]; known || len(l.proxies) < MaxProxies {
		l.proxies[q.Proxy] = now
	}
	if now.Sub(l.swept) >= silence*l.period {
		l.swept = now
		for name, at := range l.proxies {
			if now.Sub(at) >= silence*l.period {
				delete(l.proxies, name)
			}
		}
	}
	if i := l.keys.oldest(); i != 0 && now.Sub(l.keys.entry(i).value.at) >= l.rest {
		l.keys.remove(i)
	}
	a, fresh := l.keys.get(q.Key)
	if fresh {
		*a = *NewAllocator(l.m, now)
	}
	out := a.Ask(q, now)
	out.Alone = 1 / float64(max(1, len(l.proxies)))
	return out
}

// Explain is one line about a key.
func (l *Ledger) Explain(key string, now time.Time) string {
	if a := l.keys.peek(key); a != nil {
		twin := *a // Explain lets time pass
		return twin.Explain(now)
	}
	return "not asked for lately"
}

// Len is how many keys are known.
func (l *Ledger) Len() int { return l.keys.len() }
