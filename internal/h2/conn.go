package h2

import (
	"bytes"

	"github.com/weft-mesh/weft/internal/h2/hpack"
)

// Config bounds and shapes a connection. Zero values take the defaults given.
type Config struct {
	Client          bool
	MaxStreams      uint32      // concurrent streams the peer may open; 1,000
	HeadBytes       int         // decoded header list, as RFC 9113 section 6.5.2 counts; 64 KiB
	StreamWindow    uint32      // receive window of each stream; 256 KiB
	ConnWindow      uint32      // receive window of the connection; 1 MiB
	ExtendedConnect bool        // allow RFC 8441
	MaxOutput       int         // control frames queued but not written; 1 MiB
	Pressed         func() bool // memory is short: the connection's window opens as content is used, not as it comes; nil is never
	AbuseLimit      int         // balance of abuse.go that ends the connection; 2,000
}

func (c *Config) setDefaults() {
	if c.MaxStreams == 0 {
		c.MaxStreams = 1000
	}
	if c.HeadBytes == 0 {
		c.HeadBytes = 64 << 10
	}
	if c.StreamWindow == 0 {
		c.StreamWindow = 256 << 10
	}
	if c.ConnWindow == 0 {
		c.ConnWindow = 1 << 20
	}
	if c.AbuseLimit == 0 {
		c.AbuseLimit = defaultAbuseLimit
	}
	if c.MaxOutput == 0 {
		c.MaxOutput = 1 << 20
	}
}

// Handler takes the events of a connection. Its methods are called from within Receive; they may call the
// Send methods, Reset, Consume and Release, not Receive.
type Handler interface {
	// OnHead: s.Head holds a request, a response, or an informational response.
	OnHead(s *Stream, end bool)
	// OnData: p is valid during the call. Whoever has used the bytes calls Consume.
	OnData(s *Stream, p []byte, end bool)
	// OnTrailers: s.Trailers is filled; the peer sends no more.
	OnTrailers(s *Stream)
	// OnReset: the peer gave the stream up, or made a mistake for which it was reset.
	OnReset(s *Stream, code ErrCode)
	// OnWindow: SendData had not taken all; now it takes more.
	OnWindow(s *Stream)
	// OnGoAway: the peer takes no new streams. Those above last were not processed: each also gets OnReset
	// with ErrCodeRefusedStream.
	OnGoAway(last uint32, code ErrCode)
	// OnSettings: the peer's settings have changed.
	OnSettings()
}

// Conn is the state of one connection. It must be made by NewConn.
type Conn struct {
	cfg Config
	ev  Handler
	err error

	in      []byte // an unfinished frame
	preface int    // bytes of the client's preface still to come
	settled bool   // the peer's SETTINGS have come
	out     []byte
	written int // of out
	control int // bytes of control frames in out

	dec *hpack.Decoder
	enc *hpack.Encoder

	block
	head   headReader
	digits []byte // of decimal
	crumbs []byte // the cookie of the block at hand, when it came in several fields

	streams   map[uint32]*Stream
	free      []*Stream
	blocked   []*Stream
	nextID    uint32 // of a stream we open
	lastPeer  uint32 // highest the peer opened
	peerOpen  int
	ourOpen   int
	abandoned int      // streams whose owner does not wait for the end of the request
	resets    []uint32 // streams reset lately, a ring: what is still on its way for them is ignored
	resetAt   int
	cursor    int // unblock's place in blocked
	pings     int // ours, not yet answered
	acks      int // SETTINGS of ours, not yet acknowledged

	sendWindow int64
	recvWindow int64
	unreturned int64 // received, used, not yet given back by WINDOW_UPDATE

	peer peerSettings
	away awayState
	abuse
}

// peerSettings are what the peer has said (RFC 9113, section 6.5.2).
type peerSettings struct {
	window     int64
	frame      int
	maxStreams uint32
	extended   bool
	settled    bool // its first SETTINGS have come
}

