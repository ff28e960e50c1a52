//go:build unix && (!linux || weft_goroutines)

package loop

import (
	"os"
	"syscall"

	"golang.org/x/sys/unix"
)

// attempt is a write that takes what the system takes at once. Its function is made once: it escapes.
type attempt struct {
	b   []byte
	n   int
	err error
	f   func(fd uintptr) bool
}

func (a *attempt) init() {
	a.f = func(fd uintptr) bool {
		a.n, a.err = unix.Write(int(fd), a.b)
		return true
	}
}

// write returns the number of bytes written; fewer than len(b) without an error means: not writable now.
func (a *attempt) write(raw syscall.RawConn, b []byte) (int, error) {
	a.b = b
	err := raw.Write(a.f)
	a.b = nil
	switch {
	case err != nil:
		return 0, err
	case a.err == unix.EAGAIN || a.err == unix.EINTR:
		return 0, nil
	case a.err != nil:
		return 0, os.NewSyscallError("write", a.err)
	}
	return a.n, nil
}
