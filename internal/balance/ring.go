package balance

import (
	"cmp"
	"fmt"
	"math"
	"slices"
)

// MaxTable is how many entries a Ring or MaglevTable has at most. An endpoint needs one at least, so it bounds the
// endpoints too.
const MaxTable = 1 << 20

const (
	defaultRing = 1024 // points, as Envoy and Istio have it
	perKey      = 512  // points of a key: shares have a deviation of 1/sqrt(512) = 4%
	maxWalk     = 32   // entries looked at after the one hashed to, before every endpoint is ranked instead
)

// Ring is a ring of hashed points (consistent hashing: Karger et al. 1997; ketama). A key belongs to the endpoint
// whose point follows its hash. When an endpoint leaves, the keys of others stay where they are. Its lookup takes
// time in the logarithm of the points; its shares are less even than a MaglevTable's. Immutable.
type Ring struct {
	hashes []uint64 // in order
	owners []int32  // of the points: indexes of keys
	ranks  ranking
}

// BuildRing makes a ring of at least size points (0: 1024). A key has 512, whatever the number of keys, so that none
// but its own move when it leaves; more if that is less than size, fewer if it is more than MaxTable. weights (nil:
// all 1) are compared with the power of two below the largest: that one's key has 512 to 1023 points, others in
// proportion, at least one. It fails when size is negative, or size or the number of keys is over MaxTable, or weights
// has another length than keys. It depends on keys and weights, not on their order.
func BuildRing(keys []string, weights []uint32, size int) (*Ring, error) {
	ranks, err := newRanking(keys, weights, size)
	if err != nil {
		return nil, fmt.Errorf("ring: %w", err)
	}
	counts, total := ranks.points(cmp.Or(size, defaultRing))
	type point struct {
		hash  uint64
		owner int32
	}
	points := make([]point, 0, total)
	for i := range keys {
		seq := words(ranks.hashes[i])
		for range counts[i] {
			points = append(points, point{seq.next(), int32(i)})
		}
	}
	slices.SortFunc(points, func(a, b point) int {
		return cmp.Or(cmp.Compare(a.hash, b.hash), cmp.Compare(keys[a.owner], keys[b.owner]))
	})
	r := &Ring{hashes: make([]uint64, len(points)), owners: make([]int32, len(points)), ranks: ranks}
	for i, p := range points {
		r.hashes[i], r.owners[i] = p.hash, p.owner
	}
	return r, nil
}

// points is how many each key of a ring has, and their sum.
func (r *ranking) points(size int) (counts []int, total int) {
	counts = make([]int, len(r.weights))
	if len(counts) == 0 {
		return counts, 0
	}
	unit := perKey / math.Exp2(math.Floor(math.Log2(slices.Max(r.weights))))
	switch sum := unit * r.total; {
	case sum < float64(size):
		unit *= float64(size) / sum
	case sum > MaxTable:
		unit *= MaxTable / sum
	}
	for i, w := range r.weights {
		counts[i] = max(1, int(math.Ceil(unit*w)))
		total += counts[i]
	}
	return counts, total
}

// Lookup returns the index of the key whose point follows the hash, among those that are usable: it goes round
// over those that are not. When that takes more than 32 points, usable keys are ranked by the hash instead
// (rendezvous hashing), which is as consistent. -1: none is usable.
func (r *Ring) Lookup(hash uint64, usable func(int) bool) int {
	n := len(r.hashes)
	if n == 0 {
		return -1
	}
	at, _ := slices.BinarySearch(r.hashes, hash)
	for range min(n, maxWalk) {
		if at >= n {
			at = 0
		}
		if i := int(r.owners[at]); usable(i) {
			return i
		}
		at++
	}
	return r.ranks.lookup(hash, usable)
}

// Size is the number of points.
func (r *Ring) Size() int { return len(r.hashes) }
