//go:build !linux || weft_goroutines

package loop

import (
	"errors"
	"net"
	"os"
	"time"
)

// lastWords is how long a closed connection may take to send what a deferred Write has kept back, on
// networks where every write has to wait for its reader.
const lastWords = time.Second

// Write writes all of b. Outside a task it does not park: it is deferred (see SetDeferred).
func (c *Conn) Write(b []byte) (int, error) {
	if c.deferred || c.loop.current == nil {
		return c.deferWrite(b)
	}
	if err := c.Drain(); err != nil {
		return 0, err
	}
	n, err := c.tryWrite(b)
	if err != nil || n == len(b) {
		return n, err
	}
	more, err := c.waitSent(b[n:])
	return n + more, err
}

// Writev writes a and then b, in one system call if they are not large.
func (c *Conn) Writev(a, b []byte) error {
	if size := len(a) + len(b); len(a) > 0 && len(b) > 0 && size <= LargeBuffer {
		both := c.loop.Get(size)
		defer c.loop.Put(both)
		_, err := c.Write(both[:copy(both, a)+copy(both[len(a):], b)])
		return err
	}
	if _, err := c.Write(a); err != nil {
		return err
	}
	_, err := c.Write(b)
	return err
}

// tryWrite writes what the system takes without waiting, if the network is the system's.
func (c *Conn) tryWrite(b []byte) (int, error) {
	if c.closed {
		return 0, net.ErrClosed
	}
	if c.sendErr != nil {
		return 0, c.sendErr
	}
	if c.raw == nil || len(b) == 0 {
		return 0, nil
	}
	n, err := c.try.write(c.raw, b)
	if err != nil {
		c.broke(err)
	}
	return n, err
}

// waitSent has b written by a goroutine and parks the current task until it is done: the bytes are the
// goroutine's until then, whatever happens to the connection.
func (c *Conn) waitSent(b []byte) (int, error) {
	if c.writeLate {
		return 0, os.ErrDeadlineExceeded
	}
	c.send(b)
	for c.sending {
		c.writer = c.loop.current
		c.loop.Park()
		c.writer = nil
	}
	n, err := c.sent, c.sendErr
	switch {
	case n == len(b):
		return n, nil
	case c.closed:
		return n, net.ErrClosed
	case errors.Is(err, os.ErrDeadlineExceeded):
		c.sendErr = nil // it works on
		return n, os.ErrDeadlineExceeded
	}
	return n, err
}

// send starts a goroutine that writes b. There is at most one.
func (c *Conn) send(b []byte) {
	c.sending = true
	c.sends.Add(1)
	c.loop.io.Go(func() {
		n, err := c.nc.Write(b)
		c.sends.Done()
		c.loop.deliver(event{f: func() { c.wasSent(n, err) }})
	})
}

// wasSent takes the result of a send.
func (c *Conn) wasSent(n int, err error) {
	c.sending, c.sent = false, n
	if c.closed {
		c.loop.Wake(c.writer)
		return
	}
	if c.interrupted {
		c.interrupted = false
		_ = c.nc.SetWriteDeadline(time.Time{})
	}
	if err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
		c.broke(err)
	} else {
		c.sendErr = err
	}
	if c.sendingSize > 0 {
		c.sendingSize = 0
		c.sendBacklog()
	}
	c.loop.Wake(c.writer)
}

// broke notes that the connection takes no more writes. What the peer sent before is still to be read, and
// the reader goroutine tells of the end behind it; only when it has done so already there is nobody else to.
func (c *Conn) broke(err error) {
	c.sendErr, c.backlog = err, nil
	if c.readErr != nil && !c.hangup {
		c.hangup = true
		c.tell()
	}
}

// interrupt ends a parked Write whose time is over.
func (c *Conn) interrupt() {
	if c.sending && c.sendingSize == 0 {
		c.interrupted = true
		_ = c.nc.SetWriteDeadline(time.Unix(1, 0))
	}
}

// SetDeferred makes Write never park: what the socket does not take is kept and sent when it does, after
// which drained runs on the loop. The writer looks at Backlog before it writes more.
func (c *Conn) SetDeferred(drained func()) { c.deferred, c.drained = true, drained }

func (c *Conn) deferWrite(b []byte) (int, error) {
	n := 0
	if !c.sending && len(c.backlog) == 0 {
		var err error
		if n, err = c.tryWrite(b); err != nil || n == len(b) {
			return n, err
		}
	}
	switch {
	case c.closed:
		return n, net.ErrClosed
	case c.sendErr != nil:
		return n, c.sendErr
	}
	c.backlog = append(c.backlog, b[n:]...)
	if !c.sending {
		c.sendBacklog()
	}
	return len(b), nil
}

// sendBacklog goes on with what has been kept back, or with what waits for its end.
func (c *Conn) sendBacklog() {
	if b := c.backlog; len(b) > 0 {
		c.backlog, c.sendingSize = nil, len(b)
		c.send(b)
		return
	}
	if c.sendErr != nil {
		return // the reader learns of the broken connection; there is nobody to tell here
	}
	if c.shutdown {
		_ = c.closeWrite()
	}
	if c.drained != nil {
		c.drained()
	}
}

// Drain parks the current task until what a deferred Write has kept back is sent.
func (c *Conn) Drain() error {
	for c.Backlog() > 0 && !c.closed {
		if c.writeLate {
			return os.ErrDeadlineExceeded
		}
		c.writer = c.loop.current
		c.loop.Park()
		c.writer = nil
	}
	if c.closed {
		return net.ErrClosed
	}
	return nil
}

// Backlog returns the number of bytes a deferred Write has kept back.
func (c *Conn) Backlog() int { return len(c.backlog) + c.sendingSize }

// CloseWrite sends the end of the stream, after what a deferred Write has kept back, and leaves reading open.
func (c *Conn) CloseWrite() error {
	if c.closed {
		return net.ErrClosed
	}
	if c.shutdown = true; c.Backlog() > 0 {
		return nil
	}
	return c.closeWrite()
}

func (c *Conn) closeWrite() error {
	if s, ok := c.nc.(interface{ CloseWrite() error }); ok {
		return s.CloseWrite()
	}
	return errors.ErrUnsupported
}

// release closes the connection beneath. Where nothing buffers, what a deferred Write has kept back would be
// lost though a socket had taken it long ago: it gets a moment.
func (c *Conn) release() error {
	if c.raw != nil || c.Backlog() == 0 || c.loop.ended {
		return c.nc.Close()
	}
	rest := c.backlog
	_ = c.nc.SetWriteDeadline(time.Now().Add(lastWords))
	c.loop.io.Go(func() {
		defer c.nc.Close()
		c.sends.Wait()
		if len(rest) > 0 {
			_, _ = c.nc.Write(rest)
		}
	})
	return nil
}
