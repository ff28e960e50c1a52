package loop

import (
	"math/bits"
	"time"
)

// Tick is the resolution of timers: they fire up to one Tick late, never early.
const Tick = 16 * time.Millisecond

const (
	slots = 1024 // a turn of the wheel is 16 s; longer timers go round
	words = slots / 64
)

// maxDelay keeps "for ever" within the range of durations since the wheel's start.
const maxDelay = 100 * 365 * 24 * time.Hour

// Timer is one deadline. The zero value is ready. It lives in the object it belongs to, so arming it
// allocates nothing but the closure it is given.
type Timer struct {
	prev, next *Timer
	wheel      *wheel
	at         int64 // tick at which it fires
	f          func()
}

// wheel is a hashed timing wheel (Varghese and Lauck, 1987, scheme 6): arming and stopping cost a few
// instructions whatever the number of timers.
type wheel struct {
	start   time.Time
	current int64 // ticks handled
	heads   [slots]Timer
	used    [words]uint64 // slots that hold a timer
	count   int
	ended   bool
}

func (w *wheel) init() {
	w.start = time.Now()
	for i := range w.heads {
		h := &w.heads[i]
		h.prev, h.next = h, h
	}
}

// AfterFunc arms t to run f on the loop after d. An armed t is moved. f must not park.
func (l *Loop) AfterFunc(t *Timer, d time.Duration, f func()) {
	t.Stop()
	w := &l.wheel
	if w.ended {
		return // the loop fires no more
	}
	d = min(d, maxDelay)
	// Rounding up and one more: the present tick has partly passed.
	t.at = max(int64((l.now.Sub(w.start)+d)/Tick)+1, w.current+1)
	t.f, t.wheel = f, w
	slot := t.at % slots
	h := &w.heads[slot]
	t.prev, t.next = h.prev, h
	h.prev.next, h.prev = t, t
	w.used[slot/64] |= 1 << (slot % 64)
	w.count++
}

// Stop disarms t. Stopping a timer that is not armed is harmless.
func (t *Timer) Stop() {
	if t.wheel == nil {
		return
	}
	w, slot := t.wheel, t.at%slots
	t.prev.next, t.next.prev = t.next, t.prev
	t.prev, t.next, t.wheel, t.f = nil, nil, nil, nil
	w.count--
	if h := &w.heads[slot]; h.next == h {
		w.used[slot/64] &^= 1 << (slot % 64)
	}
}

// Armed reports whether the timer is to fire.
func (t *Timer) Armed() bool { return t.wheel != nil }

// next returns when the next slot in use is due; ok is false when there is no timer.
func (w *wheel) next() (at time.Time, ok bool) {
	if w.count == 0 {
		return time.Time{}, false
	}
	return w.start.Add(time.Duration(w.nextUsed()) * Tick), true
}

// nextUsed returns the tick of the next slot in use after the current one.
func (w *wheel) nextUsed() int64 {
	for d := int64(1); d <= slots; {
		slot := (w.current + d) % slots
		if rest := w.used[slot/64] >> (slot % 64); rest != 0 {
			return w.current + d + int64(bits.TrailingZeros64(rest))
		}
		d += 64 - slot%64
	}
	return w.current + slots
}

// advance fires what is due at now.
func (w *wheel) advance(now time.Time) {
	target := int64(now.Sub(w.start) / Tick)
	if w.count == 0 {
		w.current = max(w.current, target)
		return
	}
	// After a long pause each slot is visited once, not once for each tick missed.
	for steps := 0; w.current < target && steps < slots; steps++ {
		next := min(w.nextUsed(), target)
		w.current = next
		w.fire(next%slots, target)
		if w.count == 0 {
			break
		}
	}
	w.current = max(w.current, target)
}

func (w *wheel) fire(slot, target int64) {
	// Those due move to a list of their own first: what they run may stop or arm any timer.
	var due Timer
	due.prev, due.next = &due, &due
	h := &w.heads[slot]
	for t := h.next; t != h; {
		next := t.next
		if t.at <= target {
			t.prev.next, t.next.prev = t.next, t.prev
			t.prev, t.next = due.prev, &due
			due.prev.next, due.prev = t, t
		}
		t = next
	}
	for t := due.next; t != &due; t = due.next {
		f := t.f
		t.Stop()
		f()
	}
}

// fireAll fires every timer, at the loop's end: whoever waits is let go.
func (w *wheel) fireAll() {
	w.ended = true
	for i := range w.heads {
		for h := &w.heads[i]; h.next != h; {
			f := h.next.f
			h.next.Stop()
			f()
		}
	}
}
