package h2

import "encoding/binary"

// Frame types and flags (RFC 9113, section 6).
const (
	typeData         = 0x0
	typeHeaders      = 0x1
	typePriority     = 0x2
	typeRSTStream    = 0x3
	typeSettings     = 0x4
	typePushPromise  = 0x5
	typePing         = 0x6
	typeGoAway       = 0x7
	typeWindowUpdate = 0x8
	typeContinuation = 0x9

	flagAck        = 0x1
	flagEndStream  = 0x1
	flagEndHeaders = 0x4
	flagPadded     = 0x8
	flagPriority   = 0x20
)

// Settings (section 6.5.2; RFC 8441, section 3).
const (
	settingHeaderTableSize = 0x1
	settingEnablePush      = 0x2
	settingMaxStreams      = 0x3
	settingInitialWindow   = 0x4
	settingMaxFrame        = 0x5
	settingMaxHeaderList   = 0x6
	settingExtendedConnect = 0x8
)

const (
	clientPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
	frameHeader   = 9
	defaultWindow = 65535
	maxWindow     = 1<<31 - 1
	minMaxFrame   = 16384
	maxMaxFrame   = 1<<24 - 1
	maxStreamID   = 1<<31 - 1
)

func length(b []byte) int { return int(b[0])<<16 | int(b[1])<<8 | int(b[2]) }

// appendHeader begins a frame.
func appendHeader(out []byte, n int, kind, flags byte, id uint32) []byte {
	return append(out, byte(n>>16), byte(n>>8), byte(n), kind, flags, byte(id>>24), byte(id>>16), byte(id>>8), byte(id))
}

// frame handles one whole frame.
func (c *Conn) frame(b []byte) error {
	kind, flags := b[3], b[4]
	id := binary.BigEndian.Uint32(b[5:]) & maxStreamID
	p := b[frameHeader:]
	if !c.settled {
		if kind != typeSettings || flags&flagAck != 0 {
			return c.fail(ErrCodeProtocol, "the first frame is not SETTINGS")
		}
		c.settled = true
	}
	if c.block.open && (kind != typeContinuation || id != c.block.id) {
		return c.fail(ErrCodeProtocol, "a header block is interrupted")
	}
	switch kind {
	case typeData:
		return c.onData(id, flags, p)
	case typeHeaders:
		return c.onHeaders(id, flags, p)
	case typeContinuation:
		return c.onContinuation(id, flags, p)
	case typeRSTStream:
		return c.onReset(id, p)
	case typeSettings:
		return c.onSettings(id, flags, p)
	case typePing:
		return c.onPing(id, flags, p)
	case typeWindowUpdate:
		return c.onWindowUpdate(id, p)
	case typeGoAway:
		return c.onGoAway(id, p)
	case typePriority:
		return c.onPriority(id, p)
	case typePushPromise:
		return c.fail(ErrCodeProtocol, "PUSH_PROMISE, which is not enabled")
	}
	return c.spend(costUnknown, "too many frames of unknown type")
}

// unpad takes the padding off a DATA or HEADERS payload.
func (c *Conn) unpad(flags byte, p []byte) ([]byte, error) {
	if flags&flagPadded == 0 {
		return p, nil
	}
	if len(p) == 0 {
		return nil, c.fail(ErrCodeFrameSize, "a padded frame without its pad length")
	}
	pad := int(p[0])
	p = p[1:]
	if pad > len(p) {
		return nil, c.fail(ErrCodeProtocol, "more padding than payload")
	}
	return p[:len(p)-pad], nil
}

func (c *Conn) onData(id uint32, flags byte, p []byte) error {
	if id == 0 {
		return c.fail(ErrCodeProtocol, "DATA on stream 0")
	}
	size := int64(len(p))
	if size > c.recvWindow {
		return c.fail(ErrCodeFlowControl, "DATA beyond the connection's window")
	}
	data, err := c.unpad(flags, p)
	if err != nil {
		return err
	}
	c.recvWindow -= size
	s := c.streams[id]
	if s == nil || s.recvClosed {
		c.give(size)
		return c.dataOnClosed(s, id)
	}
	if size > s.recvWindow {
		c.give(size)
		return c.streamError(s, ErrCodeFlowControl, "DATA beyond the stream's window")
	}
	s.recvWindow -= size
	end := flags&flagEndStream != 0
	if len(data) == 0 && !end {
		if err := c.spend(costEmpty, "too many empty DATA frames"); err != nil {
			return err
		}
	} else {
		c.earn(workData)
	}
	if !s.headDone {
		c.give(size)
		return c.streamError(s, ErrCodeProtocol, "DATA before the head")
	}
	s.received += int64(len(data))
	if s.declared >= 0 && (s.received > s.declared || end && s.received != s.declared) {
		c.give(size)
		return c.streamError(s, ErrCodeProtocol, "content does not have the declared length")
	}
	if s.released {
		c.give(size)
		if end {
			c.endReceive(s, id)
		} else if c.spent(s) {
			c.Reset(s, ErrCodeNo)
		}
		return nil
	}
	s.held += int64(len(data))
	if pad := size - int64(len(data)); pad > 0 {
		c.giveStream(s, pad)
	}
	c.admit(s, size)
	c.ev.OnData(s, data, end)
	if end {
		c.endReceive(s, id)
	}
	return nil
}

