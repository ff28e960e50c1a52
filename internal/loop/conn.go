//go:build linux && !weft_goroutines

package loop

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Conn is a non-blocking stream socket of one loop. Read and Write park the current task where they would
// block; at most one task may be in each at a time.
type Conn struct {
	loop *Loop
	fd   int
	mark int32 // comes back with each event; see Loop.dispatch

	// Readiness as far as it is known: cleared by a short read or write, set by an event. It spares the
	// system call that is bound to fail (edge-triggered epoll reports every change after that).
	readable, writable bool
	ended              bool // the peer's end is in the socket, behind what is still to be read
	hangup             bool // the peer closed both ways, or the connection broke
	closed             bool

	reader, writer *Task
	idle           func() // run as a task when the connection becomes readable; see OnReadable
	accept         func() // listeners only

	// Deferred writing, for a writer that must not park (see SetDeferred).
	deferred bool
	shutdown bool // CloseWrite waits for the backlog
	backlog  []byte
	drained  func()

	readTimer, writeTimer Timer
	readLate, writeLate   bool
	onHangup              func()
}

var _ net.Conn = (*Conn)(nil)

// add adopts a non-blocking descriptor.
func (l *Loop) add(fd int, events uint32) (*Conn, error) {
	if l.ended {
		return nil, fmt.Errorf("the event loop has ended: %w", net.ErrClosed)
	}
	l.marks++
	c := &Conn{loop: l, fd: fd, mark: l.marks, writable: true}
	for len(l.conns) <= fd {
		l.conns = append(l.conns, make([]*Conn, max(64, len(l.conns)))...)
	}
	if err := c.watch(events); err != nil {
		return nil, fmt.Errorf("epoll_ctl: %w", err)
	}
	l.conns[fd] = c
	return c, nil
}

// watch has epoll tell of events.
func (c *Conn) watch(events uint32) error {
	ev := unix.EpollEvent{Events: events, Fd: int32(c.fd), Pad: c.mark}
	return unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_ADD, c.fd, &ev)
}

// unwatch ends what watch began.
func (c *Conn) unwatch() {
	var ev unix.EpollEvent // ignored, but old kernels want one
	_ = unix.EpollCtl(c.loop.epoll, unix.EPOLL_CTL_DEL, c.fd, &ev)
}

const streamEvents = unix.EPOLLIN | unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET

// event takes note of what epoll said and lets those concerned go on.
func (c *Conn) event(ev uint32) {
	if c.accept != nil {
		c.accept()
		return
	}
	if ev&(unix.EPOLLHUP|unix.EPOLLERR) != 0 {
		c.hangup = true
		c.readable, c.writable = true, true
	}
	c.ended = c.ended || ev&unix.EPOLLRDHUP != 0
	c.readable = c.readable || ev&(unix.EPOLLIN|unix.EPOLLRDHUP) != 0
	if ev&unix.EPOLLOUT != 0 && !c.writable {
		c.writable = true
	}
	if c.writable && len(c.backlog) > 0 {
		c.sendBacklog()
	}
	if c.writable {
		c.loop.Wake(c.writer)
	}
	if !c.readable {
		return
	}
	switch {
	case c.reader != nil:
		c.loop.Wake(c.reader)
	case c.idle != nil:
		f := c.idle
		c.idle = nil
		c.loop.Go(f)
	case c.hangup && c.onHangup != nil:
		f := c.onHangup
		c.onHangup = nil
		f()
	}
}

// OnReadable runs f as a task when there is something to read (bytes, end or error). It holds for one time,
// and costs no task and no buffer meanwhile. If there is something already, f runs in this turn.
func (c *Conn) OnReadable(f func()) {
	if c.readable || c.closed {
		c.loop.Go(f)
		return
	}
	c.idle = f
}

// CancelReadable takes back OnReadable and reports whether f will not run.
func (c *Conn) CancelReadable() bool {
	had := c.idle != nil
	c.idle = nil
	return had
}

// OnHangup runs f on the loop, once, if the connection breaks while nobody reads it, or has broken already.
// nil takes it back.
func (c *Conn) OnHangup(f func()) {
	c.onHangup = f
	if f == nil || !c.hangup || c.closed {
		return
	}
	c.loop.Go(func() { // no event will tell again
		if f := c.onHangup; f != nil {
			c.onHangup = nil
			f()
		}
	})
}

