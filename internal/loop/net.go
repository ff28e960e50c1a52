//go:build linux && !weft_goroutines

package loop

import (
	"fmt"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Listener is a listening socket that several loops may accept from.
type Listener struct {
	fd   int
	addr netip.AddrPort
}

// Listen binds and listens. Port 0 takes a free one: see Addr.
func Listen(addr netip.AddrPort) (*Listener, error) {
	family, sa := family(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listen %v: %w", addr, err)
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen %v: %w", addr, err)
	}
	if err := unix.Listen(fd, 4096); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("listen %v: %w", addr, err)
	}
	return &Listener{fd: fd, addr: sockaddr(unix.Getsockname(fd))}, nil
}

// Addr returns the address it listens on.
func (ln *Listener) Addr() netip.AddrPort { return ln.addr }

// Close closes the socket. The loops that accept from it must have been told first (the function that Accept returns).
func (ln *Listener) Close() error { return os.NewSyscallError("close", unix.Close(ln.fd)) }

// acceptBatch bounds how many connections one event may bring, so that a flood of them does not starve the rest.
const acceptBatch = 64

// Accept hands new connections to f, on the loop and outside any task. Several loops may accept from one
// listener; each connection goes to one. The function returned stops it.
func (l *Loop) Accept(ln *Listener, f func(*Conn)) (stop func(), err error) {
	fd, err := unix.FcntlInt(uintptr(ln.fd), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("listen %v: %w", ln.addr, err)
	}
	// Level-triggered: what a batch leaves is reported again.
	c, err := l.add(fd, unix.EPOLLIN|unix.EPOLLEXCLUSIVE)
	if err != nil {
		unix.Close(fd)
		return nil, err
	}
	c.accept = func() {
		for range acceptBatch {
			nfd, _, err := unix.Accept4(fd, unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC)
			if err != nil {
				switch err {
				case unix.EMFILE, unix.ENFILE, unix.ENOBUFS, unix.ENOMEM:
					l.pauseAccept(c)
				}
				return
			}
			_ = unix.SetsockoptInt(nfd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
			nc, err := l.add(nfd, streamEvents)
			if err != nil {
				unix.Close(nfd)
				return
			}
			f(nc)
		}
	}
	return func() {
		if !c.closed {
			// The listener's other descriptors keep the registration alive beyond this one's end (epoll(7)).
			c.unwatch()
			_ = c.Close()
		}
	}, nil
}

// pauseAccept keeps a listener quiet for a moment when descriptors have run out: level-triggered, it would
// otherwise wake the loop without end.
func (l *Loop) pauseAccept(c *Conn) {
	const pause = 100 * time.Millisecond
	// EPOLLEXCLUSIVE cannot be modified: take it out and put it back.
	c.unwatch()
	l.AfterFunc(&c.readTimer, pause, func() {
		if !c.closed {
			_ = c.watch(unix.EPOLLIN | unix.EPOLLEXCLUSIVE)
		}
	})
}

// Dial connects to addr, parking the current task until it stands, fails, or timeout has passed.
func (l *Loop) Dial(addr netip.AddrPort, timeout time.Duration) (*Conn, error) {
	family, sa := family(addr)
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect %v: %w", addr, err)
	}
	_ = unix.SetsockoptInt(fd, unix.IPPROTO_TCP, unix.TCP_NODELAY, 1)
	err = unix.Connect(fd, sa)
	if err != nil && err != unix.EINPROGRESS {
		unix.Close(fd)
		return nil, fmt.Errorf("connect %v: %w", addr, err)
	}
	c, addErr := l.add(fd, streamEvents)
	if addErr != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect %v: %w", addr, addErr)
	}
	if err == nil {
		return c, nil
	}
	c.writable = false
	_ = c.SetWriteDeadline(l.now.Add(timeout))
	for !c.writable {
		if err := c.waitWritable(); err != nil {
			_ = c.Close()
			return nil, fmt.Errorf("connect %v: no answer within %v: %w", addr, timeout, err)
		}
	}
	_ = c.SetWriteDeadline(time.Time{})
	if c.closed {
		return nil, fmt.Errorf("connect %v: %w", addr, os.ErrClosed)
	}
	if code, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR); err != nil || code != 0 {
		_ = c.Close()
		if err == nil {
			err = unix.Errno(code)
		}
		return nil, fmt.Errorf("connect %v: %w", addr, err)
	}
	return c, nil
}

func family(addr netip.AddrPort) (int, unix.Sockaddr) {
	if a := addr.Addr().Unmap(); a.Is4() {
		return unix.AF_INET, &unix.SockaddrInet4{Port: int(addr.Port()), Addr: a.As4()}
	}
	return unix.AF_INET6, &unix.SockaddrInet6{Port: int(addr.Port()), Addr: addr.Addr().As16()}
}

// KeepAlive has the kernel find out that a silent peer is gone: probes after 60 s, every 15 s, 4 of them.
func (c *Conn) KeepAlive() { c.KeepAliveWith(60*time.Second, 15*time.Second, 4) }

// KeepAliveWith is KeepAlive with other figures, of whole seconds; those that are 0 are the system's.
func (c *Conn) KeepAliveWith(idle, interval time.Duration, probes int) {
	for _, o := range [...]struct{ level, name, value int }{
		{unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, int(idle / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, int(interval / time.Second)},
		{unix.IPPROTO_TCP, unix.TCP_KEEPCNT, probes},
	} {
		if o.value > 0 {
			_ = unix.SetsockoptInt(c.fd, o.level, o.name, o.value) // best effort
		}
	}
}
