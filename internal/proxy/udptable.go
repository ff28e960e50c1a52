package proxy

import (
	"time"

	"github.com/weft-mesh/weft/internal/loop"
)

const (
	defaultSessionIdle = time.Minute // without a datagram either way; Envoy's UDP proxy has the same
	drainedSessionIdle = time.Second // while the proxy ends: time for an answer that is under way

	// evictAfter is how long a session must have been silent for another to take its place when there are as many as
	// may be: a flood of new clients does not end those that are at work.
	evictAfter = time.Second

	// maxSessionSockets bounds the sessions of all listeners and loops: each holds a descriptor.
	maxSessionSockets = 20_000
)

// sessionTable is the sessions of a listener on one loop, by client, and by when they were last used. It knows no
// clock.
type sessionTable struct {
	byPeer map[loop.Peer]*udpSession
	ends   udpSession    // of a ring: next is the one used longest ago, prev the latest
	least  time.Duration // no session ends before it has been idle for so long
}

func newSessionTable() *sessionTable {
	t := &sessionTable{byPeer: map[loop.Peer]*udpSession{}}
	t.ends.prev, t.ends.next = &t.ends, &t.ends
	return t
}

func (t *sessionTable) len() int { return len(t.byPeer) }

// add enters a session, used now.
func (t *sessionTable) add(s *udpSession, now time.Time) {
	if t.least = min(t.least, s.idle); len(t.byPeer) == 0 {
		t.least = s.idle
	}
	t.byPeer[s.peer] = s
	t.link(s, now)
}

func (t *sessionTable) link(s *udpSession, now time.Time) {
	s.used = now
	s.prev, s.next = t.ends.prev, &t.ends
	s.prev.next, s.next.prev = s, s
}

func (s *udpSession) unlink() {
	s.prev.next, s.next.prev = s.next, s.prev
	s.prev, s.next = nil, nil
}

// use notes that a session was used now.
func (t *sessionTable) use(s *udpSession, now time.Time) {
	if s.used.Equal(now) {
		return // in this turn: it is among the latest
	}
	s.unlink()
	t.link(s, now)
}

func (t *sessionTable) remove(s *udpSession) {
	if t.byPeer[s.peer] == s {
		delete(t.byPeer, s.peer)
		s.unlink()
	}
}

// victim is the session to end for another; nil when all were used a moment ago.
func (t *sessionTable) victim(now time.Time) *udpSession {
	if s := t.ends.next; s != &t.ends && now.Sub(s.used) >= evictAfter {
		return s
	}
	return nil
}

// each calls f with every session, which f may remove.
func (t *sessionTable) each(f func(*udpSession)) {
	for s := t.ends.next; s != &t.ends; {
		next := s.next
		f(s)
		s = next
	}
}

// expired calls f with every session that has been idle for its time, which f removes.
func (t *sessionTable) expired(now time.Time, f func(*udpSession)) {
	for s := t.ends.next; s != &t.ends && now.Sub(s.used) >= t.least; {
		next := s.next
		if now.Sub(s.used) >= s.idle {
			f(s)
		}
		s = next
	}
}

// hurry has no session live longer than idle without use.
func (t *sessionTable) hurry(idle time.Duration) {
	t.least = min(t.least, idle)
	t.each(func(s *udpSession) { s.idle = min(s.idle, idle) })
}
