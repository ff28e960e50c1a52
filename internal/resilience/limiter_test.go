package resilience

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

func TestBucket(t *testing.T) {
	const ms = int64(time.Millisecond)
	r := NewRate(10, time.Second, 3) // one each 100 ms, three at once
	var b Bucket
	for _, c := range []struct {
		at         int64
		allowed    bool
		remaining  uint32
		retryAfter time.Duration
	}{
		{0, true, 2, 0},
		{0, true, 1, 0},
		{0, true, 0, 0},
		{0, false, 0, 100 * time.Millisecond},
		{99 * ms, false, 0, time.Millisecond},
		{100 * ms, true, 0, 0},
		{50 * ms, false, 0, 150 * time.Millisecond}, // time went back
		{10_000 * ms, true, 2, 0},                   // no more than burst is saved
	} {
		if got, want := b.Take(r, c.at), (Decision{Allowed: c.allowed, Remaining: c.remaining, RetryAfter: c.retryAfter}); got != want {
			t.Errorf("at %d ms: %+v, want %+v", c.at/ms, got, want)
		}
	}
}

// TestBucketNeverAllowsMore: in random arrivals of twice the rate, no interval has more than rate*t + burst, and all of
// it has at least 99% of the rate.
func TestBucketNeverAllowsMore(t *testing.T) {
	for _, c := range []struct {
		requests, burst uint32
		per             time.Duration
	}{{100, 10, time.Second}, {7, 10, time.Second}, {1000, 0, time.Minute}} {
		r := NewRate(c.requests, c.per, c.burst)
		random, b := rand.New(rand.NewPCG(1, 2)), Bucket{}
		rate := float64(c.requests) / float64(c.per)
		burst := float64(c.burst)
		if c.burst == 0 {
			burst = float64(c.requests)
		}
		now, n, over, last := 0.0, 0, 0.0, 0.0
		for now < 1000*float64(c.per)/10 {
			now += random.ExpFloat64() / rate / 2
			if b.Take(r, int64(now)).Allowed {
				n++
				over = max(0, over-(now-last)*rate) + 1
				last = now
				if over > burst+1e-3 {
					t.Fatalf("%+v: %.3f more than the rate allows, with a burst of %v", c, over, burst)
				}
			}
		}
		if float64(n) < 0.99*now*rate {
			t.Errorf("%+v: %d allowed, want about %.0f", c, n, now*rate)
		}
	}
}

func TestRateEdges(t *testing.T) {
	var b Bucket
	if d := b.Take(NewRate(0, time.Second, 5), 0); d.Allowed || d.RetryAfter <= 0 {
		t.Errorf("0 a second: %+v", d)
	}
	for _, r := range []Rate{NewRate(1<<32-1, time.Second, 1<<32-1), NewRate(1, 24*time.Hour, 1<<32-1)} {
		b = Bucket{}
		if d := b.Take(r, 1<<61); !d.Allowed {
			t.Errorf("%+v: %+v", r, d)
		}
	}
}

func TestLimiterKeys(t *testing.T) {
	l := NewLimiter(model.RateLimit{Name: "per-user", Requests: 2, Per: time.Second, Key: model.LimitKey{Header: "x-user"}}, 1)
	now := start()
	for i, want := range []bool{true, true, false} {
		for _, key := range []string{"ann", "bob", ""} {
			if d := l.Take(key, now); d.Allowed != want {
				t.Errorf("request %d of %q: %+v", i, key, d)
			}
		}
	}
	if s := l.Explain("ann", now); s != "rate limit per-user: 2 per 1s for each of 3 keys; refused, again in 500ms; 3 refused so far" {
		t.Error(s)
	}
	if s := l.Explain("eve", now); !strings.Contains(s, "allowed, 1 more at once") || l.Len() != 3 {
		t.Error(s)
	}
	if l.Status() != 429 || l.Name() != "per-user" || !l.Keyed() {
		t.Errorf("status %d, name %s", l.Status(), l.Name())
	}
}

