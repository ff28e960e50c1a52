package proxy

import (
	"errors"
	"io"
	"time"

	"github.com/weft-mesh/weft/internal/h1"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/message"
)

var (
	errStopped = errors.New("no longer wanted")
	// errUnwritable is a head that HTTP/1.1 cannot carry safely; the codec has written nothing.
	errUnwritable = &h1.Error{Status: 400, Reason: "the head cannot be written as HTTP/1.1"}
	errTruncated  = errors.New("the connection ended in the middle of a message")
)

// h1conn is one HTTP/1.1 connection, a server's or a client's. It is a stream, once for each exchange.
// Between exchanges it holds no buffer.
type h1conn struct {
	loop   *loop.Loop
	raw    *loop.Conn
	tls    *secured // nil when plain
	lease  lease    // client only
	client bool

	buf  []byte // from the loop; buf[r:w] is unread
	r, w int
	out  []byte // written, not yet sent; from the loop

	head     message.Head
	in       h1.Framing
	left     int64 // of a body of known length
	chunks   h1.ChunkReader
	recvDone bool
	stopped  bool

	method   string // of the request, which decides how its response is framed
	protocol string // server: the switch the request asked for
	sending  h1.BodyKind
	sendDone bool
	close    bool // the connection ends with this exchange
	failed   bool

	finished func(*h1conn) // client: back to the pool, or closed
}

var limits = h1.DefaultLimits()

// headTimeout bounds the wait for the rest of a head.
const headTimeout = 10 * time.Second

func (c *h1conn) HTTP2() bool { return false }

// begin makes the connection ready for the next exchange.
func (c *h1conn) begin() {
	c.head.Reset()
	c.in, c.left = h1.Framing{}, 0
	c.recvDone, c.stopped, c.sendDone, c.close, c.failed = false, false, false, false, false
	c.method, c.protocol = "", ""
}

// rest gives the buffers back; there must be nothing unread.
func (c *h1conn) rest() {
	if c.buf != nil {
		c.loop.Put(c.buf)
		c.buf, c.r, c.w = nil, 0, 0
	}
	if c.out != nil {
		c.loop.Put(c.out)
		c.out = nil
	}
}

// fill reads more bytes behind those unread.
func (c *h1conn) fill() error {
	switch {
	case c.buf == nil:
		c.buf = c.loop.Get(loop.SmallBuffer)
	case c.r == c.w:
		c.r, c.w = 0, 0
		if c.left > loop.SmallBuffer && len(c.buf) == loop.SmallBuffer {
			c.loop.Put(c.buf)
			c.buf = c.loop.Get(loop.LargeBuffer)
		}
	case c.w < len(c.buf):
	case c.r > 0:
		c.w = copy(c.buf, c.buf[c.r:c.w])
		c.r = 0
	case len(c.buf) < loop.LargeBuffer:
		large := c.loop.Get(loop.LargeBuffer)
		c.w = copy(large, c.buf[:c.w])
		c.loop.Put(c.buf)
		c.buf = large
	default:
		return &h1.Error{Status: 431, Reason: "head larger than 64 KiB"}
	}
	n, err := c.read(c.buf[c.w:])
	c.w += n
	if n > 0 {
		return nil
	}
	if c.stopped {
		return errStopped
	}
	return err
}

func (c *h1conn) read(p []byte) (int, error) {
	if c.tls != nil {
		return c.tls.Read(p)
	}
	return c.raw.Read(p)
}

// pending reports whether something may have come in that is not in the buffer.
func (c *h1conn) pending() bool {
	if c.tls != nil {
		return c.tls.Pending()
	}
	return c.raw.Readable()
}

// Head reads the head of the next message: a request, or a response to what SendHead sent.
func (c *h1conn) Head() (*message.Head, error) {
	var late time.Time // when a head that has begun must be whole
	for {
		if c.r < c.w {
			n, err := c.parse(c.buf[c.r:c.w])
			if err != nil {
				c.close = true
				return nil, err
			}
			if n > 0 {
				c.r += n
				c.headDone()
				return &c.head, nil
			}
		}
		partial := c.r < c.w
		if partial && !c.client {
			// Slow heads hold a task and a buffer: bounded in time from their first byte.
			if late.IsZero() {
				late = c.loop.Now().Add(headTimeout)
			}
			_ = c.raw.SetReadDeadline(late)
		}
		err := c.fill()
		if partial && !c.client {
			_ = c.raw.SetReadDeadline(time.Time{})
		}
		if err != nil {
			if err == io.EOF && partial {
				err = errTruncated
			}
			return nil, err
		}
	}
}

