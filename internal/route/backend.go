package route

import (
	"math/bits"

	"github.com/weft-mesh/weft/internal/model"
)

// PickBackend chooses one of the rule's backends in proportion to their weights and returns its index, or
// -1 when no backend has a weight: then the answer is 500 (Gateway API, HTTPRouteRule.backendRefs). random
// is uniform over all 64 bits; the same value picks the same backend. A backend whose reference is Invalid
// keeps its share.
func PickBackend(r *model.Rule, random uint64) int {
	var total uint64
	for i := range r.Backends {
		total += uint64(r.Backends[i].Weight)
	}
	// The high word of the product is uniform over 0..total-1 without the bias of a remainder
	// (Lemire, Fast Random Integer Generation in an Interval, 2019). With total 0 nothing is below.
	at, _ := bits.Mul64(random, total)
	for i := range r.Backends {
		w := uint64(r.Backends[i].Weight)
		if at < w {
			return i
		}
		at -= w
	}
	return -1
}
