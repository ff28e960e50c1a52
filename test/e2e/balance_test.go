package e2e

import (
	"fmt"
	"math"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"
)

// Shares of samples are compared with what they should be within 4.5 standard deviations of a binomial distribution:
// of a hundred thousand runs one lies outside.
const sigmas = 4.5

// within reports a count that is not n*p, give or take 4.5 standard deviations and, of p, what the table it was drawn by
// allows.
func within(t *testing.T, what string, got, n int, p, table float64) {
	t.Helper()
	bound := sigmas * math.Hypot(math.Sqrt(p*(1-p)/float64(n)), table)
	share := float64(got) / float64(n)
	t.Logf("%s: %d of %d, %.2f%%; want %.2f%% +-%.2f", what, got, n, 100*share, 100*p, 100*bound)
	if math.Abs(share-p) > bound {
		t.Errorf("%s has %.2f%%, want %.2f%% +-%.2f", what, 100*share, 100*p, 100*bound)
	}
}

// names runs a program for each name; each answers its name.
func names(t testing.TB, all ...string) (ports []int) {
	t.Helper()
	for _, name := range all {
		ports = append(ports, named(t, name))
	}
	return ports
}

// TestLeastRequestAvoidsTheSlow: round robin gives each of four endpoints a quarter, whatever it takes, to the request.
// The two choices of least request give the one that takes 100 ms what it can bear, less than half of that, and the
// others equal parts of the rest.
func TestLeastRequestAvoidsTheSlow(t *testing.T) {
	slow := behaving(t, func(w http.ResponseWriter, _ *http.Request) {
		time.Sleep(100 * time.Millisecond)
		fmt.Fprint(w, "slow")
	})
	ports := append(names(t, "b", "c", "d"), slow)
	tally := func(algorithm string, n int) map[string]int {
		g := newGuarded(t, "  loadBalancing: {algorithm: "+algorithm+"}\n", ports...)
		got := map[string]int{}
		g.load(n, 8, func(status int, body string) {
			if got[body]++; status != 200 {
				t.Errorf("status %d: %s", status, body)
			}
		})
		return got
	}
	const turns = 1000
	rr := tally("roundRobin", turns)
	for _, name := range []string{"slow", "b", "c", "d"} {
		if rr[name] != turns/4 {
			t.Errorf("round robin gave %v, want %d each", rr, turns/4)
			break
		}
	}
	const n = 6000
	lr := tally("leastRequest", n)
	t.Logf("round robin %v, least request %v", rr, lr)
	if lr["slow"] > n/8 {
		t.Errorf("the slow endpoint got %d of %d, want an eighth at most", lr["slow"], n)
	}
	for _, name := range []string{"b", "c", "d"} {
		within(t, "least request: "+name+" of the quick", lr[name], n-lr["slow"], 1.0/3, 0)
	}
}

// TestHashShares: by a header's value, the same key has the same endpoint, each of five endpoints has its fifth of the
// keys within the bound of the table, and when one leaves only its own keys move (ring) or 1.1/5 of them (maglev).
func TestHashShares(t *testing.T) {
	for _, c := range []struct {
		algorithm string
		table     float64 // standard deviation of an endpoint's share
		moved     float64 // of all keys, for each of the leaving endpoint's
	}{
		// A ring has 512 points for an endpoint: its share has a deviation of 1/sqrt(512) of itself.
		{"ringHash", 0.2 / math.Sqrt(512), 1},
		// Shares of a maglev table of 65,537 differ by one part in a hundred at most (Eisenbud et al., section 5.3).
		{"maglev", 0.2 * 0.01 / sigmas, 1.1},
	} {
		t.Run(c.algorithm, func(t *testing.T) {
			ports := names(t, "a", "b", "c", "d", "leaving")
			g := newGuarded(t, "  loadBalancing: {algorithm: "+c.algorithm+", hash: [{header: x-key}]}\n", ports...)
			const keys = 4000
			before := g.places(keys)
			tally := map[string]int{}
			for _, at := range before {
				tally[at]++
			}
			for _, name := range []string{"a", "b", "c", "d", "leaving"} {
				within(t, name, tally[name], keys, 0.2, c.table)
			}
			for i, at := range g.places(keys) {
				if at != before[i] {
					t.Fatalf("key-%d was at %s, and is at %s", i, before[i], at)
				}
			}
			g.write("web.yaml", fleetService(ports[:4]...))
			g.awaitGone("leaving", before)
			moved := 0
			for i, at := range g.places(keys) {
				if at != before[i] {
					moved++
				}
			}
			t.Logf("%d keys moved, %d were of the endpoint that left", moved, tally["leaving"])
			if float64(moved) > c.moved*float64(tally["leaving"]) {
				t.Errorf("%d keys moved, want %.1f times the %d of the endpoint that left at most", moved, c.moved, tally["leaving"])
			}
		})
	}
}

