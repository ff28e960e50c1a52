package proxy

import (
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/message"
)

var errHeadTooLarge = errors.New("the head is larger than 64 KiB")

// resetError is a stream the peer reset, or the codec for the peer's fault.
type resetError struct{ code h2.ErrCode }

func (e *resetError) Error() string { return fmt.Sprintf("stream reset: %v", e.code) }

// h2stream is one stream of an HTTP/2 connection. What arrives is kept until its task reads it, bounded by
// the stream's window.
type h2stream struct {
	serve func()   // server: the stream's exchange, as a task
	in    [][]byte // received, in buffers of the loop

	passage
}

// passage is what the next stream in the same memory does not keep.
type passage struct {
	c *h2conn
	s *h2.Stream

	lent    []byte          // given out by the last Data
	early   []*message.Head // informational responses that nobody has taken yet
	gotHead bool            // the request, or the final response, is here
	ended   bool            // all of the message is here
	err     error

	reader, writer *loop.Task
	gone           func() // told once when the peer gives the stream up
	aborted        bool
	lease          lease // client only
}

// newStream takes a stream object from the worker's pool and ties it to the codec's.
func (c *h2conn) newStream(s *h2.Stream) *h2stream {
	w := c.w
	var st *h2stream
	if n := len(w.streams); n > 0 {
		st = w.streams[n-1]
		w.streams = w.streams[:n-1]
	} else {
		st = &h2stream{}
		st.serve = func() { st.c.w.serveH2(st) }
	}
	st.c, st.s = c, s
	c.open++
	return st
}

func (st *h2stream) HTTP2() bool { return true }

// serveH2 takes the request of a server's stream through the flow.
func (w *worker) serveH2(st *h2stream) {
	x := w.newExchange(st.c.origin, st)
	x.req = &st.s.Head
	if st.s.TooLarge {
		x.refuse(&Failure{"read", 431, flagBadRequest, errHeadTooLarge})
	} else {
		x.serve()
	}
	w.freeExchange(x)
}

// receive keeps content.
func (st *h2stream) receive(p []byte, end bool) {
	if st.aborted || st.err != nil {
		st.c.codec.Consume(st.s, len(p))
		return
	}
	if len(p) > 0 {
		st.keep(p)
	}
	st.ended = st.ended || end
	st.c.w.loop.Wake(st.reader)
}

// keep appends to what has come in: small content takes a small buffer, a lot of it several large ones.
func (st *h2stream) keep(p []byte) {
	st.c.w.buffered += len(p)
	for len(p) > 0 {
		size := len(p)
		if n := len(st.in); n > 0 {
			last := &st.in[n-1]
			if room := cap(*last) - len(*last); room > 0 {
				k := min(room, len(p))
				*last, p = append(*last, p[:k]...), p[k:]
				continue
			}
			size = max(size, 8*cap(*last))
		}
		st.in = append(st.in, st.c.w.loop.Get(min(size, loop.LargeBuffer))[:0])
	}
}

func (st *h2stream) reset(code h2.ErrCode) {
	st.fail(&resetError{code})
	st.tellGone()
}

// tellGone runs what OnGone asked for.
func (st *h2stream) tellGone() {
	if f := st.gone; f != nil {
		st.gone = nil
		f()
	}
}

func (st *h2stream) OnGone(f func()) { st.gone = f }

func (st *h2stream) fail(err error) {
	if st.err == nil {
		st.err = err
	}
	st.c.w.loop.Wake(st.reader)
	st.c.w.loop.Wake(st.writer)
}

// broken returns why nothing more can happen on the stream.
func (st *h2stream) broken() error {
	if st.err != nil {
		return st.err
	}
	return st.c.dead
}

func (st *h2stream) Head() (*message.Head, error) {
	for !st.gotHead && len(st.early) == 0 {
		if err := st.broken(); err != nil {
			return nil, err
		}
		st.wait(&st.reader)
	}
	if len(st.early) > 0 {
		h := st.early[0]
		st.early = st.early[1:]
		return h, nil
	}
	return &st.s.Head, nil
}

// maxEarly bounds the informational responses that are kept; those beyond tell nothing that is needed.
const maxEarly = 4

// inform keeps an informational response: the head that follows takes its place in the codec, maybe before
// the stream's task has run.
func (st *h2stream) inform(h *message.Head) {
	if len(st.early) < maxEarly {
		kept := new(message.Head)
		kept.CopyFrom(h)
		st.early = append(st.early, kept)
	}
}

func (st *h2stream) Answered() bool { return st.gotHead }

