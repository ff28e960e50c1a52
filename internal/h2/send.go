package h2

import (
	"slices"
	"strconv"
	"unsafe"

	"github.com/weft-mesh/weft/internal/message"
)

// SendHead queues a request, a response, or an informational response. With end nothing follows.
// Fields that HTTP/2 does not allow, or that could not be framed safely, are left out: what came from
// elsewhere must not forge a message here (RFC 9113, section 10.3).
func (c *Conn) SendHead(s *Stream, h *message.Head, end bool) error {
	if err := c.maySend(s); err != nil {
		return err
	}
	informational := h.Status >= 100 && h.Status < 200
	at := len(c.out)
	c.out = c.enc.Begin(appendHeader(c.out, 0, typeHeaders, 0, s.ID))
	if h.Status != 0 {
		c.field(":status", c.decimal(int64(h.Status)))
	} else {
		s.bodiless = h.Method == "HEAD"
		c.requestPseudo(h)
	}
	if h.Length >= 0 && !informational {
		c.field("content-length", c.decimal(h.Length))
	}
	c.fields(h.Fields)
	c.finishBlock(at, s.ID, end)
	if !informational {
		s.headSent = true
	}
	if end {
		c.endSend(s)
	}
	return nil
}

func (c *Conn) requestPseudo(h *message.Head) {
	c.field(":method", h.Method)
	extended := h.Protocol != "" && h.Method == "CONNECT"
	if h.Method != "CONNECT" || extended {
		scheme := h.Scheme
		if scheme == "" {
			scheme = "http"
		}
		c.field(":scheme", scheme)
		c.field(":path", h.Path)
	}
	if h.Authority != "" {
		c.field(":authority", h.Authority)
	}
	if extended {
		c.field(":protocol", h.Protocol)
	}
}

// decimal writes a number, as a string that lives until the next call: the encoder copies what it keeps.
func (c *Conn) decimal(n int64) string {
	c.digits = strconv.AppendInt(c.digits[:0], n, 10)
	return unsafe.String(unsafe.SliceData(c.digits), len(c.digits))
}

// SendTrailers queues trailers and ends the stream. Without any it ends it with an empty DATA frame.
func (c *Conn) SendTrailers(s *Stream, t []message.Field) error {
	if err := c.maySend(s); err != nil {
		return err
	}
	at := len(c.out)
	if slices.ContainsFunc(t, sendable) {
		c.out = c.enc.Begin(appendHeader(c.out, 0, typeHeaders, 0, s.ID))
		c.fields(t)
		c.finishBlock(at, s.ID, true)
	} else {
		c.out = appendHeader(c.out, 0, typeData, flagEndStream, s.ID)
	}
	c.endSend(s)
	return nil
}

// fields encodes those of the fields that may be sent; none of them is a pseudo-header. What the table has
// was looked at when it got there.
func (c *Conn) fields(fields []message.Field) {
	for i := range fields {
		f := &fields[i]
		if len(f.Name) > 0 && f.Name[0] == ':' {
			continue // the table has pseudo-headers too
		}
		var found bool
		if c.out, found = c.enc.Find(c.out, f.Name, f.Value); !found && sendable(*f) {
			c.out = c.enc.Append(c.out, f.Name, f.Value, !unique(f.Name, f.Value))
		}
	}
}

// sendable reports whether HTTP/2 can carry a field.
func sendable(f message.Field) bool {
	return sendableName(f.Name) && (f.Name != "te" || f.Value == "trailers") && validValue(f.Value)
}

// field encodes one field whose name may be sent, or leaves it out if its value may not.
func (c *Conn) field(name, value string) {
	var found bool
	if c.out, found = c.enc.Find(c.out, name, value); !found && validValue(value) {
		c.out = c.enc.Append(c.out, name, value, !unique(name, value))
	}
}

