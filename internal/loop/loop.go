//go:build linux && !weft_goroutines

package loop

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Loop is one event loop. Make it with New, run it with Run.
type Loop struct {
	epoll    int
	inHand   bool      // see OwnProcessor
	shared   time.Time // when the processor was last offered to others
	wake     int       // eventfd: somebody posted
	conns    []*Conn
	events   [256]unix.EpollEvent
	current  *Task
	ready    []*Task
	free     []*Task
	dirty    []Flusher
	wheel    wheel
	now      time.Time
	buffers  [bufferClasses][][]byte
	incoming *incoming // nil until there is a UDP socket

	mu     sync.Mutex
	posted []func()
	closed bool

	marks    int32 // given to connections
	stopping bool
	ended    bool // Run has closed what was open: nothing new
}

// Flusher is told at the end of a turn in which it asked for it by OnFlush.
type Flusher interface {
	// Flush runs on the loop, outside any task: it must not park.
	Flush()
}

// New makes a loop. Close it by running it to its end; a loop that never runs leaks two descriptors.
func New() (*Loop, error) {
	epoll, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("epoll_create1: %w", err)
	}
	wake, err := unix.Eventfd(0, unix.EFD_NONBLOCK|unix.EFD_CLOEXEC)
	if err != nil {
		unix.Close(epoll)
		return nil, fmt.Errorf("eventfd: %w", err)
	}
	event := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(wake)}
	if err := unix.EpollCtl(epoll, unix.EPOLL_CTL_ADD, wake, &event); err != nil {
		unix.Close(epoll)
		unix.Close(wake)
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	now := time.Now()
	l := &Loop{epoll: epoll, wake: wake, now: now}
	l.wheel.init()
	return l, nil
}

// Run turns the loop until ctx ends or Stop, then closes every connection and returns.
func (l *Loop) Run(ctx context.Context) error {
	defer context.AfterFunc(ctx, l.Stop)()
	defer l.shut()
	for !l.stopping {
		n, err := l.poll()
		if err != nil {
			return fmt.Errorf("epoll_wait: %w", err)
		}
		l.now = time.Now()
		for i := range n {
			l.dispatch(&l.events[i])
		}
		l.wheel.advance(l.now)
		l.endTurn()
	}
	return nil
}

func (l *Loop) dispatch(ev *unix.EpollEvent) {
	if int(ev.Fd) == l.wake {
		l.takePosted()
		return
	}
	if int(ev.Fd) < len(l.conns) {
		// A connection closed in this turn may have left its number to another: the mark tells them apart.
		if c := l.conns[ev.Fd]; c != nil && c.mark == ev.Pad {
			c.event(ev.Events)
		}
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
	defer l.mu.Unlock()
	if l.closed {
		return false
	}
	l.posted = append(l.posted, f)
	if len(l.posted) == 1 {
		one := [8]byte{1}
		// The counter cannot overflow: it is written once for each time it is read.
		_, _ = unix.Write(l.wake, one[:])
	}
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

func (l *Loop) takePosted() {
	var buf [8]byte
	_, _ = unix.Read(l.wake, buf[:])
	l.mu.Lock()
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
}

// shut closes what is open. Tasks parked on connections see them fail and end.
func (l *Loop) shut() {
	l.mu.Lock()
	l.closed = true
	posted := l.posted
	l.posted = nil
	l.mu.Unlock()
	for _, f := range posted {
		f()
	}
	l.ended = true
	for _, c := range l.conns {
		if c != nil {
			_ = c.Close()
		}
	}
	l.endTurn()
	l.wheel.fireAll()
	l.endTurn()
	for _, t := range l.free {
		t.stop()
	}
	l.free = nil
	unix.Close(l.wake)
	unix.Close(l.epoll)
}
