package loop

import (
	"errors"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A loop that has nothing to do does not sleep in epoll_wait, where Go's scheduler takes the processor from
// the thread and its monitor wakes every 20 us to look whether it should. It parks on Go's own poller
// instead, which watches the epoll instance: an epoll descriptor is readable when it has events (epoll(7)).
// docs/adr/0001 has the figures, and those of waiting with the processor in hand, which was worse.

// usePoller registers the epoll instance with Go's poller.
func (l *Loop) usePoller() error {
	if err := unix.SetNonblock(l.epoll, true); err != nil {
		return os.NewSyscallError("fcntl", err)
	}
	l.file = os.NewFile(uintptr(l.epoll), "epoll")
	wait, err := l.file.SyscallConn()
	if err != nil {
		return err
	}
	l.wait = wait
	l.ask = l.askNow
	return nil
}

// askNow takes the events there are, and reports whether there were any.
func (l *Loop) askNow(uintptr) bool {
	r, _, e := unix.RawSyscall6(unix.SYS_EPOLL_PWAIT, uintptr(l.epoll), uintptr(unsafe.Pointer(&l.events[0])), uintptr(len(l.events)), 0, 0, 0)
	l.got, l.asked = 0, nil
	switch e {
	case 0:
		l.got = int(r)
		return r > 0
	case unix.EINTR:
		return true
	}
	l.asked = e
	return true
}

// poll waits for events, at most until the next timer, and returns their number.
func (l *Loop) poll() (int, error) {
	l.arm()
	if err := l.wait.Read(l.ask); err != nil {
		l.armed = time.Time{}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			return 0, err
		}
		l.askNow(0)
		if err := l.file.SetReadDeadline(time.Time{}); err != nil {
			return 0, err
		}
	}
	return l.got, l.asked
}

// arm sees to it that the wait ends when the next timer is due. One that ends too early does no harm, so
// the deadline is moved only when it must come sooner.
func (l *Loop) arm() {
	next, ok := l.wheel.next()
	if !ok || !l.armed.IsZero() && !next.Before(l.armed) {
		return
	}
	l.armed = next
	// The descriptor is ours and pollable: this cannot fail.
	_ = l.file.SetReadDeadline(next)
}
