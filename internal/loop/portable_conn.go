//go:build !linux || weft_goroutines

package loop

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"time"
)

// Conn is a stream connection of one loop. Read and Write park the current task where they would block; at
// most one task may be in each at a time.
//
// One goroutine reads ahead, one buffer at a time, so a connection costs that goroutine and the buffer. It
// does not read on before the buffer is used up, and so learns only then that the connection broke.
type Conn struct {
	loop *Loop
	nc   net.Conn
	raw  syscall.RawConn // nil: writes cannot be tried without blocking
	fd   int             // -1: none

	// Reading: the reader goroutine has a buffer until it delivers it, and gets the next by more.
	buf     []byte
	in      []byte // what buf holds that is not yet taken
	full    bool   // buf was filled: there is more than it holds
	readErr error  // behind in
	more    chan []byte

	readable bool // in or readErr has something
	hangup   bool // the connection broke
	closed   bool

	reader, writer *Task
	idle           func() // run as a task when the connection becomes readable; see OnReadable

	// Writing: see portable_write.go.
	sends       sync.WaitGroup // at most one
	sending     bool
	sendingSize int // of deferred bytes
	sent        int // by the last send
	sendErr     error
	interrupted bool
	try         attempt
	deferred    bool
	shutdown    bool // CloseWrite waits for the backlog
	backlog     []byte
	drained     func()

	readTimer, writeTimer Timer
	readLate, writeLate   bool
	onHangup              func()
}

var _ net.Conn = (*Conn)(nil)

// adopt makes nc a connection of the loop. It must run on the loop.
func (l *Loop) adopt(nc net.Conn) (*Conn, error) {
	if l.ended {
		return nil, errEnded(net.ErrClosed)
	}
	c := &Conn{loop: l, nc: nc, fd: -1, more: make(chan []byte, 1)}
	if s, ok := nc.(syscall.Conn); ok {
		if raw, err := s.SyscallConn(); err == nil {
			_ = raw.Control(func(fd uintptr) { c.fd = int(fd) })
			c.raw = raw
			c.try.init()
		}
	}
	l.conns[c] = struct{}{}
	c.more <- l.Get(SmallBuffer)
	l.io.Go(c.readAhead)
	return c, nil
}

// readAhead reads until the connection fails or is closed.
func (c *Conn) readAhead() {
	for buf := range c.more {
		n, err := c.nc.Read(buf)
		c.loop.deliver(event{conn: c, buf: buf, n: n, err: err})
		if err != nil {
			return
		}
	}
}

// arrived takes what the reader goroutine has read.
func (c *Conn) arrived(buf []byte, n int, err error) {
	if c.closed {
		c.loop.Put(buf)
		return
	}
	if n == 0 && err == nil {
		c.more <- buf
		return
	}
	c.buf, c.in, c.readErr, c.full = buf, buf[:n], err, n == len(buf)
	c.hangup = c.hangup || err != nil && err != io.EOF
	c.readable = true
	c.tell()
}

// readOn gives the reader goroutine its next buffer: a large one only while there is much to read, so that an
// idle connection holds a small one.
func (c *Conn) readOn() {
	next := SmallBuffer
	if c.full {
		next = LargeBuffer
	}
	if len(c.buf) != next {
		c.loop.Put(c.buf)
		c.buf = c.loop.Get(next)
	}
	c.more <- c.buf // has room: one for each delivery
	c.buf, c.in, c.readable = nil, nil, false
}

// tell lets those go on who wait for something to read or for the end.
func (c *Conn) tell() {
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

// OnReadable runs f as a task when there is something to read (bytes, end or error). It holds for one time.
// If there is something already, f runs in this turn.
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
	c.loop.Go(func() { // nothing will tell again
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
	if err := c.WaitReadable(); err != nil {
		return 0, err
	}
	if c.closed {
		return 0, net.ErrClosed
	}
	n := copy(b, c.in)
	c.in = c.in[n:]
	switch {
	case len(c.in) > 0 || n > 0 && c.readErr != nil:
	case n > 0:
		c.readOn()
	default:
		return 0, c.readErr
	}
	return n, nil
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

// Abort closes with a reset where the network knows one, so that the peer sees an error and not an end.
func (c *Conn) Abort() {
	if c.closed {
		return
	}
	if s, ok := c.nc.(interface{ SetLinger(sec int) error }); ok {
		_ = s.SetLinger(0)
	}
	c.backlog = nil
	_ = c.Close()
}

// Close closes the connection. Tasks parked in it are woken and get net.ErrClosed. Closing twice is harmless.
func (c *Conn) Close() error {
	if c.closed {
		return nil
	}
	c.closed, c.readable = true, true
	delete(c.loop.conns, c)
	c.readTimer.Stop()
	c.writeTimer.Stop()
	close(c.more)
	err := c.release()
	c.loop.Wake(c.reader)
	c.loop.Wake(c.writer)
	if f := c.idle; f != nil {
		c.idle = nil
		c.loop.Go(f)
	}
	c.loop.Put(c.buf)
	c.onHangup, c.backlog, c.buf, c.in = nil, nil, nil, nil
	return err
}

// Loop returns the loop the connection belongs to.
func (c *Conn) Loop() *Loop { return c.loop }

// FD returns the descriptor, for socket options, or -1 if there is none.
func (c *Conn) FD() int { return c.fd }

// Remote returns the peer's address, or the zero AddrPort if it has none.
func (c *Conn) Remote() netip.AddrPort { return addrPort(c.nc.RemoteAddr()) }

// Local returns the local address, or the zero AddrPort if it has none.
func (c *Conn) Local() netip.AddrPort { return addrPort(c.nc.LocalAddr()) }

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
	c.setDeadline(&c.writeTimer, t, func() { c.writeLate = true; c.interrupt(); c.loop.Wake(c.writer) })
	return nil
}

func (c *Conn) setDeadline(timer *Timer, t time.Time, late func()) {
	timer.Stop()
	switch {
	case t.IsZero():
	case c.closed:
	case !t.After(c.loop.now):
		late()
	default:
		c.loop.AfterFunc(timer, t.Sub(c.loop.now), late)
	}
}

// addrPort is a, if it is an address with a port.
func addrPort(a net.Addr) netip.AddrPort {
	if a, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := a.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	return netip.AddrPort{}
}
