package guard

import (
	"math"
	"math/big"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

// figures makes requests that take ms, and slow more of them that take slowMS.
func figures(good, bad int, ms float64, slow int, slowMS float64) *Figures {
	f := &Figures{Success: uint64(good), Failure: uint64(bad)}
	for i := range good + bad {
		took := ms
		if i < slow {
			took = slowMS
		}
		f.Latency.Observe(time.Duration(took * float64(time.Millisecond)))
	}
	return f
}

func TestJudge(t *testing.T) {
	none := &Figures{}
	fine := figures(2000, 0, 10, 0, 0)
	for _, c := range []struct {
		name          string
		bounds        Bounds
		before, since *Figures
		want          Outcome
		reason        string
	}{
		{"nothing changed", Bounds{}, fine, figures(2000, 0, 10, 0, 0), Good, ""},
		{"half fail", Bounds{}, fine, figures(200, 200, 10, 0, 0), Worse, "success rate 50.00% of 400 requests, below 99.00%; before the change it was 100.00% of 2000"},
		{"some fail, above the bound", Bounds{}, fine, figures(9950, 50, 10, 0, 0), Good, ""},
		{"the same, of a stricter bound", Bounds{SuccessRate: 0.999}, fine, figures(9900, 100, 10, 0, 0), Worse, "below 99.90%"},
		{"it was as bad before", Bounds{}, figures(1900, 100, 10, 0, 0), figures(1890, 110, 10, 0, 0), Good, ""},
		{"it was bad, and is worse", Bounds{}, figures(1900, 100, 10, 0, 0), figures(1600, 400, 10, 0, 0), Worse, "before the change it was 95.00%"},
		{"one unlucky request of few", Bounds{}, fine, figures(59, 1, 10, 0, 0), Good, ""},
		{"too few", Bounds{}, fine, figures(0, 49, 10, 0, 0), Unjudged, "49 of 50 requests"},
		{"none", Bounds{}, fine, none, Unjudged, "0 of 50"},
		{"fewer will do", Bounds{MinRequests: 10}, fine, figures(0, 20, 10, 0, 0), Worse, "0.00%"},
		{"nothing before, good", Bounds{}, none, figures(500, 1, 10, 0, 0), Good, ""},
		{"nothing before, bad", Bounds{}, none, figures(400, 100, 10, 0, 0), Worse, "too little traffic before"},
		{"no failure is allowed, and there is none", Bounds{SuccessRate: 1}, none, figures(500, 0, 10, 0, 0), Good, ""},
		{"no failure is allowed, and there is one", Bounds{SuccessRate: 1}, none, figures(500, 1, 10, 0, 0), Worse, "below 100.00%"},
		{"twice as slow", Bounds{}, fine, figures(500, 0, 20, 0, 0), Worse, "p99 latency 19ms of 500 requests, above 15ms"},
		{"a tail of 5%", Bounds{}, fine, figures(1000, 0, 10, 50, 100), Worse, "p99 latency"},
		{"a tail of half a percent", Bounds{}, fine, figures(1000, 0, 10, 5, 100), Good, ""},
		{"a third slower", Bounds{}, fine, figures(500, 0, 13, 0, 0), Good, ""},
		{"a third slower, of a stricter bound", Bounds{Increase: 0.2}, fine, figures(500, 0, 14, 0, 0), Worse, "p99"},
		{"a fast service's noise", Bounds{}, figures(1000, 0, 0.2, 0, 0), figures(1000, 0, 1.5, 0, 0), Good, ""},
		{"absolute bound", Bounds{Latency: 50 * time.Millisecond}, fine, figures(500, 0, 20, 0, 0), Good, ""},
		{"absolute bound, nothing before", Bounds{Latency: 50 * time.Millisecond}, none, figures(500, 0, 80, 0, 0), Worse, "above 50ms"},
		{"absolute bound that was broken before", Bounds{Latency: 50 * time.Millisecond}, figures(500, 0, 80, 0, 0), figures(500, 0, 80, 0, 0), Good, ""},
		{"nothing before, slow", Bounds{}, none, figures(500, 0, 900, 0, 0), Good, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := Judge(c.bounds, c.before, c.since)
			if got.Outcome != c.want || !strings.Contains(got.Reason, c.reason) {
				t.Errorf("%+v, want %s because of %q", got, c.want, c.reason)
			}
		})
	}
}

