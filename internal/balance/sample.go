package balance

// sampler draws indexes in proportion to their weights in constant time: the alias method (Walker 1977; Vose
// 1991). Immutable.
type sampler struct {
	keep  []uint32 // of 2^32: how often a column is itself
	alias []int32  // who it is else
}

// newSampler returns it with the weights, scaled to 1 on average.
func newSampler(weights []uint32) (sampler, []float64) {
	n := len(weights)
	s := sampler{keep: make([]uint32, n), alias: make([]int32, n)}
	total := 0.0
	for _, w := range weights {
		total += float64(w)
	}
	scaled, left := make([]float64, n), make([]float64, n)
	var small, large []int32
	for i, w := range weights {
		scaled[i] = float64(w) * float64(n) / total
		left[i] = scaled[i]
		if left[i] < 1 {
			small = append(small, int32(i))
		} else {
			large = append(large, int32(i))
		}
	}
	for len(small) > 0 && len(large) > 0 {
		a, b := small[len(small)-1], large[len(large)-1]
		small = small[:len(small)-1]
		s.keep[a], s.alias[a] = uint32(left[a]*(1<<32-1)), b
		if left[b] -= 1 - left[a]; left[b] < 1 {
			large, small = large[:len(large)-1], append(small, b)
		}
	}
	for _, i := range append(small, large...) { // what is left is 1, but for rounding
		s.keep[i], s.alias[i] = 1<<32-1, i
	}
	return s, scaled
}

// draw returns an index for a random word; there must be one.
func (s *sampler) draw(random uint64) int {
	i := below(uint32(random), len(s.keep))
	if uint32(random>>32) <= s.keep[i] {
		return i
	}
	return int(s.alias[i])
}
