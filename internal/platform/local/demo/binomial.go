package demo

import "math"

// binomialBounds returns the smallest range [lo, hi] that leaves at most (1-confidence)/2 of the probability of
// Binomial(n, p) on either side (the exact, equal-tailed interval). For 0 < p < 1 and n of a few thousand.
func binomialBounds(n int, p, confidence float64) (lo, hi int) {
	if p <= 0 {
		return 0, 0
	}
	if p >= 1 {
		return n, n
	}
	tail := (1 - confidence) / 2
	lo, hi = 0, n
	for sum := binomialMass(n, lo, p); sum <= tail && lo < n; sum += binomialMass(n, lo, p) {
		lo++
	}
	for sum := binomialMass(n, hi, p); sum <= tail && hi > 0; sum += binomialMass(n, hi, p) {
		hi--
	}
	return lo, hi
}

// binomialMass is the probability of exactly k of n, computed in logarithms so that it does not overflow.
func binomialMass(n, k int, p float64) float64 {
	lg := func(x int) float64 { v, _ := math.Lgamma(float64(x) + 1); return v }
	return math.Exp(lg(n) - lg(k) - lg(n-k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
}
