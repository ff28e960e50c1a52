package balance

import (
	"fmt"
	"math"
)

// ranking orders keys for a hash by highest random weight (Thaler and Ravishankar 1998; with weights, Schindelhauer
// and Schomaker 2005). It needs no table, and looks at every key.
type ranking struct {
	hashes  []uint64
	weights []float64
	total   float64
}

func newRanking(keys []string, weights []uint32, size int) (ranking, error) {
	switch {
	case weights != nil && len(weights) != len(keys):
		return ranking{}, fmt.Errorf("%d weights for %d endpoints", len(weights), len(keys))
	case len(keys) > MaxTable:
		return ranking{}, fmt.Errorf("%d endpoints; %d at most: choose another algorithm", len(keys), MaxTable)
	case size < 0 || size > MaxTable:
		return ranking{}, fmt.Errorf("table size %d; give 0 for the default, or 1 to %d", size, MaxTable)
	}
	r := ranking{hashes: make([]uint64, len(keys)), weights: make([]float64, len(keys))}
	for i, k := range keys {
		r.hashes[i], r.weights[i] = HashString(0, k), 1
		if weights != nil && weights[i] > 0 {
			r.weights[i] = float64(weights[i])
		}
		r.total += r.weights[i]
	}
	return r, nil
}

// lookup returns the usable key that ranks highest, or -1.
func (r *ranking) lookup(hash uint64, usable func(int) bool) int {
	best, most := -1, math.Inf(-1)
	for i, h := range r.hashes {
		if !usable(i) {
			continue
		}
		u := unit(mix(h^hash)) + 1.0/(1<<54) // never 0
		if score := r.weights[i] / -math.Log(u); score > most {
			best, most = i, score
		}
	}
	return best
}