// Readable reports whether a Read is worth trying.
func (c *Conn) Readable() bool { return c.readable }

// Broken reports whether the peer is known to be gone both ways.
func (c *Conn) Broken() bool { return c.hangup || c.closed }

// Read reads at least one byte, or returns io.EOF at the peer's half-close.
func (c *Conn) Read(b []byte) (int, error) {
	if len(b) == 0 {
		return 0, nil
	}
	for {
		if err := c.WaitReadable(); err != nil {
			return 0, err
		}
		if c.closed {
			return 0, net.ErrClosed
		}
		// recvfrom is the shorter way through the kernel than read.
		r, _, e := unix.RawSyscall6(unix.SYS_RECVFROM, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), 0, 0, 0)
		switch n := int(r); {
		case e == unix.EAGAIN:
			c.readable = false
		case e == unix.EINTR:
		case e != 0:
			return 0, os.NewSyscallError("read", e)
		case n == 0:
			return 0, io.EOF
		default:
			// A short read has emptied the socket; but an end that was seen before is still to be read, and
			// no event will tell of it again.
			c.readable = n == len(b) || c.ended || c.hangup
			return n, nil
		}
	}
}

// Write writes all of b.
func (c *Conn) Write(b []byte) (int, error) {
	sent := 0
	for sent < len(b) {
		if c.closed {
			return sent, net.ErrClosed
		}
		if !c.writable || len(c.backlog) > 0 {
			if c.deferred {
				c.backlog = append(c.backlog, b[sent:]...)
				return len(b), nil
			}
			if err := c.waitWritable(); err != nil {
				return sent, err
			}
			continue
		}
		n, err := c.write(b[sent:])
		if err != nil {
			return sent, err
		}
		sent += n
	}
	return sent, nil
}

// write is one system call; n == 0 without error means: not writable now.
func (c *Conn) write(b []byte) (int, error) {
	r, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(c.fd), uintptr(unsafe.Pointer(&b[0])), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	switch e {
	case 0:
		if int(r) < len(b) {
			c.writable = false
		}
		return int(r), nil
	case unix.EAGAIN:
		c.writable = false
		return 0, nil
	case unix.EINTR:
		return 0, nil
	}
	return 0, os.NewSyscallError("write", e)
}

func (c *Conn) waitWritable() error {
	if c.writeLate {
		return os.ErrDeadlineExceeded
	}
	c.writer = c.loop.current
	c.loop.Park()
	c.writer = nil
	return nil
}

// Writev writes a and then b, in one system call if it can.
func (c *Conn) Writev(a, b []byte) error {
	if len(a) == 0 || len(b) == 0 || !c.writable || c.deferred || c.closed {
		if _, err := c.Write(a); err != nil {
			return err
		}
		_, err := c.Write(b)
		return err
	}
	iov := [2]unix.Iovec{{Base: &a[0]}, {Base: &b[0]}}
	iov[0].SetLen(len(a))
	iov[1].SetLen(len(b))
	r, _, e := unix.RawSyscall(unix.SYS_WRITEV, uintptr(c.fd), uintptr(unsafe.Pointer(&iov[0])), 2)
	n := int(r)
	switch e {
	case 0:
	case unix.EAGAIN, unix.EINTR:
		n = 0
		c.writable = e == unix.EINTR
	default:
		return os.NewSyscallError("writev", e)
	}
	if n == len(a)+len(b) {
		return nil
	}
	if e == 0 {
		c.writable = false
	}
	if n < len(a) {
		if _, err := c.Write(a[n:]); err != nil {
			return err
		}
		n = len(a)
	}
	_, err := c.Write(b[n-len(a):])
	return err
}

// SetDeferred makes Write never park: what the socket does not take is kept and sent when it does, after
// which drained runs on the loop. The writer looks at Backlog before it writes more.
func (c *Conn) SetDeferred(drained func()) { c.deferred, c.drained = true, drained }

