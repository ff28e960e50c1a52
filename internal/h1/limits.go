package h1

// Limits bound what a message may cost before it is refused. All must be positive.
type Limits struct {
	HeadBytes     int // first line and field section, with their line ends
	Fields        int // field lines of a head, and of a trailer section
	ChunkExtBytes int // extensions on one chunk-size line
	TrailerBytes  int // trailer section, with its line ends
}

// DefaultLimits returns 64 KiB and 200 fields for a head, 256 bytes for the extensions of a chunk and
// 8 KiB for trailers.
func DefaultLimits() Limits {
	return Limits{HeadBytes: 64 << 10, Fields: 200, ChunkExtBytes: 256, TrailerBytes: 8 << 10}
}

// BodyKind says how the end of a message's content is found (RFC 9112, section 6.3).
type BodyKind uint8

// The kinds of body.
const (
	NoBody     BodyKind = iota // the message ends with its head
	Length                     // a known number of bytes
	Chunked                    // chunks, then trailers
	UntilClose                 // response only: all until the connection closes
	Tunnel                     // opaque bytes both ways, after 101 or 2xx to CONNECT
)

// String returns the kind's name.
func (k BodyKind) String() string {
	switch k {
	case NoBody:
		return "none"
	case Length:
		return "length"
	case Chunked:
		return "chunked"
	case UntilClose:
		return "until close"
	case Tunnel:
		return "tunnel"
	}
	return "unknown"
}

// Framing is what a head said about its connection and the content that follows.
type Framing struct {
	Body   BodyKind
	Length int64 // of the content that follows, in bytes; 0 unless Body is Length

	// KeepAlive reports whether the connection persists after this message as far as the sender is
	// concerned. It is never set for an HTTP/1.0 request: a proxy does not persist there (RFC 9112, 9.3).
	KeepAlive  bool
	Minor      uint8 // 0 or 1: HTTP/1.0 or HTTP/1.1
	Expect100  bool  // request: Expect: 100-continue; ignored in HTTP/1.0 (RFC 9110, 10.1.1)
	TrailersOK bool  // request: TE: trailers
}
