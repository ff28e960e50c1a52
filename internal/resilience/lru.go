package resilience

import (
	"hash/maphash"
	"strings"
)

// lru is a table of at most max values by key; of more, the one that was used least recently goes. A value stays
// where it is until the next call of get.
type lru[V any] struct {
	max     int
	text    int // bytes of a key that are kept
	seeds   [2]maphash.Seed
	at      map[fingerprint]int32
	entries []entry[V] // [0] is the head of the list of use: its next is the latest, its prev the oldest
	free    int32      // first of the entries that were removed, linked by next; 0: none
}

// fingerprint stands for a key of any length. Its seeds are the table's own, so nobody outside can look for two keys
// that share a value.
type fingerprint [2]uint64

type entry[V any] struct {
	value      V
	key        fingerprint
	text       string
	prev, next int32
}

func newLRU[V any](most, text int) *lru[V] {
	return &lru[V]{
		max: most, text: text, at: map[fingerprint]int32{}, entries: make([]entry[V], 1),
		seeds: [2]maphash.Seed{maphash.MakeSeed(), maphash.MakeSeed()},
	}
}

func (l *lru[V]) print(key string) fingerprint {
	return fingerprint{maphash.String(l.seeds[0], key), maphash.String(l.seeds[1], key)}
}

// get returns the value of a key, which becomes the latest; fresh tells that it is a zero value. Only a fresh one
// allocates. key may be borrowed.
func (l *lru[V]) get(key string) (v *V, fresh bool) {
	f := l.print(key)
	i, ok := l.at[f]
	switch {
	case ok:
		if l.entries[0].next == i {
			return &l.entries[i].value, false
		}
		l.unlink(i)
	case l.free != 0:
		i = l.free
		l.free = l.entries[i].next
	case len(l.entries) <= l.max:
		i = int32(len(l.entries))
		l.entries = append(l.entries, entry[V]{})
	default:
		i = l.entries[0].prev
		l.unlink(i)
		delete(l.at, l.entries[i].key)
	}
	e, head := &l.entries[i], &l.entries[0]
	if !ok {
		*e = entry[V]{key: f, text: strings.Clone(key[:min(len(key), l.text)])}
		l.at[f] = i
	}
	e.prev, e.next = 0, head.next
	l.entries[head.next].prev = i
	head.next = i
	return &e.value, !ok
}

// peek returns the value of a key, or nil; its use does not count.
func (l *lru[V]) peek(key string) *V {
	if i, ok := l.at[l.print(key)]; ok {
		return &l.entries[i].value
	}
	return nil
}

// oldest is the number of the entry that was used least recently; 0 when there is none. newer follows it.
func (l *lru[V]) oldest() int32           { return l.entries[0].prev }
func (l *lru[V]) newer(i int32) int32     { return l.entries[i].prev }
func (l *lru[V]) entry(i int32) *entry[V] { return &l.entries[i] }
func (l *lru[V]) len() int                { return len(l.at) }

func (l *lru[V]) unlink(i int32) {
	e := &l.entries[i]
	l.entries[e.prev].next, l.entries[e.next].prev = e.next, e.prev
}

// remove takes an entry out.
func (l *lru[V]) remove(i int32) {
	l.unlink(i)
	delete(l.at, l.entries[i].key)
	l.entries[i] = entry[V]{next: l.free}
	l.free = i
}
