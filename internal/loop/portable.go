//go:build !linux || weft_goroutines

package loop

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// Loop is one event loop. Make it with New or NewOn, run it with Run.
//
// Here it turns on a mailbox instead of epoll: goroutines that do nothing else read, write, dial and accept
// where that blocks, and report what came of it as an event. Tasks, timers, buffers and turns are those of
// the other scheduler, so of one loop's code still only one piece runs at a time.
type Loop struct {
	network   Network
	conns     map[*Conn]struct{}
	takers    map[*taker]struct{}
	datagrams map[*Datagrams]struct{}
	events    []event // of this turn
	current   *Task
	ready     []*Task
	free      []*Task
	dirty     []Flusher
	wheel     wheel
	now       time.Time
	buffers   [bufferClasses][][]byte

	io     sync.WaitGroup // the goroutines that read, write and dial for this loop
	dials  context.Context
	wake   chan struct{} // holds one token when there is mail
	alarm  *time.Timer
	mu     sync.Mutex
	mail   []event
	closed bool // takes no posts and no connections any more

	stopping bool
	ended    bool // Run has closed what was open: nothing new
}

// event is what happened elsewhere and concerns the loop: f runs on it, outside any task. Reads are so many
// that they come without a function, which would have to be allocated.
type event struct {
	f    func()
	conn *Conn // f is nil: what its reader goroutine has read
	buf  []byte
	n    int
	err  error
}

// Flusher is told at the end of a turn in which it asked for it by OnFlush.
type Flusher interface {
	// Flush runs on the loop, outside any task: it must not park.
	Flush()
}

// New makes a loop on the system's network.
func New() (*Loop, error) { return NewOn(system{}) }

// NewOn makes a loop that dials by network. Tests give it a fake one; see also ListenOn.
func NewOn(network Network) (*Loop, error) {
	l := &Loop{
		network: network, now: time.Now(), wake: make(chan struct{}, 1),
		conns: map[*Conn]struct{}{}, takers: map[*taker]struct{}{}, datagrams: map[*Datagrams]struct{}{},
	}
	l.wheel.init()
	return l, nil
}

// OwnProcessor does nothing here: waiting is the runtime's.
func (l *Loop) OwnProcessor() {}

// Run turns the loop until ctx ends or Stop, then closes every connection, waits for the goroutines that
// work for it, and returns.
func (l *Loop) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.Stop)()
	dials, cancel := context.WithCancel(ctx)
	l.dials = dials
	defer l.shut(cancel)
	for !l.stopping {
		l.poll()
		l.now = time.Now()
		for i := range l.events {
			l.dispatch(&l.events[i])
		}
		l.wheel.advance(l.now)
		l.endTurn()
	}
	return nil
}

// poll takes the mail, waiting for some at most until the next timer, and returns the number of events.
func (l *Loop) poll() int {
	if n := l.takeMail(); n > 0 {
		return n
	}
	next, ok := l.wheel.next()
	if !ok {
		<-l.wake
		return l.takeMail()
	}
	if l.alarm == nil {
		l.alarm = time.NewTimer(time.Until(next))
	} else {
		l.alarm.Reset(time.Until(next))
	}
	select {
	case <-l.wake:
	case <-l.alarm.C:
	}
	return l.takeMail()
}

// takeMail moves what has arrived into this turn.
func (l *Loop) takeMail() int {
	clear(l.events)
	l.mu.Lock()
	l.mail, l.events = l.events[:0], l.mail
	l.mu.Unlock()
	return len(l.events)
}

func (l *Loop) dispatch(ev *event) {
	if ev.f != nil {
		ev.f()
		return
	}
	ev.conn.arrived(ev.buf, ev.n, ev.err)
}

// deliver has the loop handle ev. It may be called from any goroutine that l.io counts, also while the loop
// ends: shut takes the mail until there is no such goroutine.
func (l *Loop) deliver(ev event) {
	l.mu.Lock()
	l.mail = append(l.mail, ev)
	l.mu.Unlock()
	l.ring()
}

func (l *Loop) ring() {
	select {
	case l.wake <- struct{}{}:
	default: // there is a token already
	}
}

// endTurn runs what was woken and flushes what was written, until both are done.
func (l *Loop) endTurn() {
	for len(l.ready) > 0 || len(l.dirty) > 0 {
		l.runReady()
		for i := 0; i < len(l.dirty); i++ {
			f := l.dirty[i]
			l.dirty[i] = nil
			f.Flush()
		}
		l.dirty = l.dirty[:0]
	}
}

// OnFlush asks for f.Flush at the end of this turn. Callers keep themselves from asking twice.
func (l *Loop) OnFlush(f Flusher) { l.dirty = append(l.dirty, f) }

// Now is the time at which the turn began: good to a turn's length, and free.
func (l *Loop) Now() time.Time { return l.now }

// Post runs f on the loop, soon. It may be called from any goroutine and never blocks for long. It reports
// false, without running f, when the loop has ended.
func (l *Loop) Post(f func()) bool {
	l.mu.Lock()
	if l.closed {
		l.mu.Unlock()
		return false
	}
	l.mail = append(l.mail, event{f: f})
	l.mu.Unlock()
	l.ring()
	return true
}

// Call runs f on the loop and waits for it. It must not be called from the loop itself.
func (l *Loop) Call(f func()) bool {
	done := make(chan struct{})
	if !l.Post(func() { defer close(done); f() }) {
		return false
	}
	<-done
	return true
}

// Stop ends Run after the present turn. It may be called from any goroutine, and more than once.
func (l *Loop) Stop() { l.Post(func() { l.stopping = true }) }

// shut closes what is open. Tasks parked on connections see them fail and end.
func (l *Loop) shut(cancelDials func()) {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.runMail()
	l.ended = true
	for t := range l.takers {
		t.stop()
	}
	for c := range l.conns {
		_ = c.Close()
	}
	for d := range l.datagrams {
		d.Close()
	}
	cancelDials()
	l.endTurn()
	l.io.Wait() // closed and cancelled as all is, they end
	l.runMail()
	l.endTurn()
	l.wheel.fireAll()
	l.endTurn()
	if l.alarm != nil {
		l.alarm.Stop()
	}
	for _, t := range l.free {
		t.stop()
	}
	l.free = nil
}

func (l *Loop) runMail() {
	l.takeMail()
	for i := range l.events {
		l.dispatch(&l.events[i])
	}
}

// errEnded is what a connection gets that comes too late for its loop.
func errEnded(err error) error { return fmt.Errorf("the event loop has ended: %w", err) }
