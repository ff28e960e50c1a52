package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

const (
	softLimit = 256 << 20 // bytes beyond which the collector works as hard as it must
	headroom  = 20 << 20  // bytes that may be allocated between two collections
)

// tuneMemory trades memory for fewer collections as long as both are small: a heap of a few megabytes would be
// collected at twice its size without end under load, and one of many must not grow to five times its size.
// GOGC and GOMEMLIMIT, where they are set, have their way.
func tuneMemory() {
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(softLimit)
	}
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(maxPercent)
		afterCollection(&sentinel{})
	}
}

const (
	minPercent = 50
	maxPercent = 400
)

// percentFor is the growth, in percent of what lives, at which the next collection begins.
func percentFor(live uint64) int {
	return int(min(maxPercent, max(minPercent, headroom*100/max(live, 1))))
}

// sentinel is garbage as soon as it is made: its finalizer tells of every collection.
type sentinel struct{ _ [16]byte }

func afterCollection(s *sentinel) {
	runtime.SetFinalizer(s, func(s *sentinel) {
		sample := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(sample)
		if sample[0].Value.Kind() == metrics.KindUint64 {
			debug.SetGCPercent(percentFor(sample[0].Value.Uint64()))
		}
		afterCollection(s)
	})
}