func (c *h1conn) Answered() bool { return c.r < c.w || c.pending() }

func (c *h1conn) parse(b []byte) (n int, err error) {
	c.head.Reset()
	if c.client {
		n, c.in, err = h1.ParseResponse(b, c.method, &c.head, limits)
	} else {
		n, c.in, err = h1.ParseRequest(b, &c.head, limits)
	}
	return n, err
}

// headDone sets up what follows the head.
func (c *h1conn) headDone() {
	if !c.client {
		c.method, c.protocol = c.head.Method, c.head.Protocol
	}
	informational := c.client && c.head.Status < 200 && c.head.Status != 101
	if informational {
		return
	}
	c.close = c.close || !c.in.KeepAlive
	c.left = 0
	switch c.in.Body {
	case h1.NoBody:
		c.recvDone = true
	case h1.Length:
		c.left = c.in.Length
		c.recvDone = c.left == 0
	case h1.Chunked:
		c.chunks.Reset()
	case h1.Tunnel, h1.UntilClose:
		c.close = true
	}
}

// tunnel turns the rest of the connection into bytes without framing, both ways.
func (c *h1conn) tunnel() {
	c.in.Body, c.sending = h1.Tunnel, h1.Tunnel
	c.recvDone, c.close = false, true
}

func (c *h1conn) Data() ([]byte, error) {
	for !c.recvDone {
		if c.stopped {
			return nil, errStopped
		}
		if c.r < c.w {
			p, err := c.take()
			if len(p) > 0 || err != nil {
				return p, err
			}
			continue
		}
		if err := c.fill(); err != nil {
			if err != io.EOF {
				return nil, err
			}
			if c.in.Body != h1.UntilClose && c.in.Body != h1.Tunnel {
				return nil, errTruncated
			}
			c.recvDone = true
		}
	}
	return nil, io.EOF
}

// take cuts content from what is buffered; it may find none yet.
func (c *h1conn) take() ([]byte, error) {
	b := c.buf[c.r:c.w]
	switch c.in.Body {
	case h1.Length:
		b = b[:min(int64(len(b)), c.left)]
		c.left -= int64(len(b))
		c.recvDone = c.left == 0
		c.r += len(b)
		return b, nil
	case h1.Chunked:
		data, n, done, err := c.chunks.Next(b, limits)
		c.r += n
		c.recvDone = done
		if n == 0 && !done && err == nil {
			err = c.fill()
			if err == io.EOF {
				err = errTruncated
			}
		}
		return data, err
	default:
		c.r = c.w
		return b, nil
	}
}

func (c *h1conn) Trailers() []message.Field {
	if c.in.Body == h1.Chunked && c.recvDone {
		return c.chunks.Trailers()
	}
	return nil
}

func (c *h1conn) Buffered() bool { return c.recvDone || c.r < c.w }

func (c *h1conn) Done() bool { return c.recvDone && len(c.Trailers()) == 0 }

func (c *h1conn) OnGone(f func()) { c.raw.OnHangup(f) }

func (c *h1conn) StopReceiving() {
	c.stopped = true
	_ = c.raw.SetReadDeadline(c.loop.Now())
}

// SendHead frames and writes a head. Without end it waits for what follows, to leave in one piece with it.
func (c *h1conn) SendHead(h *message.Head, end bool) error {
	if c.out == nil {
		c.out = c.loop.Get(loop.SmallBuffer)[:0]
	}
	before := len(c.out)
	if c.client {
		c.sending = requestBody(h, end)
		c.method = h.Method
		if c.out = h1.AppendRequest(c.out, h, c.sending); len(c.out) == before {
			c.failed = true
			return errUnwritable
		}
		if h.Protocol != "" || h.Method == "CONNECT" {
			// Nothing may follow before the server has agreed; then it is a tunnel.
			return c.Flush()
		}
	} else {
		if h.Status < 200 && h.Status != 101 {
			c.out = h1.AppendResponse(c.out, h, h1.NoBody, false)
			return c.Flush()
		}
		if c.respond(h, end); len(c.out) == before {
			c.failed = true
			return errUnwritable
		}
	}
	c.sendDone = end
	if end {
		return c.Flush()
	}
	return nil
}

