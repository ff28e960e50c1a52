package guard

import "math"

// negligible is when a tail's terms, which shrink from there on, no longer matter.
const negligible = 1e-12

// fisherTail returns the probability that since has at least as many bad requests as it has, when bad ones fall
// on both windows by chance: the tail of a hypergeometric distribution.
func fisherTail(before, since sample) float64 {
	bad, all := before.bad+since.bad, before.of+since.of
	whole := choose(all, since.of)
	sum := 0.0
	for k := since.bad; k <= min(bad, since.of); k++ {
		if since.of-k > all-bad { // more good ones than there are
			continue
		}
		term := math.Exp(choose(bad, k) + choose(all-bad, since.of-k) - whole)
		sum += term
		if term < negligible*sum && float64(k) > float64(bad)*float64(since.of)/float64(all) {
			break
		}
	}
	return min(sum, 1)
}

// binomialTail returns the probability of at least bad of n when each is bad with probability p, 0 to 1.
func binomialTail(bad, n uint64, p float64) float64 {
	switch {
	case bad == 0 || p >= 1:
		return 1
	case p <= 0:
		return 0
	}
	sum := 0.0
	for k := bad; k <= n; k++ {
		term := math.Exp(choose(n, k) + float64(k)*math.Log(p) + float64(n-k)*math.Log1p(-p))
		sum += term
		if term < negligible*sum && float64(k) > p*float64(n) {
			break
		}
	}
	return min(sum, 1)
}

// choose returns the logarithm of n over k; k is at most n.
func choose(n, k uint64) float64 {
	a, _ := math.Lgamma(float64(n) + 1)
	b, _ := math.Lgamma(float64(k) + 1)
	c, _ := math.Lgamma(float64(n-k) + 1)
	return a - b - c
}
