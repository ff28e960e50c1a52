package h2

import (
	"encoding/binary"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
)

// maxContinuations bounds the frames of one header block.
const maxContinuations = 32

// block is a header block that has not ended.
type block struct {
	open   bool
	id     uint32
	flags  byte
	data   []byte
	frames int
}

func (c *Conn) onHeaders(id uint32, flags byte, p []byte) error {
	if id == 0 {
		return c.fail(ErrCodeProtocol, "HEADERS on stream 0")
	}
	p, err := c.unpad(flags, p)
	if err != nil {
		return err
	}
	if flags&flagPriority != 0 {
		if len(p) < 5 {
			return c.fail(ErrCodeFrameSize, "HEADERS too short for its priority")
		}
		if binary.BigEndian.Uint32(p)&maxStreamID == id {
			return c.fail(ErrCodeProtocol, "a stream that depends on itself")
		}
		p = p[5:]
	}
	if err := c.mayHaveHeaders(id); err != nil {
		return err
	}
	if flags&flagEndHeaders != 0 {
		return c.onBlock(id, flags, p)
	}
	c.block = block{open: true, id: id, flags: flags, data: append(c.block.data[:0], p...)}
	return nil
}

// mayHaveHeaders checks that a header block on the stream is no connection error.
func (c *Conn) mayHaveHeaders(id uint32) error {
	peers := (id%2 == 1) != c.cfg.Client
	switch {
	case !peers && c.cfg.Client:
		if c.idle(id) {
			return c.fail(ErrCodeProtocol, "HEADERS on a stream that was not opened")
		}
	case !peers || c.cfg.Client:
		return c.fail(ErrCodeProtocol, "HEADERS on a stream the peer cannot open")
	case c.streams[id] == nil && id <= c.lastPeer && !c.wasReset(id):
		return c.fail(ErrCodeStreamClosed, "HEADERS on a closed stream")
	}
	return nil
}

func (c *Conn) onContinuation(id uint32, flags byte, p []byte) error {
	b := &c.block
	if !b.open {
		return c.fail(ErrCodeProtocol, "CONTINUATION without HEADERS")
	}
	if b.frames++; b.frames > maxContinuations || len(b.data)+len(p) > 2*c.cfg.HeadBytes {
		return c.fail(ErrCodeEnhanceYourCalm, "a header block that is too long")
	}
	b.data = append(b.data, p...)
	if flags&flagEndHeaders == 0 {
		return nil
	}
	b.open, b.frames = false, 0
	err := c.onBlock(id, b.flags, b.data)
	b.data = nil
	return err
}

// headReader takes the fields of one block, as HPACK emits them.
type headReader struct {
	h        *message.Head
	trailers *[]message.Field // instead of h
	memory   *message.Head    // owns the strings
	size     int
	tooLarge bool
	bad      string // what is malformed
	regular  bool   // a field that is no pseudo-header has come
	seen     uint8  // pseudo-headers so far
	host     string
	response bool
	cookie   int // index of the first cookie field
	cookies  int // cookie fields so far
}

const (
	seenMethod = 1 << iota
	seenScheme
	seenAuthority
	seenPath
	seenProtocol
	seenStatus
)

// onBlock handles a whole header block. It is decoded whatever becomes of it, for the table's sake.
func (c *Conn) onBlock(id uint32, flags byte, p []byte) error {
	s := c.streams[id]
	end := flags&flagEndStream != 0
	fresh := s == nil && !c.cfg.Client && id > c.lastPeer
	if fresh {
		c.lastPeer = id
		c.peerOpen++
		s = c.newStream(id)
	}
	trailers := s != nil && s.headDone
	c.head = headReader{response: c.cfg.Client}
	switch {
	case s == nil || s.recvClosed:
		c.head.h = new(message.Head) // decoded for the table's sake alone
		c.head.memory = c.head.h
	case trailers:
		c.head.trailers, c.head.memory = &s.Trailers, &s.Head
	default:
		s.Head.Reset()
		c.head.h, c.head.memory = &s.Head, &s.Head
	}
	if err := c.dec.Decode(p, (*sink)(c)); err != nil {
		return c.fail(ErrCodeCompression, err.Error())
	}
	switch {
	case s == nil:
		return c.spend(costLate, "headers for streams that were reset")
	case s.recvClosed:
		return c.streamError(s, ErrCodeStreamClosed, "HEADERS after the end of the stream")
	case trailers:
		return c.onTrailers(s, end)
	}
	if fresh {
		if refused, err := c.refuse(s); refused {
			return err
		}
	}
	return c.onHead(s, end)
}

