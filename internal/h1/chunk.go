package h1

import (
	"github.com/weft-mesh/weft/internal/message"
)

// AppendChunk appends data as one chunk. Empty data appends nothing: an empty chunk would end the content.
func AppendChunk(dst, data []byte) []byte {
	if len(data) == 0 {
		return dst
	}
	dst = AppendChunkHeader(dst, len(data))
	dst = append(dst, data...)
	return append(dst, "\r\n"...)
}

// AppendChunkHeader appends the size line of a chunk of n bytes, for a caller that writes the bytes and
// the CR LF behind them itself. For n <= 0 it appends nothing.
func AppendChunkHeader(dst []byte, n int) []byte {
	if n <= 0 {
		return dst
	}
	const digits = "0123456789abcdef"
	var hex [18]byte
	at := len(hex) - 2
	hex[at], hex[at+1] = '\r', '\n'
	for ; n > 0; n >>= 4 {
		at--
		hex[at] = digits[n&15]
	}
	return append(dst, hex[at:]...)
}

// AppendLastChunk appends the end of chunked content. Trailers that AppendRequest would not send as fields,
// and those that must not be trailers, are left out.
func AppendLastChunk(dst []byte, trailers []message.Field) []byte {
	dst = append(dst, "0\r\n"...)
	for i := range trailers {
		f := &trailers[i]
		if sendable(f.Name) == kindPlain && trailerAllowed(f.Name) && validValue(f.Value) {
			dst = append(dst, f.Name...)
			dst = append(dst, ": "...)
			dst = append(dst, f.Value...)
			dst = append(dst, "\r\n"...)
		}
	}
	return append(dst, "\r\n"...)
}

// chunkState is what a ChunkReader expects next.
type chunkState uint8

const (
	chunkSize chunkState = iota
	chunkData
	chunkDataEnd
	chunkTrailers
	chunkDone
)

// maxExcess bounds, over the whole content, the bytes of size lines beyond what their chunks earn: chunks of
// one byte with long extensions would make us read far more than we forward.
const maxExcess = 16 << 10

// ChunkReader decodes chunked content (RFC 9112, section 7.1) and its trailers. The zero value is ready.
type ChunkReader struct {
	state    chunkState
	left     int64 // of the chunk, in bytes
	excess   int64
	trailer  int // bytes of the trailer section so far
	lines    int // of the trailer section so far
	trailers message.Head
}

// Reset makes r ready for another message. The trailers of the last end here.
func (r *ChunkReader) Reset() {
	r.trailers.Reset()
	*r = ChunkReader{trailers: r.trailers}
}

// Trailers returns the trailer fields once Next has said done. Names are in lower case; both strings live
// until Reset. Fields that must not be trailers are not among them.
func (r *ChunkReader) Trailers() []message.Field { return r.trailers.Fields }

// Next consumes n bytes from the beginning of b. data is the content among them, a view into b, at most one
// chunk. n == 0 means: call again with more behind b (a size line or trailer line is not consumed in parts).
// done means the message ends after these n bytes. After an error, an *Error, or after done, call Reset.
func (r *ChunkReader) Next(b []byte, lim Limits) (data []byte, n int, done bool, err error) {
	for {
		var used int
		switch r.state {
		case chunkSize:
			used, err = r.size(b[n:], lim)
		case chunkData:
			used = int(min(r.left, int64(len(b)-n)))
			if used == 0 {
				return nil, n, false, nil
			}
			data = b[n : n+used : n+used]
			r.left -= int64(used)
			if r.left == 0 {
				r.state = chunkDataEnd
				// Take the line end too if it is there, so that it does not cost another call.
				end, err := r.dataEnd(b[n+used:])
				return data, n + used + end, false, err
			}
			return data, n + used, false, nil
		case chunkDataEnd:
			used, err = r.dataEnd(b[n:])
		case chunkTrailers:
			used, err = r.trailerLine(b[n:], lim)
		case chunkDone:
			return nil, n, true, nil
		}
		if err != nil {
			return nil, n, false, err
		}
		if used == 0 {
			return nil, n, false, nil
		}
		n += used
	}
}

