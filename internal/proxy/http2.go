package proxy

import (
	"errors"
	"io"
	"time"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// maxQueued bounds the bytes an HTTP/2 connection has queued for a peer that does not read; streams that
// want to send more wait. Control frames have a bound of their own in the codec.
const maxQueued = 256 << 10

// h2conn is one HTTP/2 connection, a server's or a client's, plain or on TLS. Frames are handled where they
// are read; all that its streams send in a turn of the loop leaves in one write.
type h2conn struct {
	w     *worker
	raw   *loop.Conn
	tls   *secured // nil when plain
	codec *h2.Conn

	peer     model.Identity // proven by TLS
	origin   *origin        // server only: what its requests have in common
	ep       *endpoint      // client only
	draining bool
	dirty    bool
	dead     error
	waiting  []*h2stream // streams that wait for room in the queue
	open     int
	born     time.Time
	used     int       // client only: streams so far
	idle     time.Time // since when no stream is open
	readable func()

	pinging *pinging // client only: nil without keep-alive

	parting bool // dead, and heard until the peer has closed its side as well
	heard   int  // bytes dropped since
	linger  loop.Timer
}

func newH2(w *worker, raw *loop.Conn, t *secured, cfg h2.Config) *h2conn {
	c := &h2conn{w: w, raw: raw, tls: t}
	c.codec = h2.NewConn(cfg, c)
	c.readable, c.idle, c.born = c.read, w.loop.Now(), w.loop.Now()
	raw.SetDeferred(c.touch)
	c.touch()
	return c
}

// start begins to read. The bytes in head were read already, while the protocol was found out.
func (c *h2conn) start(head []byte) {
	if len(head) > 0 && !c.receive(head) {
		return
	}
	if c.tls != nil && c.tls.Pending() {
		c.w.loop.Go(c.readable)
	} else {
		c.raw.OnReadable(c.readable)
	}
}

// read reads what there is; between bytes the connection holds neither task nor buffer.
func (c *h2conn) read() {
	if c.parting {
		c.hear()
		return
	}
	buf := c.w.loop.Get(loop.LargeBuffer)
	defer c.w.loop.Put(buf)
	for c.dead == nil {
		n, more, err := c.readSome(buf)
		if n > 0 && !c.receive(buf[:n]) {
			return
		}
		if err != nil {
			c.fail(err)
			return
		}
		if !more {
			c.raw.OnReadable(c.readable)
			return
		}
	}
}

// readSome reads once, and tells whether it is worth trying again.
func (c *h2conn) readSome(buf []byte) (n int, more bool, err error) {
	if c.tls != nil {
		n, err = c.tls.Read(buf)
		return n, c.tls.Pending(), err
	}
	n, err = c.raw.Read(buf)
	return n, c.raw.Readable(), err
}

// receive hands bytes to the codec and reports whether the connection lives on.
func (c *h2conn) receive(p []byte) bool {
	if c.pinging != nil {
		c.pinging.heard = true
	}
	err := c.codec.Receive(p)
	c.touch()
	if err != nil {
		c.Flush() // the GOAWAY that says why
		c.part(err)
		return false
	}
	return true
}

// touch asks for a flush at the end of the turn.
func (c *h2conn) touch() {
	if !c.dirty && c.dead == nil {
		c.dirty = true
		c.w.loop.OnFlush(c)
	}
}

// Flush writes what is queued. It runs outside tasks and never parks: what the socket does not take waits
// in its backlog, and until that is gone nothing is added to it.
func (c *h2conn) Flush() {
	c.dirty = false
	if c.dead != nil || c.raw.Backlog() > 0 {
		return
	}
	if out := c.codec.Output(); len(out) > 0 {
		var err error
		if c.tls != nil {
			err = c.tls.Send(out)
		} else {
			_, err = c.raw.Write(out)
		}
		c.codec.Discard(len(out))
		if err != nil {
			c.fail(err)
			return
		}
	}
	if c.raw.Backlog() == 0 && len(c.waiting) > 0 {
		for _, s := range c.waiting {
			c.w.loop.Wake(s.writer)
		}
		clear(c.waiting)
		c.waiting = c.waiting[:0]
	}
	if c.draining && c.open == 0 && c.raw.Backlog() == 0 && c.codec.Drained() {
		c.part(errDrained)
	}
}

var errDrained = errors.New("the connection has drained")

// full reports whether streams should wait before they queue more.
func (c *h2conn) full() bool {
	return len(c.codec.Output())+c.raw.Backlog() >= maxQueued
}

// fail closes the connection and ends every stream on it.
func (c *h2conn) fail(err error) {
	if c.dead == nil {
		c.end(err)
		c.close()
	}
}

// end ends every stream.
func (c *h2conn) end(err error) {
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	c.dead = err
	c.codec.Close()
	for _, s := range c.waiting {
		c.w.loop.Wake(s.writer)
	}
	c.waiting = nil
}

func (c *h2conn) close() {
	c.parting = false
	if c.pinging != nil {
		c.pinging.timer.Stop()
	}
	c.linger.Stop()
	_ = c.raw.Close()
	c.w.forget(c)
}

// part ends the connection from this side. A client, unless it floods us, is heard until it has closed its side too, or for a moment:
// closing at once would reset the connection and destroy what is still on its way to it, which holds for
// HTTP/1.1 (RFC 9112, section 9.6) and for this alike.
func (c *h2conn) part(err error) {
	if c.dead != nil {
		return
	}
	c.end(err)
	var fault *h2.ConnectionError
	flood := errors.As(err, &fault) && fault.Code == h2.ErrCodeEnhanceYourCalm
	if c.ep != nil || flood || c.raw.Broken() || c.closeWrite() != nil {
		c.close()
		return
	}
	c.parting = true
	c.w.loop.AfterFunc(&c.linger, partingTime, c.close)
	c.raw.OnReadable(c.readable)
}

// How long, and for how many bytes, a client is heard that was told of the end.
const (
	partingTime  = time.Second
	partingBytes = 256 << 10
)

// hear drops what still comes.
func (c *h2conn) hear() {
	buf := c.w.loop.Get(loop.LargeBuffer)
	defer c.w.loop.Put(buf)
	for {
		n, err := c.raw.Read(buf)
		if c.heard += n; err != nil || c.heard > partingBytes {
			c.close()
			return
		}
		if !c.raw.Readable() {
			c.raw.OnReadable(c.readable)
			return
		}
	}
}

func (c *h2conn) closeWrite() error {
	if c.tls != nil {
		if err := c.tls.CloseWrite(); err != nil {
			return err
		}
	}
	return c.raw.CloseWrite()
}

// drain lets streams finish and takes no new ones.
func (c *h2conn) drain() {
	if c.draining || c.dead != nil {
		return
	}
	c.draining, c.idle = true, c.w.loop.Now()
	c.codec.GoAway(h2.ErrCodeNo)
	c.touch()
}

// sweep is called every sweepEvery: a server's connection without streams is told to go, and closed when it does
// not answer.
func (c *h2conn) sweep(now time.Time) {
	c.codec.Forgive()
	switch unused := now.Sub(c.idle); {
	case c.dead != nil || c.open > 0:
	case !c.draining && unused > c.w.e.o.IdleTimeout:
		c.drain()
	case c.draining && unused > sweepEvery/2:
		c.codec.FinishGoAway()
		c.touch()
	}
}

// OnHead starts an exchange on a server's connection, or answers one on a client's.
func (c *h2conn) OnHead(s *h2.Stream, end bool) {
	st, _ := s.Owner.(*h2stream)
	if st == nil {
		st = c.newStream(s)
		s.Owner = st
		st.ended = end
		c.w.loop.Go(st.serve)
		return
	}
	if s.Head.Status >= 100 && s.Head.Status < 200 {
		st.inform(&s.Head)
	} else {
		st.gotHead = true
	}
	st.ended = st.ended || end
	c.w.loop.Wake(st.reader)
}

// OnData keeps content for the stream's task.
func (c *h2conn) OnData(s *h2.Stream, p []byte, end bool) {
	st, _ := s.Owner.(*h2stream)
	if st == nil {
		c.codec.Consume(s, len(p))
		return
	}
	st.receive(p, end)
}

// OnTrailers ends a message.
func (c *h2conn) OnTrailers(s *h2.Stream) {
	if st, _ := s.Owner.(*h2stream); st != nil {
		st.ended = true
		c.w.loop.Wake(st.reader)
	}
}

// OnReset ends a stream the peer (or the codec) gave up.
func (c *h2conn) OnReset(s *h2.Stream, code h2.ErrCode) {
	if st, _ := s.Owner.(*h2stream); st != nil {
		st.reset(code)
	}
}

// OnWindow lets a sender go on.
func (c *h2conn) OnWindow(s *h2.Stream) {
	if st, _ := s.Owner.(*h2stream); st != nil {
		c.w.loop.Wake(st.writer)
	}
}

// OnGoAway stops new streams; the codec resets those the peer did not process.
func (c *h2conn) OnGoAway(uint32, h2.ErrCode) {
	c.draining = true
	if c.ep != nil {
		c.ep.retire(c)
	}
	c.touch()
}

// OnSettings wakes those who wait for more concurrent streams.
func (c *h2conn) OnSettings() {
	if c.ep != nil {
		c.ep.wakeWaiters()
	}
}
