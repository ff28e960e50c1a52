package h2

import (
	"encoding/binary"

	"github.com/weft-mesh/weft/internal/message"
)

// Stream is one stream. Its owner keeps it until Release, even when the connection is done with it.
type Stream struct {
	ID       uint32
	Head     message.Head // received
	Trailers []message.Field
	TooLarge bool // server: the request's header list was over the bound and is incomplete: answer 431
	Owner    any  // for the handler's use

	state
}

// state is how far a stream is.
type state struct {
	recvClosed, sendClosed bool
	headDone               bool // a final head has come
	headSent               bool // a final head has been sent
	reset                  bool
	removed, released      bool // gone from the connection; given back by its owner
	abandoned              bool // server: answered and given back before the request had ended
	blocked                bool
	bodiless               bool // client: the response to HEAD has no content, whatever it declares

	sendWindow, recvWindow int64
	unreturned             int64 // used, not yet given back
	held                   int64 // received, not yet used
	owed                   int64 // of that, what the connection's window lacks
	declared, received     int64 // content-length, and content so far
}

// RecvClosed reports that the peer has ended or reset the stream.
func (s *Stream) RecvClosed() bool { return s.recvClosed }

// SendClosed reports that our side has ended, or the stream was reset.
func (s *Stream) SendClosed() bool { return s.sendClosed }

const maxFreeStreams = 256

func (c *Conn) newStream(id uint32) *Stream {
	var s *Stream
	if n := len(c.free); n > 0 {
		s = c.free[n-1]
		c.free = c.free[:n-1]
	} else {
		s = new(Stream)
	}
	s.ID, s.TooLarge, s.Owner = id, false, nil
	s.state = state{declared: message.Unknown}
	s.Head.Reset()
	s.Trailers = s.Trailers[:0]
	s.sendWindow, s.recvWindow = c.peer.window, int64(c.cfg.StreamWindow)
	c.streams[id] = s
	return s
}

// Open starts a stream of ours; SendHead follows. owner becomes its Owner.
func (c *Conn) Open(owner any) (*Stream, error) {
	switch {
	case c.err != nil:
		return nil, ErrConnClosed
	case c.away.received || c.away.announced:
		return nil, ErrGoingAway
	case c.nextID > maxStreamID:
		return nil, ErrIDsExhausted
	case uint32(c.ourOpen) >= c.peer.maxStreams:
		return nil, ErrNoStreams
	}
	s := c.newStream(c.nextID)
	s.Owner = owner
	c.nextID += 2
	c.ourOpen++
	return s, nil
}

// CanOpen reports whether Open would succeed.
func (c *Conn) CanOpen() bool {
	return c.err == nil && !c.away.received && !c.away.announced && c.nextID <= maxStreamID && uint32(c.ourOpen) < c.peer.maxStreams
}

// idle reports whether a stream of that identifier has never been.
func (c *Conn) idle(id uint32) bool {
	if ours := (id%2 == 1) == c.cfg.Client; ours {
		return id >= c.nextID
	}
	return id > c.lastPeer
}

// endReceive ends the peer's side of stream id. The handler was called just before: if it has released the
// stream, s may be another one by now.
func (c *Conn) endReceive(s *Stream, id uint32) {
	if s.ID != id || s.removed {
		return
	}
	s.recvClosed = true
	if s.sendClosed {
		c.earn(workStream)
		c.remove(s)
	}
}

func (c *Conn) endSend(s *Stream) {
	s.sendClosed = true
	if s.blocked {
		c.unlistBlocked(s)
	}
	if s.recvClosed {
		c.earn(workStream)
		c.remove(s)
	}
}

// closed ends a stream both ways at once.
func (c *Conn) closed(s *Stream, code ErrCode, tell bool) {
	if s.removed {
		return
	}
	s.recvClosed, s.sendClosed, s.reset = true, true, true
	c.remove(s)
	if tell && !s.released {
		c.ev.OnReset(s, code)
	}
}

// remove takes a stream off the connection.
func (c *Conn) remove(s *Stream) {
	if s.removed {
		return
	}
	s.removed = true
	delete(c.streams, s.ID)
	if s.abandoned {
		c.abandoned--
	}
	if (s.ID%2 == 1) == c.cfg.Client {
		c.ourOpen--
	} else {
		c.peerOpen--
	}
	if s.blocked {
		c.unlistBlocked(s)
	}
	if s.released {
		c.reuse(s)
	}
}

// maxAbandoned bounds the streams of a connection that wait for the end of a request nobody reads.
const maxAbandoned = 16