func (r *ChunkReader) dataEnd(b []byte) (int, error) {
	switch {
	case len(b) > 0 && b[0] != '\r', len(b) > 1 && b[1] != '\n':
		return 0, &Error{400, "chunk is longer than its size"}
	case len(b) < 2:
		return 0, nil
	}
	r.state = chunkSize
	return 2, nil
}

// size reads a size line: hexadecimal digits without sign or whitespace, then extensions, which are
// skipped unread.
func (r *ChunkReader) size(b []byte, lim Limits) (int, error) {
	const maxDigits = 16
	size, i := int64(0), 0
	for i < len(b) && isHex(b[i]) {
		if i == maxDigits || size>>59 != 0 {
			return 0, &Error{400, "chunk size too large"}
		}
		d := b[i] - '0'
		if d > 9 {
			d = (b[i] | 0x20) - 'a' + 10
		}
		size = size<<4 | int64(d)
		i++
	}
	if i == len(b) {
		return 0, nil
	}
	if i == 0 || b[i] != ';' && b[i] != '\r' {
		return 0, &Error{400, "bad byte " + quoteByte(b[i]) + " in a chunk size"}
	}
	end := valueEnd(b[:min(len(b), i+lim.ChunkExtBytes+1)], i)
	if end-i > lim.ChunkExtBytes {
		return 0, &Error{400, "chunk extension too long"}
	}
	if end == len(b) {
		return 0, nil
	}
	if b[end] != '\r' || end+1 < len(b) && b[end+1] != '\n' {
		return 0, &Error{400, "bad byte in a chunk extension"}
	}
	if end+1 == len(b) {
		return 0, nil
	}
	r.excess = max(0, r.excess+int64(end+2)-16-2*min(size, maxExcess))
	if r.excess > maxExcess {
		return 0, &Error{400, "chunks with little content and long extensions"}
	}
	r.left = size
	r.state = chunkData
	if size == 0 {
		r.state = chunkTrailers
	}
	return end + 2, nil
}

// trailerLine reads one line of the trailer section.
func (r *ChunkReader) trailerLine(b []byte, lim Limits) (int, error) {
	room := lim.TrailerBytes - r.trailer
	p := parser{b: b[:min(len(b), room)], h: &r.trailers}
	name, value, err := p.trailer()
	switch {
	case err == errMore && len(b) >= room:
		return 0, &Error{431, "trailer section too large"}
	case err == errMore:
		return 0, nil
	case err != nil:
		return 0, err
	case name == "":
		r.state = chunkDone
		return p.i, nil
	}
	if r.lines++; r.lines > lim.Fields {
		return 0, &Error{431, "too many trailer fields"}
	}
	r.trailer += p.i
	name = p.ownLower(name)
	switch name {
	case "content-length", "transfer-encoding", "host":
		// Dropping would do (RFC 9110, section 6.5.1), but only an attempt to confuse hops sends these.
		return 0, &Error{400, "trailer field " + name}
	}
	if trailerAllowed(name) {
		r.trailers.Add(name, p.own(value))
	}
	return p.i, nil
}

// trailer reads a field line; an empty name means the section has ended.
func (p *parser) trailer() (name, value string, err error) {
	if len(p.b) == 0 {
		return "", "", errMore
	}
	if p.b[0] == '\r' {
		return "", "", p.lineEnd()
	}
	if name, _, err = p.fieldName(); err != nil {
		return "", "", err
	}
	value, err = p.fieldValue()
	return name, value, err
}

// trailerAllowed says whether a field may be a trailer: not those for framing, routing, authentication,
// request modifiers, response control and content format (RFC 9110, section 6.5.1).
func trailerAllowed(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "upgrade", "te", "trailer", "content-length", "transfer-encoding", "host",
		"authorization", "proxy-authorization", "www-authenticate", "proxy-authenticate", "authentication-info",
		"cookie", "set-cookie", "expect", "max-forwards", "cache-control", "pragma", "range", "age", "date",
		"expires", "location", "retry-after", "vary", "warning", "content-encoding", "content-type", "content-range",
		"if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range":
		return false
	}
	return true
}
