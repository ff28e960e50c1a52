package proxy

import (
	"sync"
	"sync/atomic"
	"time"
)

// maxDeadlines bounds the requests that come in with a deadline and are remembered while they are answered.
const maxDeadlines = 65_536

// keepPassed is for how long after a request has ended by its deadline, or without an answer, what its program asks for on
// its behalf is refused: a program that was slow to ask must not begin work that nobody bounds.
const keepPassed = 30 * time.Second

// inherited are the deadlines of requests from the mesh that the program is answering, by the requests' IDs. All loops
// share them: what the program asks for on a request's behalf comes by any.
type inherited struct {
	known     atomic.Int32 // deadlines, so that nobody waits where there are none
	mu        sync.Mutex
	deadlines map[string]time.Time
	passed    []passed // of those in deadlines, which are kept after their requests; in the order of time
}

// passed is a deadline that is remembered after its request.
type passed struct {
	id       string
	deadline time.Time
	until    time.Time
}

// deadline returns what a request's own request inherits.
func (i *inherited) deadline(id string) (at time.Time, ok bool) {
	if i.known.Load() == 0 {
		return at, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	at, ok = i.deadlines[id]
	return at, ok
}

// remember reports whether the deadline is kept until forget: there may be too many. id must not change.
func (i *inherited) remember(id string, at, now time.Time) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sweep(now)
	if len(i.deadlines) >= maxDeadlines {
		return false
	}
	if i.deadlines == nil {
		i.deadlines = map[string]time.Time{}
	}
	i.deadlines[id] = at
	i.count()
	return true
}

// forget is told that a request has ended: its deadline goes at once if it was answered in time, else after a while.
func (i *inherited) forget(id string, now time.Time, gone bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	at, there := i.deadlines[id]
	if there && gone && at.After(now) && at.Sub(now) < callerGrace {
		// It left because of its deadline. What we know of that is late by the time its request took to come here.
		at = now
		i.deadlines[id] = at
	}
	switch {
	case !there:
	case now.Before(at) && !gone, len(i.passed) >= maxDeadlines:
		delete(i.deadlines, id)
	default:
		i.passed = append(i.passed, passed{id, at, now.Add(keepPassed)})
	}
	i.count()
}

// forgive forgets a deadline that has passed when its caller asks again with the same ID, as in a retry, and does not say
// that it is in a hurry.
func (i *inherited) forgive(id string, now time.Time) {
	if i.known.Load() == 0 {
		return
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	i.sweep(now)
	if at, ok := i.deadlines[id]; ok && !now.Before(at) {
		delete(i.deadlines, id)
	}
	i.count()
}

// sweep forgets the deadlines that have been kept for long enough.
func (i *inherited) sweep(now time.Time) {
	n := 0
	for n < len(i.passed) && i.passed[n].until.Before(now) {
		if p := &i.passed[n]; i.deadlines[p.id].Equal(p.deadline) { // not a later request's with the same ID
			delete(i.deadlines, p.id)
		}
		n++
	}
	i.passed = i.passed[n:]
	i.count()
}

func (i *inherited) count() { i.known.Store(int32(len(i.deadlines))) }