// TestFalseAlarms judges changes that do nothing, in 30 looks each. With Alpha 1% for each of two figures, 400
// guards raise at most 8 on average; more than 18 have a probability below 0.1% (Poisson).
func TestFalseAlarms(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	add := func(f *Figures, n int) {
		for range n {
			if r.Float64() < 0.03 { // worse than the bound of 99%: only the comparison can acquit it
				f.Failure++
			} else {
				f.Success++
			}
			f.Latency.Observe(time.Duration(r.ExpFloat64() * float64(20*time.Millisecond)))
		}
	}
	const guards, looks = 400, 30
	alarms := 0
	for range guards {
		before, since := &Figures{}, &Figures{}
		add(before, 1500)
		for range looks {
			add(since, 50)
			if Judge(Bounds{Looks: looks}, before, since).Outcome == Worse {
				alarms++
				break
			}
		}
	}
	t.Logf("%d false alarms of %d guards", alarms, guards)
	if alarms > 18 {
		t.Errorf("%d false alarms of %d guards", alarms, guards)
	}
}

// TestPower wants a change that fails 10% of requests found by the first 300 of them, in 99 of 100 cases.
func TestPower(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	before, found := figures(1500, 0, 5, 0, 0), 0
	for range 300 {
		since := &Figures{}
		for range 300 {
			if r.Float64() < 0.1 {
				since.Failure++
			} else {
				since.Success++
			}
			since.Latency.Observe(5 * time.Millisecond)
		}
		if Judge(Bounds{Looks: 30}, before, since).Outcome == Worse {
			found++
		}
	}
	if found < 297 {
		t.Errorf("found %d of 300", found)
	}
}

// TestExactTails compares with sums of whole numbers.
func TestExactTails(t *testing.T) {
	over := func(n, k int64) *big.Int { return new(big.Int).Binomial(n, k) }
	for before := range int64(12) {
		for since := int64(1); since < 12; since++ {
			for wasBad := range before + 1 {
				for isBad := range since + 1 {
					sum, bad, all := new(big.Int), wasBad+isBad, before+since
					for k := isBad; k <= min(bad, since); k++ {
						if since-k <= all-bad {
							sum.Add(sum, new(big.Int).Mul(over(bad, k), over(all-bad, since-k)))
						}
					}
					want, _ := new(big.Rat).SetFrac(sum, over(all, since)).Float64()
					got := fisherTail(sample{uint64(wasBad), uint64(before)}, sample{uint64(isBad), uint64(since)})
					if math.Abs(got-want) > 1e-9 {
						t.Fatalf("%d of %d, then %d of %d: %g, want %g", wasBad, before, isBad, since, got, want)
					}
				}
			}
		}
	}
	for _, c := range []struct {
		bad, n uint64
		p      float64
		want   float64
	}{{0, 10, 0.5, 1}, {10, 10, 0.5, 1.0 / 1024}, {1, 10, 0.1, 1 - math.Pow(0.9, 10)}, {2, 3, 0.25, 3*0.0625*0.75 + 0.015625}, {1, 5, 0, 0}, {5, 5, 1, 1}} {
		if got := binomialTail(c.bad, c.n, c.p); math.Abs(got-c.want) > 1e-12 {
			t.Errorf("%d of %d at %g: %g, want %g", c.bad, c.n, c.p, got, c.want)
		}
	}
	// Many requests neither overflow nor take long.
	if got := fisherTail(sample{1000, 10_000_000}, sample{5000, 10_000_000}); got > 1e-100 {
		t.Errorf("five times as many failures of ten million: %g", got)
	}
	if got := fisherTail(sample{5000, 10_000_000}, sample{5000, 10_000_000}); got < 0.4 || got > 0.6 {
		t.Errorf("as many failures of ten million: %g", got)
	}
}