// Release gives a stream back. The owner must not use it any more. One that is not over is reset, but for a
// server's that is answered: the rest of its request is dropped as it comes, for half a window, since many
// clients take a reset that follows an answer for its failure.
func (c *Conn) Release(s *Stream) {
	if s.released {
		return
	}
	c.give(s.owed)
	s.held, s.owed = 0, 0
	switch {
	case s.removed:
	case c.cfg.Client || !s.sendClosed || c.err != nil:
		c.Reset(s, ErrCodeCancel)
	case c.away.announced || c.abandoned == maxAbandoned || c.spent(s):
		c.Reset(s, ErrCodeNo) // the answer stands, the rest is not wanted (RFC 9113, section 8.1)
	default:
		s.abandoned, s.released = true, true
		s.Owner = nil
		c.abandoned++
		return
	}
	s.released = true
	c.reuse(s)
}

// spent reports whether a peer that goes on sending should be told to stop: before it waits for a window.
func (c *Conn) spent(s *Stream) bool { return s.recvWindow < int64(c.cfg.StreamWindow)/2 }

func (c *Conn) reuse(s *Stream) {
	s.Owner = nil
	if len(c.free) < maxFreeStreams {
		c.free = append(c.free, s)
	}
}

// Reset ends a stream at once. Its handler is not told.
func (c *Conn) Reset(s *Stream, code ErrCode) {
	if s.removed || c.err != nil {
		return
	}
	if s.headSent || s.headDone || !c.cfg.Client {
		c.rst(s.ID, code)
	}
	c.closed(s, code, false)
}

// maxResets bounds the streams remembered: as many as a peer may have open by default.
const maxResets = 1000

// rst queues RST_STREAM and remembers the stream, for what is still on its way.
func (c *Conn) rst(id uint32, code ErrCode) {
	c.out = appendHeader(c.out, 4, typeRSTStream, 0, id)
	c.out = binary.BigEndian.AppendUint32(c.out, uint32(code))
	if len(c.resets) < maxResets {
		c.resets = append(c.resets, id)
		return
	}
	c.resets[c.resetAt%maxResets] = id
	c.resetAt++
}

func (c *Conn) wasReset(id uint32) bool {
	if c.cfg.Client {
		return true // we may have reset any number of streams: the server need not know yet
	}
	for _, r := range c.resets {
		if r == id {
			return true
		}
	}
	return false
}

// streamError resets a stream for the peer's fault.
func (c *Conn) streamError(s *Stream, code ErrCode, reason string) error {
	if !s.removed {
		c.rst(s.ID, code)
		c.closed(s, code, true)
	}
	if err := c.queued(frameHeader + 4); err != nil {
		return err
	}
	return c.spend(costDriven, reason)
}

func (c *Conn) streamErrorID(id uint32, code ErrCode, reason string) error {
	if s := c.streams[id]; s != nil {
		return c.streamError(s, code, reason)
	}
	if c.idle(id) {
		return c.fail(code, reason) // RST_STREAM on an idle stream would be our mistake (section 6.4)
	}
	c.rst(id, code)
	if err := c.queued(frameHeader + 4); err != nil {
		return err
	}
	return c.spend(costDriven, reason)
}

// Consume says that n bytes handed over by OnData have been used: the windows open again, in steps of half.
func (c *Conn) Consume(s *Stream, n int) {
	used := min(int64(n), s.held)
	s.held -= used
	if back := min(used, s.owed); back > 0 {
		s.owed -= back
		c.give(back)
	}
	c.giveStream(s, used)
}

// admit opens the connection's window for content that has come. It does so at once, because a window that waits for
// the content to be used is soon held by a few streams whose readers stand still, and then nothing moves on all the
// others; each stream's own window holds it back. Only when memory is short the whole connection waits.
func (c *Conn) admit(s *Stream, n int64) {
	if c.cfg.Pressed != nil && c.cfg.Pressed() {
		s.owed += n
		return
	}
	c.give(n)
}

// giveStream returns bytes to the stream's window.
func (c *Conn) giveStream(s *Stream, n int64) {
	if s.recvClosed || s.removed || c.err != nil {
		return
	}
	s.unreturned += n
	if s.unreturned >= int64(c.cfg.StreamWindow)/2 {
		c.windowUpdate(s.ID, uint32(s.unreturned))
		s.recvWindow += s.unreturned
		s.unreturned = 0
	}
}

// give returns bytes to the connection's window.
func (c *Conn) give(n int64) {
	if c.err != nil {
		return
	}
	c.unreturned += n
	if c.unreturned >= int64(c.cfg.ConnWindow)/2 || c.recvWindow < defaultWindow && c.unreturned >= defaultWindow/2 {
		c.windowUpdate(0, uint32(c.unreturned))
		c.recvWindow += c.unreturned
		c.unreturned = 0
	}
}

func (c *Conn) windowUpdate(id, n uint32) {
	c.out = appendHeader(c.out, 4, typeWindowUpdate, 0, id)
	c.out = binary.BigEndian.AppendUint32(c.out, n)
}