// dataOnClosed answers DATA for a stream that takes none.
func (c *Conn) dataOnClosed(s *Stream, id uint32) error {
	switch {
	case s != nil:
		return c.streamError(s, ErrCodeStreamClosed, "DATA after the end of the stream")
	case c.idle(id):
		return c.fail(ErrCodeProtocol, "DATA on an idle stream")
	case c.wasReset(id):
		return c.spend(costLate, "DATA keeps coming for streams that were reset")
	}
	return c.streamErrorID(id, ErrCodeStreamClosed, "DATA on closed streams")
}

func (c *Conn) onReset(id uint32, p []byte) error {
	switch {
	case len(p) != 4:
		return c.fail(ErrCodeFrameSize, "RST_STREAM that is not 4 bytes long")
	case id == 0:
		return c.fail(ErrCodeProtocol, "RST_STREAM on stream 0")
	case c.idle(id):
		return c.fail(ErrCodeProtocol, "RST_STREAM on an idle stream")
	}
	s := c.streams[id]
	cost := costReset
	if s != nil && s.headSent && !c.cfg.Client {
		cost = costLate // an answer has begun: the stream was used
	}
	if err := c.spend(cost, "too many streams reset"); err != nil {
		return err
	}
	if s != nil {
		c.closed(s, ErrCode(binary.BigEndian.Uint32(p)), true)
	}
	return nil
}

func (c *Conn) onPing(id uint32, flags byte, p []byte) error {
	switch {
	case id != 0:
		return c.fail(ErrCodeProtocol, "PING on a stream")
	case len(p) != 8:
		return c.fail(ErrCodeFrameSize, "PING that is not 8 bytes long")
	}
	if flags&flagAck != 0 && c.pings > 0 {
		c.pings--
		return c.onPong(p)
	}
	if err := c.spend(costPing, "too many PINGs"); err != nil || flags&flagAck != 0 {
		return err
	}
	c.out = append(appendHeader(c.out, 8, typePing, flagAck, 0), p...)
	return c.queued(frameHeader + 8)
}

func (c *Conn) onPriority(id uint32, p []byte) error {
	if id == 0 {
		return c.fail(ErrCodeProtocol, "PRIORITY on stream 0")
	}
	if len(p) != 5 {
		return c.streamErrorID(id, ErrCodeFrameSize, "PRIORITY that is not 5 bytes long")
	}
	if binary.BigEndian.Uint32(p)&maxStreamID == id {
		return c.streamErrorID(id, ErrCodeProtocol, "a stream that depends on itself")
	}
	return c.spend(costPriority, "too many PRIORITY frames")
}

func (c *Conn) onWindowUpdate(id uint32, p []byte) error {
	if len(p) != 4 {
		return c.fail(ErrCodeFrameSize, "WINDOW_UPDATE that is not 4 bytes long")
	}
	if err := c.spend(costWindow, "too many WINDOW_UPDATE frames"); err != nil {
		return err
	}
	n := int64(binary.BigEndian.Uint32(p) & maxStreamID)
	if id == 0 {
		if n == 0 {
			return c.fail(ErrCodeProtocol, "WINDOW_UPDATE of 0")
		}
		if c.sendWindow += n; c.sendWindow > maxWindow {
			return c.fail(ErrCodeFlowControl, "the connection's window overflows")
		}
		c.unblock()
		return nil
	}
	s := c.streams[id]
	switch {
	case s == nil && c.idle(id):
		return c.fail(ErrCodeProtocol, "WINDOW_UPDATE on an idle stream")
	case s == nil:
		return nil
	case n == 0:
		return c.streamError(s, ErrCodeProtocol, "WINDOW_UPDATE of 0")
	}
	if s.sendWindow += n; s.sendWindow > maxWindow {
		return c.streamError(s, ErrCodeFlowControl, "the stream's window overflows")
	}
	if s.blocked && s.sendWindow > 0 && c.sendWindow > 0 {
		c.unlistBlocked(s)
		c.ev.OnWindow(s)
	}
	return nil
}