// places asks with n keys who answers each.
func (g *guarded) places(n int) []string {
	g.t.Helper()
	out := make([]string, n)
	var wg sync.WaitGroup
	const clients = 4
	for c := range clients {
		wg.Go(func() {
			for i := c; i < n; i += clients {
				status, body := g.get("x-key", fmt.Sprint("key-", i))
				if out[i] = body; status != 200 {
					g.t.Errorf("key-%d: %d %s", i, status, body)
				}
			}
		})
	}
	wg.Wait()
	return out
}

// awaitGone waits until a key of an endpoint that leaves is answered by another.
func (g *guarded) awaitGone(name string, places []string) {
	g.t.Helper()
	for i, at := range places {
		if at != name {
			continue
		}
		eventually(g.t, 30*time.Second, name+" has left", func() error {
			if _, body := g.get("x-key", fmt.Sprint("key-", i)); body == name {
				return fmt.Errorf("key-%d is still there", i)
			}
			return nil
		})
		return
	}
	g.t.Fatalf("no key is at %s", name)
}

// sight is when a request was made, and whether the newcomer answered.
type sight struct {
	from, to time.Duration // since the newcomer was announced: the choice was made in between
	new      bool
}

// TestWarmUpShareRises: the share of an endpoint that joins three rises in a straight line from a tenth of its weight to
// all of it over the time given. What is expected of each request depends on when it was chosen, which lies
// between its beginning and its end, and on when the newcomer was heard of, between the change and its first answer.
func TestWarmUpShareRises(t *testing.T) {
	const warmUp = 12 * time.Second
	ports := names(t, "a", "b", "c", "new")
	g := newGuarded(t, fmt.Sprintf("  loadBalancing: {algorithm: random, warmUp: %v}\n", warmUp), ports[:3]...)
	if status, body := g.get(); status != 200 {
		t.Fatal(status, body)
	}
	began := time.Now()
	g.write("web.yaml", fleetService(ports...))
	var seen []sight
	var first time.Duration
	for deadline := 60 * time.Second; first == 0 || time.Since(began) < first+warmUp+4*time.Second; {
		s := sight{from: time.Since(began)}
		status, body := g.get()
		if s.to = time.Since(began); status != 200 || s.to > deadline {
			t.Fatalf("%d %q after %v; first answer of the newcomer: %v", status, body, s.to, first)
		}
		if s.new = strings.HasPrefix(body, "new"); s.new && first == 0 {
			first = s.to
		}
		seen = append(seen, s)
	}
	// Until the first answer nothing is expected: it decided when measuring begins.
	cold := 0.0 // share in the first quarter
	for q := range 5 {
		begin := first + time.Duration(q)*warmUp/4
		end := begin + warmUp/4
		n, hits, low, high := 0, 0, 0.0, 0.0
		for _, s := range seen {
			if s.from < begin || s.to >= end {
				continue
			}
			if n++; s.new {
				hits++
			}
			low += newShare(s.from-first, warmUp)
			high += newShare(s.to, warmUp)
		}
		if n < 200 {
			t.Fatalf("only %d requests in quarter %d: too few to say anything", n, q)
		}
		spread := sigmas * math.Sqrt(float64(n)*0.25*0.75)
		share := float64(hits) / float64(n)
		t.Logf("from %v: %d of %d, %.1f%%; want %.1f%% to %.1f%%, +-%.1f", (begin - first).Round(time.Second), hits, n, 100*share,
			100*low/float64(n), 100*high/float64(n), 100*spread/float64(n))
		if float64(hits) < low-spread || float64(hits) > high+spread {
			t.Errorf("quarter %d: the newcomer has %d of %d, want %.0f to %.0f +-%.0f", q, hits, n, low, high, spread)
		}
		switch {
		case q == 0:
			cold = share
		case q >= 3 && share <= cold:
			t.Errorf("quarter %d: its share is %.1f%%, and was %.1f%% in the first", q, 100*share, 100*cold)
		}
	}
}

// newShare is the share of an endpoint of some age beside three that are warm.
func newShare(age, warmUp time.Duration) float64 {
	w := min(1, 0.1+0.9*max(0, float64(age))/float64(warmUp))
	return w / (3 + w)
}