func requestBody(h *message.Head, end bool) h1.BodyKind {
	switch {
	case h.Length >= 0:
		return h1.Length
	case end || h.Protocol != "" || h.Method == "CONNECT":
		return h1.NoBody
	}
	return h1.Chunked
}

// respond chooses the framing of a final response (RFC 9112, section 6.3).
func (c *h1conn) respond(h *message.Head, end bool) {
	switch {
	case h.Status == 101 || c.method == "CONNECT" && h.Status/100 == 2:
		c.out = h1.AppendResponse(c.out, h, h1.Tunnel, false)
		c.tunnel()
		return
	case c.method == "HEAD" || h.Status == 304:
		c.sending = h1.NoBody
		if h.Length >= 0 {
			c.sending = h1.Length
		}
	case h.Status == 204:
		c.sending = h1.NoBody
	case end:
		h.Length = 0
		c.sending = h1.Length
	case h.Length >= 0 && (c.in.Minor == 0 || h.Get("trailer") == ""):
		c.sending = h1.Length
	case c.in.Minor >= 1: // announced trailers too need it

		c.sending = h1.Chunked
	default:
		c.sending, c.close = h1.UntilClose, true
	}
	c.out = h1.AppendResponse(c.out, h, c.sending, c.close)
}

// gather is the size up to which content is copied behind what waits, to leave as one piece.
const gather = 16 << 10

func (c *h1conn) SendData(p []byte, end bool) error {
	c.sendDone = end
	if c.sending == h1.Chunked {
		if len(p) > 0 {
			c.out = h1.AppendChunk(c.out, p)
		}
		if end {
			c.out = h1.AppendLastChunk(c.out, nil)
		}
		return c.Flush()
	}
	if len(p) == 0 {
		if err := c.Flush(); err != nil {
			return err
		}
	} else if err := c.write(p); err != nil {
		return err
	}
	if end && c.sending == h1.Tunnel {
		return c.closeWrite()
	}
	return nil
}

func (c *h1conn) write(p []byte) error {
	if len(c.out) > 0 && len(p) <= gather {
		c.out = append(c.out, p...)
		return c.Flush()
	}
	err := c.writev(c.out, p)
	c.out = c.out[:0]
	c.failed = c.failed || err != nil
	return err
}

// closeWrite sends the end of the connection and leaves reading open.
func (c *h1conn) closeWrite() error {
	if c.tls != nil {
		if err := c.tls.CloseWrite(); err != nil {
			return err
		}
	}
	return c.raw.CloseWrite()
}

// writev writes a and then b.
func (c *h1conn) writev(a, b []byte) error {
	if c.tls != nil {
		return c.tls.WriteAll(a, b)
	}
	return c.raw.Writev(a, b)
}

func (c *h1conn) SendTrailers(t []message.Field) error {
	c.sendDone = true
	if c.sending == h1.Chunked {
		c.out = h1.AppendLastChunk(c.out, t)
	}
	return c.Flush()
}

func (c *h1conn) Flush() error {
	if len(c.out) == 0 {
		return nil
	}
	err := c.writev(c.out, nil)
	c.out = c.out[:0]
	c.failed = c.failed || err != nil
	return err
}

func (c *h1conn) Abort(abortReason) {
	c.failed, c.close = true, true
	_ = c.raw.Close()
}

// Finish ends an exchange. A server's connection goes on in its serving loop, a client's in its pool.
func (c *h1conn) Finish() {
	if c.client && c.finished != nil {
		c.finished(c)
	}
}

// reusable reports whether another exchange may follow on the connection.
func (c *h1conn) reusable() bool {
	return c.recvDone && c.sendDone && !c.close && !c.failed && !c.stopped && !c.raw.Broken()
}