// unreadFactor times Config.MaxOutput is how much may wait for the peer to read before its streams are refused.
const unreadFactor = 4

// refuse turns away a stream that is one too many, comes after the end was announced, or from a peer that
// does not read.
func (c *Conn) refuse(s *Stream) (bool, error) {
	late := c.away.final
	// Answers count too: their heads are under no window, and a peer that does not read must not have more.
	unread := len(c.Output()) > unreadFactor*c.cfg.MaxOutput
	if uint32(c.peerOpen) <= c.cfg.MaxStreams && !late && !unread {
		return false, nil
	}
	s.released = true // nobody has it
	c.rst(s.ID, ErrCodeRefusedStream)
	c.closed(s, ErrCodeRefusedStream, false)
	if err := c.queued(frameHeader + 4); err != nil || late {
		return true, err
	}
	return true, c.spend(costDriven, "too many streams")
}

func (c *Conn) onTrailers(s *Stream, end bool) error {
	switch {
	case !end:
		return c.streamError(s, ErrCodeProtocol, "trailers that do not end the stream")
	case c.head.bad != "":
		return c.streamError(s, ErrCodeProtocol, c.head.bad)
	case c.head.tooLarge:
		return c.streamError(s, ErrCodeEnhanceYourCalm, "trailers over the bound")
	case s.declared >= 0 && s.received != s.declared:
		return c.streamError(s, ErrCodeProtocol, "content does not have the declared length")
	}
	id := s.ID
	if !s.released {
		c.ev.OnTrailers(s)
	}
	c.endReceive(s, id)
	return nil
}

func (c *Conn) onHead(s *Stream, end bool) error {
	r := &c.head
	c.joinCookie()
	if r.bad == "" && !r.tooLarge {
		r.bad = r.check(c.cfg.ExtendedConnect)
	}
	informational := r.response && s.Head.Status >= 100 && s.Head.Status < 200
	if r.bad == "" && informational && end {
		r.bad = "an informational response that ends the stream"
	}
	if r.bad != "" {
		return c.malformed(s)
	}
	s.TooLarge = r.tooLarge
	if r.tooLarge && r.response {
		return c.streamError(s, ErrCodeEnhanceYourCalm, "a response head over the bound")
	}
	if !informational {
		s.headDone = true
		s.declared = s.Head.Length
		if s.bodiless || s.Head.Status == 304 {
			s.declared = message.Unknown
		}
	}
	if end && s.declared > 0 {
		return c.malformed(s)
	}
	id := s.ID
	c.ev.OnHead(s, end)
	if end {
		c.endReceive(s, id)
	}
	if informational {
		return c.spend(costEmpty, "too many informational responses")
	}
	return nil
}

// joinCookie makes one field of the crumbs (RFC 9113, section 8.2.3), when all are there: joining them one by one
// would cost the square of their number.
func (c *Conn) joinCookie() {
	if r := &c.head; r.cookies > 1 {
		r.h.Fields[r.cookie].Value = r.h.Keep(c.crumbs)
	}
	const maxKept = 4 << 10
	if cap(c.crumbs) > maxKept {
		c.crumbs = nil
	}
}

// crumb takes a cookie field. The first stays where it is until joinCookie.
func (c *Conn) crumb(value string) {
	r := &c.head
	if r.cookies++; r.cookies == 1 {
		r.cookie = len(r.h.Fields)
		r.h.Add("cookie", value)
		return
	}
	if r.cookies == 2 {
		c.crumbs = append(c.crumbs[:0], r.h.Fields[r.cookie].Value...)
	}
	c.crumbs = append(append(c.crumbs, "; "...), value...)
}

// malformed resets a stream whose head is no message (section 8.1.1). A request's handler has not seen it.
func (c *Conn) malformed(s *Stream) error {
	reason := c.head.bad
	if reason == "" {
		reason = "content declared but none sent"
	}
	if !c.cfg.Client {
		s.released = true
	}
	return c.streamError(s, ErrCodeProtocol, reason)
}

// sink takes the fields of a block for the stream it is for.
type sink Conn

// Keep copies into the memory of the head at hand.
func (k *sink) Keep(b []byte) string {
	if k.head.tooLarge {
		return "" // decoded for the table's sake alone
	}
	return k.head.memory.Keep(b)
}

// ordinary is the note on a field that may stand in any head and means nothing to HTTP/2 itself.
const ordinary = 1

