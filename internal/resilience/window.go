package resilience

import "time"

// window counts two things over a time that moves on by tenths, so it is between 0.9 and 1 of its length.
type window struct {
	length  time.Duration
	buckets [budgetBuckets]counts
	origin  time.Time // zero: nothing was counted
	last    int64     // number of the newest tenth since origin
}

type counts struct{ a, b uint64 }

func newWindow(length time.Duration) window {
	return window{length: max(length, budgetBuckets)}
}

// at moves the window on and returns the counts of the tenth that now is in. Time that goes back counts as now.
func (w *window) at(now time.Time) *counts {
	if w.origin.IsZero() {
		w.origin = now
	}
	n := int64(now.Sub(w.origin) / (w.length / budgetBuckets))
	if n > w.last {
		if n-w.last >= budgetBuckets {
			clear(w.buckets[:])
		} else {
			for i := w.last + 1; i <= n; i++ {
				w.buckets[i%budgetBuckets] = counts{}
			}
		}
		w.last = n
	}
	return &w.buckets[w.last%budgetBuckets]
}

// sum is of the whole window.
func (w *window) sum() (a, b uint64) {
	for i := range w.buckets {
		a, b = a+w.buckets[i].a, b+w.buckets[i].b
	}
	return a, b
}

// reset forgets what was counted.
func (w *window) reset() { clear(w.buckets[:]) }
