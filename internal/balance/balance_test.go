package balance

import (
	"math/rand/v2"
	"testing"

	"pgregory.net/rapid"
)

// TestLeastRequestPicksUsable holds for any set: only usable candidates, and one whenever there is one.
func TestLeastRequestPicksUsable(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		usable := rapid.SliceOfN(rapid.Bool(), 0, 12).Draw(t, "usable")
		loads := rapid.SliceOfN(rapid.IntRange(0, 9), len(usable), len(usable)).Draw(t, "loads")
		got := LeastRequest(len(usable), func(i int) bool { return usable[i] }, func(i int) int { return loads[i] }, rapid.Uint64().Draw(t, "random"))
		some := false
		for _, u := range usable {
			some = some || u
		}
		if some != (got >= 0) || got >= 0 && !usable[got] {
			t.Fatalf("usable %v: picked %d", usable, got)
		}
	})
}

// TestTheMostLoadedIsNeverPicked: of two different candidates it is always the other that is less loaded.
func TestTheMostLoadedIsNeverPicked(t *testing.T) {
	loads := []int{1, 2, 9, 3}
	random := rand.New(rand.NewPCG(1, 2))
	for range 10_000 {
		if LeastRequest(len(loads), func(int) bool { return true }, func(i int) int { return loads[i] }, random.Uint64()) == 2 {
			t.Fatal("the most loaded candidate was picked")
		}
	}
}

// TestEqualLoadsAreSharedEvenly allows each of four within 5% of its share over 100,000 picks: more than ten
// standard deviations.
func TestEqualLoadsAreSharedEvenly(t *testing.T) {
	const n, picks = 4, 100_000
	var counts [n]int
	random := rand.New(rand.NewPCG(3, 4))
	for range picks {
		counts[LeastRequest(n, func(int) bool { return true }, func(int) int { return 0 }, random.Uint64())]++
	}
	for i, c := range counts {
		if c < picks/n*95/100 || c > picks/n*105/100 {
			t.Errorf("candidate %d got %d of %d", i, c, picks)
		}
	}
}

func BenchmarkLeastRequest(b *testing.B) {
	usable, load := func(int) bool { return true }, func(int) int { return 1 }
	b.ReportAllocs()
	for i := uint64(0); b.Loop(); i += 0x9e3779b97f4a7c15 {
		LeastRequest(8, usable, load, i)
	}
}