// Drain parks the current task until what a deferred Write has kept back is sent.
func (c *Conn) Drain() error {
	for len(c.backlog) > 0 {
		if err := c.waitWritable(); err != nil {
			return err
		}
	}
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// Backlog returns the number of bytes a deferred Write has kept back.
func (c *Conn) Backlog() int { return len(c.backlog) }

func (c *Conn) sendBacklog() {
	for c.writable && len(c.backlog) > 0 && !c.closed {
		n, err := c.write(c.backlog)
		if err != nil {
			// The reader learns of the broken connection; there is nobody to tell here.
			c.backlog = nil
			return
		}
		c.backlog = c.backlog[n:]
	}
	if len(c.backlog) == 0 {
		c.backlog = nil
		if c.shutdown && !c.closed {
			_ = unix.Shutdown(c.fd, unix.SHUT_WR)
		}
		if c.drained != nil {
			c.drained()
		}
	}
}

// CloseWrite sends the end of the stream, after what a deferred Write has kept back, and leaves reading open.
func (c *Conn) CloseWrite() error {
	if c.closed {
		return net.ErrClosed
	}
	if c.shutdown = true; len(c.backlog) > 0 {
		return nil
	}
	return os.NewSyscallError("shutdown", unix.Shutdown(c.fd, unix.SHUT_WR))
}

// Abort closes with a reset, so that the peer sees an error and not an end.
func (c *Conn) Abort() {
	if !c.closed {
		_ = unix.SetsockoptLinger(c.fd, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1, Linger: 0})
		_ = c.Close()
	}
}

// Close closes the connection. Tasks parked in it are woken and get net.ErrClosed. Closing twice is harmless.
func (c *Conn) Close() error {
	if c.closed {
		return nil
	}
	c.closed, c.readable, c.writable = true, true, true
	c.loop.conns[c.fd] = nil
	c.readTimer.Stop()
	c.writeTimer.Stop()
	err := unix.Close(c.fd)
	c.loop.Wake(c.reader)
	c.loop.Wake(c.writer)
	if f := c.idle; f != nil {
		c.idle = nil
		c.loop.Go(f)
	}
	c.onHangup, c.backlog = nil, nil
	return os.NewSyscallError("close", err)
}

// Loop returns the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.loop }

// FD returns the descriptor, for socket options.
func (c *Conn) FD() int { return c.fd }

// Remote returns the peer's address, or the zero AddrPort if it has none.
func (c *Conn) Remote() netip.AddrPort { return sockaddr(unix.Getpeername(c.fd)) }

// Local returns the local address, or the zero AddrPort if it has none.
func (c *Conn) Local() netip.AddrPort { return sockaddr(unix.Getsockname(c.fd)) }

// LocalAddr is Local for net.Conn.
func (c *Conn) LocalAddr() net.Addr { return net.TCPAddrFromAddrPort(c.Local()) }

// RemoteAddr is Remote for net.Conn.
func (c *Conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(c.Remote()) }

// SetDeadline is SetReadDeadline and SetWriteDeadline.
func (c *Conn) SetDeadline(t time.Time) error {
	return errors.Join(c.SetReadDeadline(t), c.SetWriteDeadline(t))
}

// SetReadDeadline makes reads that wait beyond t fail with os.ErrDeadlineExceeded, to within a Tick.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.readLate = false
	c.setDeadline(&c.readTimer, t, func() { c.readLate = true; c.loop.Wake(c.reader) })
	return nil
}

// SetWriteDeadline makes writes that wait beyond t fail with os.ErrDeadlineExceeded, to within a Tick.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.writeLate = false
	c.setDeadline(&c.writeTimer, t, func() { c.writeLate = true; c.loop.Wake(c.writer) })
	return nil
}

func (c *Conn) setDeadline(timer *Timer, t time.Time, late func()) {
	timer.Stop()
	switch {
	case t.IsZero():
	case !t.After(c.loop.now):
		late()
	default:
		c.loop.AfterFunc(timer, t.Sub(c.loop.now), late)
	}
}

// sockaddr turns a system socket address into a netip one; errors and other families give the zero value.
func sockaddr(sa unix.Sockaddr, err error) netip.AddrPort {
	if err != nil {
		return netip.AddrPort{}
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// WaitReadable parks the current task until a Read is worth trying.
func (c *Conn) WaitReadable() error {
	for !c.readable {
		if c.readLate {
			return os.ErrDeadlineExceeded
		}
		c.reader = c.loop.current
		c.loop.Park()
		c.reader = nil
	}
	return nil
}
