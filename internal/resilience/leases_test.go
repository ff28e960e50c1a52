package resilience

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestKeyedLeases: ten users, each of whom sends 60 requests a second through four proxies, in changing parts, under a
// limit of 20 a second for each. Once the burst of 20 is spent, each user is admitted 20 a second within 4% over
// 30 s, and never more than the bound and what four proxies admit before they have heard of the key.
func TestKeyedLeases(t *testing.T) {
	m := model.RateLimit{Requests: 20, Per: time.Second, Key: model.LimitKey{Header: "x-user"}}
	const users, proxies = 10, 4
	var e events
	e.now = start()
	random := rand.New(rand.NewPCG(31, 32))
	ledger := NewLedger(m)
	var sides []*Leases
	admitted := make([][]int, users)
	for u := range admitted {
		admitted[u] = make([]int, 60)
	}
	delay := func() time.Duration {
		return time.Millisecond + time.Duration(random.Int64N(int64(9*time.Millisecond)))
	}
	for p := range proxies {
		side := NewLeases(m, fmt.Sprint("proxy-", p))
		sides = append(sides, side)
		var tick func()
		tick = func() {
			for _, ask := range side.Due(e.now, nil) {
				e.after(delay(), func() {
					q := ledger.Ask(ask, e.now)
					e.after(delay(), func() { side.Grant(ask.Key, q) })
				})
			}
			e.after(5*time.Millisecond, tick)
		}
		e.after(time.Duration(p)*time.Millisecond, tick)
	}
	for u := range users {
		var arrive func()
		arrive = func() {
			second := int(e.now.Sub(start()) / time.Second)
			p := (second/5 + u) % proxies // most by one proxy, which changes
			if random.IntN(3) == 0 {
				p = random.IntN(proxies)
			}
			if sides[p].Take(fmt.Sprint("user-", u), e.now).Allowed {
				admitted[u][second]++
			}
			e.after(time.Duration(random.ExpFloat64()/60*float64(time.Second)), arrive)
		}
		e.after(100*time.Millisecond, arrive)
	}
	e.until(start().Add(60 * time.Second))
	for u, seconds := range admitted {
		sum := 0
		for _, n := range seconds[30:] {
			sum += n
		}
		if sum < 576 || sum > 624 {
			t.Errorf("user %d is admitted %d times in 30 s, want 600: %v", u, sum, seconds)
		}
		if over, bound := mostOver(seconds, 20), Capacity(&m)+perPeriod(&m)+proxies*20; over > bound {
			t.Errorf("user %d: at worst %v over the limit, the bound is %v: %v", u, over, bound, seconds)
		}
	}
	if ledger.Len() != users || sides[0].Len() > users {
		t.Errorf("%d and %d keys, want %d", ledger.Len(), sides[0].Len(), users)
	}
}

func TestLeasesEdges(t *testing.T) {
	now := start()
	one := NewLeases(model.RateLimit{Requests: 5, Per: time.Second}, "p")
	asks := one.Due(now, nil)
	if len(asks) != 1 || asks[0] != (Ask{Proxy: "p", First: true}) {
		t.Fatalf("before the first request: %+v", asks)
	}
	one.Grant("", Quota{Amount: 1, For: time.Second, Share: 1})
	if !one.Take("ignored", now).Allowed || one.Take("", now).Allowed {
		t.Error("one was granted to all")
	}
	if one.Status() != 429 {
		t.Error(one.Status())
	}

	m := model.RateLimit{Requests: 5, Per: time.Second, Key: model.LimitKey{Source: true}}
	keyed, ledger := NewLeases(m, "p"), NewLedger(m)
	long := strings.Repeat("k", 500)
	keyed.Take(long+"a", now)
	keyed.Take(long+"b", now)
	keyed.Take("short", now)
	asks = keyed.Due(now, nil)
	if len(asks) != 3 || len(asks[0].Key) != MaxKey || asks[0].Key == asks[1].Key || asks[2].Key != "short" || asks[2].Used != 1 {
		t.Fatalf("%+v", asks)
	}
	for _, a := range asks {
		q := ledger.Ask(a, now)
		if q.Alone != 1 || q.Amount == 0 {
			t.Errorf("%+v", q)
		}
		keyed.Grant(a.Key, q)
	}
	ledger.Ask(Ask{Proxy: "q", Key: "short"}, now)
	if q := ledger.Ask(Ask{Proxy: "p", Key: "short", Used: 1}, now); q.Alone != 0.5 {
		t.Errorf("of two proxies each may have %v of a new key", q.Alone)
	}
	if s := ledger.Explain("short", now); !strings.Contains(s, "among 2 proxies") || ledger.Explain("none", now) != "not asked for lately" {
		t.Error(s)
	}
	keyed.Grant("never seen", Quota{})
	now = now.Add(idlePeriods * Period(&m))
	if asks = keyed.Due(now, nil); len(asks) != 0 || keyed.Len() != 0 {
		t.Errorf("%d keys and %d asks after a time without requests", keyed.Len(), len(asks))
	}
	now = now.Add(time.Minute)
	for range 3 {
		ledger.Ask(Ask{Proxy: "p", Key: "new"}, now)
	}
	if ledger.Len() != 1 || len(ledger.proxies) != 1 {
		t.Errorf("the ledger knows %d keys and %d proxies", ledger.Len(), len(ledger.proxies))
	}
	keyed.Take("short", now)
	keyed.Due(now, nil)
	if n := testing.AllocsPerRun(100, func() { keyed.Take("short", now) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestLeasesAreBounded(t *testing.T) {
	m := model.RateLimit{Requests: 5, Per: time.Second, Key: model.LimitKey{Source: true}}
	side, ledger, now := NewLeases(m, "p"), NewLedger(m), start()
	for i := range MaxLedger + 100 {
		key := fmt.Sprint(i)
		side.Take(key, now)
		ledger.Ask(Ask{Proxy: "p", Key: key}, now)
	}
	if side.Len() != MaxLeases || ledger.Len() != MaxLedger {
		t.Errorf("%d leases and %d keys, want %d and %d", side.Len(), ledger.Len(), MaxLeases, MaxLedger)
	}
}