// NewConn starts a connection: its preface and SETTINGS are in the output.
func NewConn(cfg Config, ev Handler) *Conn {
	cfg.setDefaults()
	c := &Conn{
		cfg: cfg, ev: ev, streams: map[uint32]*Stream{}, nextID: 1,
		sendWindow: defaultWindow, recvWindow: int64(cfg.ConnWindow),
		peer: peerSettings{window: defaultWindow, frame: minMaxFrame, maxStreams: 100},
	}
	c.dec, c.enc = hpack.NewDecoder(), hpack.NewEncoder()
	if cfg.Client {
		c.out = append(c.out, clientPreface...)
	} else {
		c.preface = len(clientPreface)
	}
	c.sendSettings()
	if extra := int64(cfg.ConnWindow) - defaultWindow; extra > 0 {
		c.windowUpdate(0, uint32(extra))
	} else {
		c.recvWindow = defaultWindow
	}
	return c
}

// Output returns the bytes to write. They are valid until the next call of any method.
func (c *Conn) Output() []byte { return c.out[c.written:] }

// maxKeptOutput is the capacity an empty output buffer may keep; while streams are open, twice as much, since bulk
// would fill it anew with each write.
const maxKeptOutput = 32 << 10

// Discard takes n bytes off the front of the output: they have been written.
func (c *Conn) Discard(n int) {
	c.written += n
	if c.written < len(c.out) {
		return
	}
	c.out, c.written, c.control = c.out[:0], 0, 0
	if most := maxKeptOutput; cap(c.out) > most && (len(c.streams) == 0 || cap(c.out) > 2*most) {
		c.out = nil
	}
}

// Streams returns the number of streams that are open in either direction.
func (c *Conn) Streams() int { return len(c.streams) }

// Err returns why the connection has ended, nil while it lives.
func (c *Conn) Err() error { return c.err }

// Close ends the connection without a word: the transport is gone. Every stream gets OnReset.
func (c *Conn) Close() {
	if c.err == nil {
		c.err = ErrConnClosed
	}
	for _, s := range c.streams {
		c.closed(s, ErrCodeCancel, true)
	}
}

// fail ends the connection for the peer's fault: GOAWAY with the reason is queued.
func (c *Conn) fail(code ErrCode, reason string) error {
	if c.err == nil {
		c.goAwayFrame(c.lastPeer, code, reason)
		c.err = &ConnectionError{code, reason}
	}
	return c.err
}

// Receive takes bytes from the peer, all of them. After an error the connection is over: Output holds the
// GOAWAY that says why.
func (c *Conn) Receive(p []byte) error {
	if c.err != nil {
		return c.err
	}
	if c.preface > 0 {
		done := len(clientPreface) - c.preface
		n := min(c.preface, len(p))
		if !bytes.Equal(p[:n], []byte(clientPreface[done:done+n])) {
			return c.fail(ErrCodeProtocol, "the connection does not begin with the HTTP/2 preface")
		}
		c.preface -= n
		p = p[n:]
	}
	for len(c.in) > 0 && len(p) > 0 {
		// Only the unfinished frame is completed by copying; what follows is parsed where it is.
		n := min(missing(c.in), len(p))
		c.in = append(c.in, p[:n]...)
		p = p[n:]
		if err := c.checkLength(c.in); err != nil {
			return err
		}
		if missing(c.in) > 0 {
			continue
		}
		if err := c.frame(c.in); err != nil {
			return err
		}
		if c.err != nil { // a handler closed the connection
			return c.err
		}
		c.in = c.in[:0]
	}
	for len(p) > 0 {
		if err := c.checkLength(p); err != nil {
			return err
		}
		if missing(p) > 0 {
			c.in = append(c.in, p...)
			return nil
		}
		n := frameHeader + length(p)
		if err := c.frame(p[:n]); err != nil {
			return err
		}
		if c.err != nil {
			return c.err
		}
		p = p[n:]
	}
	if len(c.in) == 0 && len(c.streams) == 0 {
		c.in = nil // idle connections hold nothing
	}
	return nil
}

// missing returns how many bytes a frame that begins with b needs to go on: to its header's end or its own.
func missing(b []byte) int {
	if len(b) < frameHeader {
		return frameHeader - len(b)
	}
	return max(0, frameHeader+length(b)-len(b))
}

func (c *Conn) checkLength(b []byte) error {
	if len(b) >= frameHeader && length(b) > minMaxFrame {
		return c.fail(ErrCodeFrameSize, "a frame larger than 16,384 bytes")
	}
	return nil
}
