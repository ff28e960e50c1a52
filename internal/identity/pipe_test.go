package identity_test

import (
	"io"
	"net"
	"sync"
	"time"
)

// bufConn is one end of an in-memory connection whose writes do not wait for the reader, as a socket's do not
// and net.Pipe's do: TLS 1.3 has both sides writing at once after the handshake.
type bufConn struct {
	in, out *bufHalf
}

type bufHalf struct {
	mu     sync.Mutex
	cond   *sync.Cond
	data   []byte
	closed bool
}

func newHalf() *bufHalf {
	h := new(bufHalf)
	h.cond = sync.NewCond(&h.mu)
	return h
}

func bufPipe() (net.Conn, net.Conn) {
	a, b := newHalf(), newHalf()
	return &bufConn{a, b}, &bufConn{b, a}
}

func (c *bufConn) Read(b []byte) (int, error) {
	c.in.mu.Lock()
	defer c.in.mu.Unlock()
	for len(c.in.data) == 0 {
		if c.in.closed {
			return 0, io.EOF
		}
		c.in.cond.Wait()
	}
	n := copy(b, c.in.data)
	c.in.data = c.in.data[n:]
	return n, nil
}

func (c *bufConn) Write(b []byte) (int, error) {
	c.out.mu.Lock()
	defer c.out.mu.Unlock()
	if c.out.closed {
		return 0, io.ErrClosedPipe
	}
	c.out.data = append(c.out.data, b...)
	c.out.cond.Broadcast()
	return len(b), nil
}

func (c *bufConn) Close() error {
	for _, h := range []*bufHalf{c.in, c.out} {
		h.mu.Lock()
		h.closed = true
		h.cond.Broadcast()
		h.mu.Unlock()
	}
	return nil
}

func (c *bufConn) LocalAddr() net.Addr              { return pipeAddr{} }
func (c *bufConn) RemoteAddr() net.Addr             { return pipeAddr{} }
func (c *bufConn) SetDeadline(time.Time) error      { return nil }
func (c *bufConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bufConn) SetWriteDeadline(time.Time) error { return nil }