// wait parks the current task as reader or writer.
func (st *h2stream) wait(who **loop.Task) {
	*who = st.c.w.loop.Current()
	st.c.w.loop.Park()
	*who = nil
}

func (st *h2stream) Data() ([]byte, error) {
	st.giveBack()
	for len(st.in) == 0 {
		if st.ended {
			return nil, io.EOF // whole, even if a reset came behind it (RFC 9113, section 8.1)
		}
		if st.err != nil {
			return nil, st.err
		}
		if st.c.dead != nil {
			return nil, st.c.dead
		}
		st.wait(&st.reader)
	}
	st.lent = st.in[0]
	st.in = slices.Delete(st.in, 0, 1)
	return st.lent, nil
}

// giveBack ends the loan of the last Data and opens the window again.
func (st *h2stream) giveBack() {
	if st.lent == nil {
		return
	}
	st.c.codec.Consume(st.s, len(st.lent))
	st.c.touch()
	st.c.w.buffered -= len(st.lent)
	st.c.w.loop.Put(st.lent)
	st.lent = nil
}

func (st *h2stream) Trailers() []message.Field { return st.s.Trailers }

func (st *h2stream) Buffered() bool {
	return len(st.in) > 0 || st.ended || st.broken() != nil
}

func (st *h2stream) Done() bool {
	return st.ended && len(st.in) == 0 && len(st.s.Trailers) == 0
}

func (st *h2stream) StopReceiving() { st.fail(errStopped) }

func (st *h2stream) SendHead(h *message.Head, end bool) error {
	if err := st.broken(); err != nil {
		return err
	}
	st.c.touch()
	return st.c.codec.SendHead(st.s, h, end)
}

func (st *h2stream) SendData(p []byte, end bool) error {
	for {
		if err := st.broken(); err != nil {
			return err
		}
		if st.c.full() {
			st.c.waiting = append(st.c.waiting, st)
			st.c.touch()
			st.wait(&st.writer)
			continue
		}
		piece := p[:min(len(p), maxPiece)]
		n, err := st.c.codec.SendData(st.s, piece, end && len(piece) == len(p))
		if err != nil {
			return err
		}
		st.c.touch()
		if len(st.c.codec.Output()) >= flushAt {
			st.c.Flush() // bulk: more than this in one write gains nothing, and would outgrow the buffers
		}
		if p = p[n:]; len(p) == 0 {
			return nil
		}
		if n < len(piece) {
			st.wait(&st.writer) // OnWindow wakes
		}
	}
}

// What is written at once, records and frames included, fits one large buffer of the loop.
const (
	maxPiece = 24 << 10
	flushAt  = 32 << 10
)

func (st *h2stream) SendTrailers(t []message.Field) error {
	if err := st.broken(); err != nil {
		return err
	}
	st.c.touch()
	return st.c.codec.SendTrailers(st.s, t)
}

// Flush does nothing: the connection is flushed at the end of each turn.
func (st *h2stream) Flush() error { return nil }

var abortCodes = [...]h2.ErrCode{
	abortInternal: h2.ErrCodeInternal,
	abortCancel:   h2.ErrCodeCancel,
	abortRefused:  h2.ErrCodeRefusedStream,
	abortNoError:  h2.ErrCodeNo,
}

func (st *h2stream) Abort(reason abortReason) { st.abortBy(abortCodes[reason]) }

// abortBy is Abort with the code that the peer is told.
func (st *h2stream) abortBy(code h2.ErrCode) {
	if st.aborted {
		return
	}
	st.aborted = true
	if st.err == nil && st.c.dead == nil {
		st.c.codec.Reset(st.s, code)
		st.c.touch()
	}
	st.fail(errStopped)
}

// Finish gives the stream back. A message that is not complete is cut, but for a request that was answered.
func (st *h2stream) Finish() {
	c := st.c
	if !st.s.SendClosed() || !st.ended && c.ep != nil {
		st.Abort(abortCancel)
	}
	st.giveBack()
	for i, p := range st.in {
		c.codec.Consume(st.s, len(p))
		c.w.buffered -= len(p)
		c.w.loop.Put(p)
		st.in[i] = nil
	}
	c.codec.Release(st.s)
	if c.open--; c.open == 0 {
		c.idle = c.w.loop.Now()
	}
	c.touch() // the codec may have had to reset the stream; a connection that drains may be done
	if c.ep != nil && len(c.ep.waiters) > 0 {
		c.ep.wakeWaiters()
	}
	st.lease.end()
	st.passage, st.in = passage{}, st.in[:0]
	if len(c.w.streams) < maxPooled {
		c.w.streams = append(c.w.streams, st)
	}
}
