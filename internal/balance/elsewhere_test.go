package balance

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestElsewhere has retries prefer the localities that the request has not tried: of priorities the nearest of them that
// has somebody healthy, of shares in their proportion; and come back when there is no other.
func TestElsewhere(t *testing.T) {
	all := candidates(6)
	for i, l := range []string{"eu/a", "eu/a", "eu/b", "eu/b", "us/a", "us/a"} {
		all[i].Locality = l
	}
	tried := func(which ...int) func(int) bool {
		return func(i int) bool {
			for _, n := range which {
				if i == n {
					return true
				}
			}
			return false
		}
	}
	healthy := func(but ...int) func(int) bool {
		down := tried(but...)
		return func(i int) bool { return !down(i) }
	}
	prefer := &model.Locality{Prefer: true}
	distribute := &model.Locality{Distribute: []model.LocalityShare{{From: "eu/*", To: map[string]float64{"eu/a": 0.5, "eu/b": 0.4, "us/a": 0.1}}}}
	for _, a := range algorithms() {
		for _, c := range []struct {
			name string
			by   *model.Locality
			in   Input
			want []float64
		}{
			{"the next nearest", prefer, Input{Tried: tried(0)}, []float64{0, 0, 0.5, 0.5, 0, 0}},
			{"the one after", prefer, Input{Tried: tried(0, 3)}, []float64{0, 0, 0, 0, 0.5, 0.5}},
			{"the next is down", prefer, Input{Tried: tried(1), Healthy: healthy(2, 3)}, []float64{0, 0, 0, 0, 0.5, 0.5}},
			{"all others are down", prefer, Input{Tried: tried(1), Usable: healthy(1), Healthy: healthy(2, 3, 4, 5)}, []float64{1, 0, 0, 0, 0, 0}},
			{"all were tried", prefer, Input{Tried: tried(0, 2, 4), Usable: healthy(0, 2, 4)}, []float64{0, 1, 0, 0, 0, 0}},
			{"shares", distribute, Input{Tried: tried(0)}, []float64{0, 0, 0.4, 0.4, 0.1, 0.1}},
		} {
			set := mustNew(t, model.Balance{Algorithm: a, Locality: c.by}, Client{Locality: "eu/a"}, all)
			near(t, string(a)+", "+c.name, shares(t, set, c.in, picks), c.want, picks, 0.01)
		}
	}
}

// TestWarmUpPaces has endpoints begin with other parts of their share than a tenth, and rise otherwise than in a straight
// line, in a simulation of 120 s at 200 requests a second: the newcomer's share of each 10 s is that of the curve.
func TestWarmUpPaces(t *testing.T) {
	third := func(f float64) *float64 { return &f }
	for name, b := range map[string]model.Balance{
		"from half":   {WarmUpFrom: third(0.5)},
		"from zero":   {WarmUpFrom: third(0)},
		"early":       {WarmUpAggression: 4},
		"late":        {WarmUpAggression: 0.5, WarmUpFrom: third(0.2)},
		"whole, soon": {WarmUpAggression: 1000, WarmUpFrom: third(0)},
	} {
		for _, a := range []model.Algorithm{model.Random, model.RoundRobin, model.LeastRequest} {
			b.Algorithm, b.WarmUp = a, 100*time.Second
			all := candidates(4)
			all[3].Since = start()
			set := mustNew(t, b, Client{}, all)
			random := rand.New(rand.NewPCG(31, 32))
			const step, each, perSecond = 10, 2000, 200
			from, curve := 0.1, 1.0
			if b.WarmUpFrom != nil {
				from = *b.WarmUpFrom
			}
			if b.WarmUpAggression > 0 {
				curve = 1 / b.WarmUpAggression
			}
			for second := 0; second < 120; second += step {
				got, want := 0.0, 0.0
				for n := range each {
					age := float64(second) + float64(n)/perSecond
					part := from + (1-from)*math.Pow(min(age/100, 1), curve)
					want += part / (3 + part) / each
					in := Input{Now: start().Add(time.Duration(age * float64(time.Second))), Random: random.Uint64()}
					if i, _ := set.Pick(&in); i == 3 {
						got += 1.0 / each
					}
				}
				// Four standard deviations; turns are set ahead by the weight of a moment ago, which lags while it is small.
				bound := 4*math.Sqrt(want*(1-want)/each) + 0.01
				if a == model.RoundRobin && second == 0 {
					bound += 0.03
				}
				if math.Abs(got-want) > bound {
					t.Errorf("%s, %s, %d to %d s: share %.4f, want %.4f within %.4f", name, a, second, second+step, got, want, bound)
				}
			}
		}
	}
}
