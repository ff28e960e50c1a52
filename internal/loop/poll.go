//go:build linux && !weft_goroutines

package loop

import (
	"runtime"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A loop of a process that exists for its loops may wait with Go's processor in hand (OwnProcessor), in a raw
// system call of which the scheduler knows nothing: under load the next event is some microseconds away, and
// giving the processor back and taking it again costs more than the wait. When nothing has come for a while
// the wait is one that the scheduler knows. docs/adr/0001 has the figures of this and of four other ways.
//
// The runtime can have the processor back at any time: the signal by which it asks interrupts the raw call.

const (
	// handWait is how long a loop waits with the processor in hand: longer than a tick of the kernel, so that it
	// arms no timer of its own; shorter than the 10 ms after which the runtime wants the processor back.
	handWait = 8 * time.Millisecond
	// share is how long a loop under load keeps the processor before it asks whether others want it. Were it
	// longer, the runtime would ask by a signal, which costs more and falls into the middle of a turn.
	share = 5 * time.Millisecond
)

// OwnProcessor lets the loop keep its processor for up to 8 ms while nothing happens. It is for processes
// that do little beside: where other goroutines need the processors, they would wait for them. Call it
// before Run.
func (l *Loop) OwnProcessor() { l.inHand = true }

// poll waits for events, at most until the next timer, and returns their number. None is no error.
func (l *Loop) poll() (int, error) {
	if l.inHand && l.now.Sub(l.shared) > share {
		l.shared = l.now
		runtime.Gosched()
	}
	wait := l.untilTimer()
	if l.inHand && (wait < 0 || wait > handWait) {
		n, err := l.waitInHand(handWait)
		if n > 0 || err != nil {
			return n, err
		}
		wait = l.untilTimer()
	}
	n, err := unix.EpollWait(l.epoll, l.events[:], milliseconds(wait))
	if err == unix.EINTR {
		return 0, nil
	}
	return n, err
}

// untilTimer returns the time until the next timer is due; negative when there is none.
func (l *Loop) untilTimer() time.Duration {
	next, ok := l.wheel.next()
	if !ok {
		return -1
	}
	return max(0, time.Until(next))
}

// milliseconds rounds up: a wait that ended just before a timer would turn the loop for nothing.
func milliseconds(d time.Duration) int {
	if d < 0 {
		return -1
	}
	return int((d + time.Millisecond - 1) / time.Millisecond)
}

// waitInHand is epoll_wait behind the scheduler's back.
func (l *Loop) waitInHand(most time.Duration) (int, error) {
	r, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll),
		uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), uintptr(milliseconds(most)), 0, 0)
	switch e {
	case 0:
		return int(r), nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, e
}
