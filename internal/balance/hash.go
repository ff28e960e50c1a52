package balance

import "github.com/cespare/xxhash/v2"

// HashString hashes a part of a request, or an endpoint's key, for Ring and MaglevTable: XXH64 of the string,
// mixed with the seed. It is the same in every process and version, so that proxies agree on who serves whom.
func HashString(seed uint64, s string) uint64 {
	return mix(xxhash.Sum64String(s) ^ mix(seed))
}

// mix spreads what differs in x over all bits of the result: the finaliser of SplitMix64 (Steele, Lea and Flood
// 2014).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}

// words makes a sequence of random words of one: SplitMix64.
type words uint64

func (w *words) next() uint64 {
	*w += 0x9e3779b97f4a7c15
	return mix(uint64(*w))
}

// unit maps a random word to [0, 1).
func unit(x uint64) float64 { return float64(x>>11) / (1 << 53) }