// TestLimiterForgetsTheOldest: a bounded number of keys, the least recently used goes.
func TestLimiterForgetsTheOldest(t *testing.T) {
	l := NewLimiter(model.RateLimit{Requests: 1, Per: time.Hour, Key: model.LimitKey{Source: true}}, 1)
	l.keys.max = 100
	now := start()
	for i := range 100 {
		l.Take(fmt.Sprint(i), now)
	}
	l.Take("0", now) // used again: 1 is the oldest
	l.Take("new", now)
	for key, want := range map[string]bool{"0": false, "2": false, "99": false, "new": false} {
		if d := l.Take(key, now); d.Allowed != want {
			t.Errorf("%s: %+v", key, d)
		}
	}
	if !l.Take("1", now).Allowed {
		t.Error("1 was not forgotten")
	}
	random := rand.New(rand.NewPCG(3, 4))
	for range 100_000 {
		l.Take(strings.Repeat("k", random.IntN(300))+fmt.Sprint(random.IntN(300)), now)
	}
	if l.Len() != 100 || len(l.keys.entries) != 101 {
		t.Errorf("%d keys, %d entries, want 100", l.Len(), len(l.keys.entries))
	}
	l.keys.check(t, 100)
}

// check follows the list of use both ways.
func (l *lru[V]) check(t *testing.T, want int) {
	t.Helper()
	seen := 0
	for i := l.oldest(); i != 0; i = l.newer(i) {
		if e := l.entry(i); l.at[e.key] != i || l.entries[e.prev].next != i || l.entries[e.next].prev != i {
			t.Fatalf("entry %d is broken: %+v", i, e)
		}
		if seen++; seen > len(l.entries) {
			t.Fatal("the list has a circle")
		}
	}
	if seen != want || l.len() != want {
		t.Errorf("%d entries in order of use, %d keys, want %d", seen, l.len(), want)
	}
}

// TestLRU compares with a list in a random run of uses and removals.
func TestLRU(t *testing.T) {
	l, random := newLRU[int](50, 8), rand.New(rand.NewPCG(5, 5))
	var order []string // the latest last
	for range 20_000 {
		key := fmt.Sprint("key-number-", random.IntN(80))
		at := slices.Index(order, key)
		if random.IntN(10) == 0 && len(order) > 0 {
			if l.entry(l.oldest()).text != order[0][:8] {
				t.Fatal("the text is not the beginning of the key")
			}
			l.remove(l.oldest())
			order = order[1:]
			continue
		}
		v, fresh := l.get(key)
		if fresh != (at < 0) || fresh && *v != 0 {
			t.Fatalf("%s: fresh %v, %d", key, fresh, *v)
		}
		*v++
		if at >= 0 {
			order = slices.Delete(order, at, at+1)
		}
		if order = append(order, key); len(order) > 50 {
			order = order[1:]
		}
		if l.peek(order[0]) == nil || l.peek("other") != nil {
			t.Fatal("the oldest is not there, or somebody else is")
		}
	}
	l.check(t, len(order))
}

// TestLimiterShares: four loops together allow what one would.
func TestLimiterShares(t *testing.T) {
	for _, burst := range []uint32{0, 10, 2} {
		total := 0
		for range 4 {
			l := NewLimiter(model.RateLimit{Requests: 101, Per: time.Second, Burst: burst}, 4)
			for at := time.Duration(0); at < 100*time.Second; at += 5 * time.Millisecond {
				if l.Take("", start().Add(at)).Allowed {
					total++
				}
			}
		}
		if total < 10_000 || total > 10_100+101+4 {
			t.Errorf("burst %d: %d allowed in 100 s, want 10,100", burst, total)
		}
	}
}

func TestLimiterAllocatesNothing(t *testing.T) {
	for _, key := range []model.LimitKey{{}, {Identity: true}} {
		l := NewLimiter(model.RateLimit{Requests: 10, Per: time.Second, Key: key}, 1)
		l.Take("spiffe://example.org/ns/default/sa/web", start())
		if n := testing.AllocsPerRun(100, func() { l.Take("spiffe://example.org/ns/default/sa/web", start()) }); n != 0 {
			t.Errorf("%+v: %v allocations", key, n)
		}
	}
}

func BenchmarkLimiter(b *testing.B) {
	keys := ids(1000)
	l := NewLimiter(model.RateLimit{Requests: 1_000_000, Per: time.Second, Key: model.LimitKey{Source: true}}, 1)
	now := start()
	for _, k := range keys {
		l.Take(k, now)
	}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		now = now.Add(time.Microsecond)
		l.Take(keys[i%1000], now)
	}
}