// unique tells fields whose value hardly repeats: they would only push out of the table what does. HPACK has
// it that these, and secrets, travel as literals that are never indexed (RFC 7541, section 7.1.3).
func unique(name, value string) bool {
	switch name {
	case "x-request-id", "traceparent", "tracestate", "b3", "x-b3-traceid", "x-b3-spanid", "x-b3-parentspanid",
		"grpc-timeout", "date", "etag", "content-length", "authorization", "set-cookie", "if-none-match",
		"last-modified", "location", "sec-websocket-key", "sec-websocket-accept", "content-range", "range":
		return true
	case ":path":
		const worthKeeping = 96
		if len(value) > worthKeeping {
			return true
		}
		for i := range len(value) {
			if value[i] == '?' {
				return true
			}
		}
	}
	return false
}

// finishBlock fills in the frame header left open at at, and splits a block that is too large for a frame.
func (c *Conn) finishBlock(at int, id uint32, end bool) {
	n := len(c.out) - at - frameHeader
	var flags byte
	if end {
		flags = flagEndStream
	}
	if n <= c.peer.frame {
		appendHeader(c.out[:at], n, typeHeaders, flags|flagEndHeaders, id)
		return
	}
	block := append([]byte(nil), c.out[at+frameHeader:]...)
	c.out = c.out[:at]
	kind := byte(typeHeaders)
	for len(block) > 0 {
		n := min(len(block), c.peer.frame)
		if n == len(block) {
			flags |= flagEndHeaders
		}
		c.out = append(appendHeader(c.out, n, kind, flags, id), block[:n]...)
		block = block[n:]
		kind, flags = typeContinuation, 0
	}
}

func (c *Conn) maySend(s *Stream) error {
	switch {
	case c.err != nil:
		return ErrConnClosed
	case s.sendClosed:
		return ErrStreamClosed
	}
	return nil
}

// SendData queues as much of p as the windows allow and returns how much that was. end takes effect only
// when all of p went. After n < len(p) OnWindow is called when more can go.
func (c *Conn) SendData(s *Stream, p []byte, end bool) (n int, err error) {
	if err := c.maySend(s); err != nil {
		return 0, err
	}
	for len(p) > 0 {
		room := int(min(s.sendWindow, c.sendWindow, int64(c.peer.frame), int64(len(p))))
		if room <= 0 {
			if !s.blocked {
				s.blocked = true
				c.blocked = append(c.blocked, s)
			}
			return n, nil
		}
		var flags byte
		if end && room == len(p) {
			flags = flagEndStream
		}
		c.out = append(appendHeader(c.out, room, typeData, flags, s.ID), p[:room]...)
		s.sendWindow -= int64(room)
		c.sendWindow -= int64(room)
		n += room
		p = p[room:]
		c.earn(workData)
		if flags != 0 {
			c.endSend(s)
			return n, nil
		}
	}
	if end {
		c.out = appendHeader(c.out, 0, typeData, flagEndStream, s.ID)
		c.endSend(s)
	}
	return n, nil
}

// SendWindow returns how many bytes SendData would take now, at least 0.
func (c *Conn) SendWindow(s *Stream) int {
	if c.maySend(s) != nil {
		return 0
	}
	return int(max(0, min(s.sendWindow, c.sendWindow)))
}

// unblock tells streams that wait for the connection's window, those that have waited longest first.
func (c *Conn) unblock() {
	// Handlers may block and unblock any stream meanwhile: unlistBlocked moves the cursor along.
	for c.cursor = 0; c.cursor < len(c.blocked) && c.sendWindow > 0; {
		s := c.blocked[c.cursor]
		if s.sendWindow <= 0 {
			c.cursor++
			continue
		}
		c.unlistBlocked(s)
		c.ev.OnWindow(s)
	}
}

func (c *Conn) unlistBlocked(s *Stream) {
	s.blocked = false
	for i, b := range c.blocked {
		if b == s {
			if i < c.cursor {
				c.cursor--
			}
			c.blocked = append(c.blocked[:i], c.blocked[i+1:]...)
			return
		}
	}
}
