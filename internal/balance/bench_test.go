package balance

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// start is the virtual time at which tests begin.
func start() time.Time { return time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC) }

func algorithms() []model.Algorithm {
	return []model.Algorithm{model.LeastRequest, model.RoundRobin, model.Random, model.PeakEWMA, model.RingHash, model.Maglev}
}

func candidates(n int) []Candidate {
	all := make([]Candidate, n)
	for i, id := range names(n) {
		all[i] = Candidate{ID: id}
	}
	return all
}

func mustNew(t testing.TB, b model.Balance, c Client, all []Candidate) *Set {
	t.Helper()
	s, err := New(b, c, all)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// busy is an input of a request among endpoints that have something to do.
func busy(n int) Input {
	estimates := make([]EWMA, n)
	for i := range estimates {
		estimates[i].Observe(time.Duration(i+1)*time.Millisecond, start(), 0)
	}
	return Input{
		Now: start().Add(time.Second), Hashed: true,
		Usable: func(i int) bool { return i >= 0 }, Healthy: func(i int) bool { return i != 3 },
		Load: func(i int) int { return i & 3 }, Latency: func(i int) *EWMA { return &estimates[i] },
	}
}

func BenchmarkPick(b *testing.B) {
	weighted := candidates(10)
	for i := range weighted {
		weighted[i].Weight = uint32(1 + i%3)
	}
	local := candidates(10)
	for i := range local {
		local[i].Locality = []string{"eu/a", "eu/b"}[i%2]
	}
	for _, c := range []struct {
		name    string
		all     []Candidate
		balance model.Balance
	}{
		{"plain", candidates(10), model.Balance{}},
		{"weights", weighted, model.Balance{}},
		{"locality", local, model.Balance{Locality: &model.Locality{Prefer: true}}},
	} {
		for _, a := range algorithms() {
			c.balance.Algorithm = a
			set := mustNew(b, c.balance, Client{Locality: "eu/a"}, c.all)
			b.Run(c.name+"/"+string(a), func(b *testing.B) {
				in := busy(10)
				b.ReportAllocs()
				for b.Loop() {
					in.Random += 0x9e3779b97f4a7c15
					in.Hash += 0x9e3779b97f4a7c15
					if i, _ := set.Pick(&in); i < 0 {
						b.Fatal("nobody was picked")
					}
				}
			})
		}
	}
}

func TestPickAllocatesNothing(t *testing.T) {
	for _, a := range algorithms() {
		set := mustNew(t, model.Balance{Algorithm: a, WarmUp: time.Minute, Panic: 0.5}, Client{}, candidates(10))
		in := busy(10)
		set.Pick(&in) // a round robin makes its queue
		if n := testing.AllocsPerRun(100, func() { in.Random++; in.Hash++; set.Pick(&in) }); n != 0 {
			t.Errorf("%s: %v allocations for a pick", a, n)
		}
	}
}
