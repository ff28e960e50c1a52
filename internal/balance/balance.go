package balance

// LeastRequest returns the index, below n, of the less loaded of two usable candidates chosen at random
// ("the power of two choices": Mitzenmacher 2001), or -1 when none is usable. random is one random word.
// usable and load are called with indexes below n; neither may block. It allocates nothing and is safe for
// concurrent use. A Set with weights, localities and health is more; this is the choice among equals.
func LeastRequest(n int, usable func(int) bool, load func(int) int, random uint64) int {
	if n == 0 {
		return -1
	}
	a := next(n, below(uint32(random), n), usable)
	if a < 0 || n == 1 {
		return a
	}
	// The second choice is drawn from those after the first, so that it is another one if there is one.
	b := next(n, (a+1+below(uint32(random>>32), n-1))%n, usable)
	if b < 0 || load(a) <= load(b) {
		return a
	}
	return b
}

// below maps a random word to 0..n-1 without division (Lemire 2019).
func below(random uint32, n int) int { return int(uint64(random) * uint64(n) >> 32) }

// next returns the first usable index from i on, going round, or -1.
func next(n, i int, usable func(int) bool) int {
	for range n {
		if usable(i) {
			return i
		}
		if i++; i == n {
			i = 0
		}
	}
	return -1
}