// Field takes one decoded field.
func (k *sink) Field(name, value string, note uint8) uint8 {
	r := &k.head
	if r.size += len(name) + len(value) + 32; r.size > k.cfg.HeadBytes {
		r.tooLarge = true
		return note
	}
	if r.bad != "" {
		return note
	}
	if note == ordinary && r.trailers == nil {
		r.regular = true
		r.h.Add(name, value)
		return ordinary
	}
	return (*Conn)(k).decoded(message.Field{Name: name, Value: value})
}

// decoded takes a field that is looked at for the first time.
func (c *Conn) decoded(f message.Field) (note uint8) {
	r := &c.head
	if f.Name == "" {
		r.bad = "a field without a name"
		return 0
	}
	if !validValue(f.Value) {
		r.bad = "a field value with forbidden bytes"
		return 0
	}
	if f.Name[0] == ':' {
		r.pseudo(f)
		return 0
	}
	r.regular = true
	if !validName(f.Name) {
		r.bad = "a field name that is no lower-case token"
		return 0
	}
	if f.Name == "cookie" && r.trailers == nil {
		c.crumb(f.Value)
		return 0
	}
	return r.field(f)
}

func (r *headReader) pseudo(f message.Field) {
	if r.regular || r.trailers != nil {
		r.bad = "a pseudo-header after a field, or in trailers"
		return
	}
	var bit uint8
	h := r.h
	switch {
	case r.response && f.Name == ":status":
		bit = seenStatus
		n, err := strconv.Atoi(f.Value)
		if err != nil || len(f.Value) != 3 || n < 100 {
			r.bad = "a status that is not three digits"
			return
		}
		h.Status = n
	case r.response:
		r.bad = "an unknown pseudo-header"
		return
	case f.Name == ":method":
		bit, h.Method = seenMethod, f.Value
	case f.Name == ":scheme":
		bit, h.Scheme = seenScheme, f.Value
	case f.Name == ":authority":
		bit, h.Authority = seenAuthority, f.Value
	case f.Name == ":path":
		bit, h.Path = seenPath, f.Value
	case f.Name == ":protocol":
		bit, h.Protocol = seenProtocol, f.Value
	default:
		r.bad = "an unknown pseudo-header"
		return
	}
	if r.seen&bit != 0 {
		r.bad = "a pseudo-header twice"
	}
	r.seen |= bit
}

func (r *headReader) field(f message.Field) (note uint8) {
	if r.trailers != nil {
		if connectionSpecific(f.Name) {
			r.bad = "a field that belongs to one connection"
			return 0
		}
		if f.Name == "content-length" || f.Name == "host" {
			return 0 // too late to frame or to route by (RFC 9110, section 6.5.1)
		}
		*r.trailers = append(*r.trailers, f)
		return 0
	}
	switch f.Name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		r.bad = "a field that belongs to one connection"
	case "te":
		if f.Value != "trailers" {
			r.bad = "te that is not \"trailers\""
			return 0
		}
		r.h.Add(f.Name, f.Value)
	case "content-length":
		n, ok := parseLength(f.Value)
		if !ok || r.h.Length >= 0 {
			r.bad = "a content-length that is no number, or twice"
			return 0
		}
		r.h.Length = n
	case "host":
		if r.host != "" {
			r.bad = "host twice"
			return 0
		}
		r.host = f.Value
	default:
		r.h.Add(f.Name, f.Value)
		return ordinary
	}
	return 0
}

// check tells what is wrong with a whole head, "" if nothing.
func (r *headReader) check(extended bool) string {
	h := r.h
	if r.response {
		if r.seen != seenStatus {
			return "a response without a status"
		}
		if h.Status == 101 {
			return "status 101, which HTTP/2 does not have"
		}
		return ""
	}
	if r.seen&seenMethod == 0 || !validToken(h.Method) {
		return "a request without a method"
	}
	if r.host != "" {
		if h.Authority == "" {
			h.Authority = r.host
		} else if !strings.EqualFold(h.Authority, r.host) {
			return ":authority and host that disagree"
		}
	}
	if !validAuthority(h.Authority) {
		return "an :authority that is none"
	}
	switch {
	case r.seen&seenProtocol != 0:
		if !extended || h.Method != "CONNECT" || !validToken(h.Protocol) {
			return "a :protocol that is not allowed here"
		}
	case h.Method == "CONNECT":
		if r.seen&(seenScheme|seenPath) != 0 || h.Authority == "" {
			return "CONNECT with :scheme or :path, or without :authority"
		}
		return ""
	}
	if r.seen&seenScheme == 0 || r.seen&seenPath == 0 || !validToken(h.Scheme) {
		return "a request without :scheme or :path"
	}
	if !validPath(h.Path, h.Method) {
		return "a :path that is none"
	}
	return ""
}
