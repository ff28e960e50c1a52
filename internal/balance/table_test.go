package balance

import (
	"fmt"
	"testing"
)

func names(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = fmt.Sprintf("default/reviews-%d", i)
	}
	return all
}

func always(int) bool { return true }

// lookup is what both tables have.
type lookup interface {
	Lookup(hash uint64, usable func(int) bool) int
	Size() int
}

// moved is the share of 100,000 keys that another endpoint has after the one at gone left.
func moved(t *testing.T, build func([]string) lookup, n, gone int) (all, others float64) {
	t.Helper()
	keys := names(n)
	left := append(append([]string{}, keys[:gone]...), keys[gone+1:]...)
	before, after := build(keys), build(left)
	const lookups = 100_000
	for i := range uint64(lookups) {
		h := mix(i + 1)
		b, a := before.Lookup(h, always), after.Lookup(h, always)
		if keys[b] != left[a] {
			all++
			if b != gone {
				others++
			}
		}
	}
	return all / lookups, others / lookups
}

func TestMaglevMovesFewKeys(t *testing.T) {
	for _, n := range []int{2, 3, 4, 5, 8, 10, 20, 50, 100} {
		worst, extra := 0.0, 0.0
		for gone := 0; gone < n; gone += max(1, n/8) {
			m, o := moved(t, func(k []string) lookup {
				r, err := BuildMaglev(k, nil, 0)
				if err != nil {
					t.Fatal(err)
				}
				return r
			}, n, gone)
			worst, extra = max(worst, m), max(extra, o)
		}
		t.Logf("%d endpoints: %.4f moved, %.3f/N; of others %.4f", n, worst, worst*float64(n), extra)
	}
}
