package metrics

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// TestWindowsAgainstAModel reports counters of a few proxies, which restart now and then, once a step, and
// wants every window's sum to be that of the single requests within it.
func TestWindowsAgainstAModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		type request struct {
			at   time.Time
			ok   bool
			took time.Duration
		}
		s := New()
		now := time.Unix(1_000_000, 0)
		var all []request
		type proxy struct {
			success, failure uint64
			latency          telemetry.Histogram
			restarts         int
		}
		proxies := map[string]*proxy{"a": {}, "b": {}}
		first := now
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(step)
			for node, p := range proxies {
				if rapid.IntRange(0, 9).Draw(t, "restart") == 0 {
					*p = proxy{restarts: p.restarts + 1}
				}
				for range rapid.IntRange(1, 5).Draw(t, "requests") {
					r := request{now, rapid.Bool().Draw(t, "ok"), time.Duration(rapid.IntRange(100, 100_000).Draw(t, "us")) * time.Microsecond}
					all = append(all, r)
					p.latency.Observe(r.took)
					if r.ok {
						p.success++
					} else {
						p.failure++
					}
				}
				err := s.Report(fmt.Sprint(node, p.restarts), now, []*discoveryv1.Series{{
					Destination: "default/web", Success: p.success, Failure: p.failure, Latency: p.latency.Proto(),
				}}, now)
				if err != nil {
					t.Fatal(err)
				}
			}
		}
		window := time.Duration(rapid.IntRange(5, 60).Draw(t, "window")) * step
		var want, wantOK uint64
		for _, r := range all {
			if r.at.After(now.Add(-window)) {
				want++
				if r.ok {
					wantOK++
				}
			}
		}
		rows, err := s.Stat(Query{Window: window, GroupBy: []string{"destination"}}, now)
		if err != nil || len(rows) != 1 {
			t.Fatalf("%v %v", rows, err)
		}
		if got := rows[0]; got.Requests() != want || got.Success != wantOK {
			t.Fatalf("window %v of %v: %d requests, %d good; want %d, %d", window, now.Sub(first), got.Requests(), got.Success, want, wantOK)
		}
	})
}

func TestQueriesAreChecked(t *testing.T) {
	s := New()
	for _, q := range []Query{
		{Window: time.Second}, {Window: time.Hour}, {GroupBy: []string{"colour"}}, {Match: map[string]string{"colour": "red"}},
	} {
		if _, err := s.Stat(q, time.Now()); err == nil {
			t.Errorf("%+v was taken", q)
		}
	}
}

// TestRestartOfTheControlPlane: what proxies counted before this store knew them is in no window.
func TestRestartOfTheControlPlane(t *testing.T) {
	s, now := New(), time.Unix(1_000_000, 0)
	report := func(node string, started time.Time, success uint64) {
		t.Helper()
		if err := s.Report(node, started, []*discoveryv1.Series{{Destination: "default/web", Success: success}}, now); err != nil {
			t.Fatal(err)
		}
	}
	report("old", now.Add(-time.Hour), 1_000_000)
	report("new", now.Add(-time.Second), 3)
	now = now.Add(step)
	report("old", now.Add(-time.Hour), 1_000_007)
	report("new", now.Add(-time.Second), 5)
	rows, err := s.Stat(Query{Window: time.Minute, GroupBy: []string{"destination"}}, now)
	if err != nil || len(rows) != 1 || rows[0].Success != 12 {
		t.Errorf("%v: %+v; want 7 of the old proxy and 5 of the new one", err, rows[0].Success)
	}
}
