package balance

import (
	"fmt"
	"slices"
)

const defaultMaglev = 65537

// MaglevTable is a lookup table of prime size whose entries the endpoints claim in turn, each in an order of its own
// (Eisenbud et al., "Maglev", NSDI 2016, section 3.4). A lookup is one index; shares differ by about one part in
// a hundred. When an endpoint leaves, few keys of others move. Immutable.
type MaglevTable struct {
	entries []int32 // indexes of keys
	ranks   ranking
}

// BuildMaglev makes a table of size entries, a prime (0: 65537). weights (nil: all 1) says how often each key claims
// an entry. It fails when size is no prime, when size or the number of keys is over MaxTable, when there are more
// keys than entries, or when weights has another length than keys. It depends on keys and weights, not on their
// order.
func BuildMaglev(keys []string, weights []uint32, size int) (*MaglevTable, error) {
	ranks, err := newRanking(keys, weights, size)
	if err != nil {
		return nil, fmt.Errorf("maglev: %w", err)
	}
	if size == 0 {
		size = defaultMaglev
	}
	if !prime(size) {
		return nil, fmt.Errorf("maglev: table size %d is no prime; the next is %d", size, nextPrime(size))
	}
	if len(keys) > size {
		return nil, fmt.Errorf("maglev: %d endpoints in a table of %d; give a larger prime as table size", len(keys), size)
	}
	t := &MaglevTable{ranks: ranks}
	if len(keys) > 0 {
		t.entries = make([]int32, size)
		t.claim(keys)
	}
	return t, nil
}

// claim fills the table. Whoever has had the fewest turns for its weight claims next; with equal weights that is
// the paper's order.
func (t *MaglevTable) claim(keys []string) {
	order := make([]int32, len(keys))
	for i := range order {
		order[i] = int32(i)
	}
	slices.SortFunc(order, func(a, b int32) int { return compareStrings(keys[a], keys[b]) })
	m := uint64(len(t.entries))
	claims := make([]claimant, len(keys))
	turns := make(queue, len(keys))
	for n, i := range order {
		h := t.ranks.hashes[i]
		claims[n] = claimant{owner: i, at: h % m, skip: mix(h)%(m-1) + 1}
		turns[n] = turn{due: 1 / t.ranks.weights[i], who: int32(n)}
	}
	turns.init()
	for i := range t.entries {
		t.entries[i] = -1
	}
	for range t.entries {
		c := &claims[turns[0].who]
		for t.entries[c.at] >= 0 {
			c.at = (c.at + c.skip) % m
		}
		t.entries[c.at] = c.owner
		turns[0].due += 1 / t.ranks.weights[c.owner]
		turns.fix()
	}
}

// claimant goes through all entries from at on in steps of skip, which a prime size makes a permutation.
type claimant struct {
	owner    int32
	at, skip uint64
}

// Lookup returns the index of the key that has the hash's entry, among those that are usable. Over those that are not it
// goes on by hashing the hash, which spreads their keys by weight; the next entries would not, as they are spaced
// regularly. When that takes more than 32 steps, usable keys are ranked by the hash instead (rendezvous hashing), which
// is as consistent. -1: none is usable.
func (t *MaglevTable) Lookup(hash uint64, usable func(int) bool) int {
	m := uint64(len(t.entries))
	if m == 0 {
		return -1
	}
	again := words(hash)
	for at, n := hash, 0; n < maxWalk; n++ {
		if i := int(t.entries[at%m]); usable(i) {
			return i
		}
		at = again.next()
	}
	return t.ranks.lookup(hash, usable)
}

// Size is the number of entries: 0 without keys.
func (t *MaglevTable) Size() int { return len(t.entries) }

func prime(n int) bool {
	if n < 2 {
		return false
	}
	for d := 2; d*d <= n; d++ {
		if n%d == 0 {
			return false
		}
	}
	return true
}

func nextPrime(n int) int {
	for n++; !prime(n); n++ {
	}
	return n
}
