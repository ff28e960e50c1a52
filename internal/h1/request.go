package h1

import "github.com/weft-mesh/weft/internal/message"

// ParseRequest reads one request head from the beginning of b into h, which it resets first, and returns
// the number of bytes it took. n == 0 without an error means that b is a valid beginning: call again with
// more bytes behind it. The error is an *Error. Unless n > 0, what is in h is unspecified. h owns its
// strings: b may be reused. One empty line before the request line is skipped (RFC 9112, section 2.2).
//
// A request for the absolute form must agree with Host; Authority is the target's and Path its path.
func ParseRequest(b []byte, h *message.Head, lim Limits) (n int, f Framing, err error) {
	h.Reset()
	p := parser{b: b[:min(len(b), lim.HeadBytes)], h: h}
	err = p.request(lim)
	if err == errMore && len(b) >= lim.HeadBytes {
		err = p.tooLong()
	}
	if err != nil {
		h.Reset() // it may hold views of b
		if err == errMore {
			err = nil
		}
		return 0, Framing{}, err
	}
	f, err = p.requestFraming()
	if err != nil {
		h.Reset()
		return 0, Framing{}, err
	}
	p.finish()
	return p.i, f, nil
}

func (p *parser) tooLong() error {
	if p.h.Path == "" && p.h.Authority == "" {
		return p.fail(414, "request line too long")
	}
	return p.fail(431, "header section too large")
}

func (p *parser) request(lim Limits) error {
	if len(p.b) > 0 && p.b[0] == '\r' {
		if err := p.lineEnd(); err != nil {
			return err
		}
	}
	if err := p.method(); err != nil {
		return err
	}
	target, err := p.target()
	if err != nil {
		return err
	}
	if err := p.version(); err != nil {
		return err
	}
	if err := p.setTarget(target); err != nil {
		return err
	}
	if err := p.lineEnd(); err != nil {
		return err
	}
	return p.fields(lim.Fields)
}

// method reads the method and the space behind it.
func (p *parser) method() error {
	b, n := p.b[p.i:], 0
	for n < len(b) && lowerToken[b[n]] != 0 {
		if n++; n > maxMethod {
			return p.fail(501, "method too long")
		}
	}
	if n == len(b) {
		return errMore
	}
	if n == 0 || b[n] != ' ' {
		return p.fail(400, "bad byte "+quoteByte(b[n])+" in the method")
	}
	if p.h.Method = knownMethod(b[:n]); p.h.Method == "" {
		p.h.Method = view(b[:n])
	}
	p.i += n + 1
	return nil
}

// target reads the request target and the space behind it.
func (p *parser) target() (string, error) {
	b, n := p.b[p.i:], 0
	for n < len(b) && targetByte[b[n]] {
		n++
	}
	if n == len(b) {
		return "", errMore
	}
	if b[n] != ' ' {
		return "", p.fail(400, "bad byte "+quoteByte(b[n])+" in the request target")
	}
	if n == 0 {
		return "", p.fail(400, "empty request target")
	}
	p.i += n + 1
	return view(b[:n]), nil
}

// version reads "HTTP/1.0" or "HTTP/1.1".
func (p *parser) version() error {
	const prefix = "HTTP/1."
	b := p.b[p.i:]
	if len(b) > len(prefix) && string(b[:len(prefix)]) == prefix && b[len(prefix)]-'0' <= 1 {
		p.minor = b[len(prefix)] - '0'
		p.i += len(prefix) + 1
		return nil
	}
	for i := range min(len(b), len(prefix)+1) {
		switch {
		case i < 5 && b[i] != prefix[i]:
			return p.fail(400, "bad protocol version "+quote(view(b[:i+1])))
		case i == 5 && b[i] != '1':
			return p.fail(505, "HTTP version other than 1.0 and 1.1")
		case i == 6 && b[i] != '.', i == 7:
			return p.fail(505, "HTTP version other than 1.0 and 1.1")
		}
	}
	return errMore
}

func (p *parser) requestFraming() (Framing, error) {
	if p.hosts > 1 {
		return Framing{}, p.fail(400, "several Host fields")
	}
	if p.hosts == 0 && p.minor == 1 {
		return Framing{}, p.fail(400, "no Host field")
	}
	if err := p.setAuthority(); err != nil {
		return Framing{}, err
	}
	if err := p.connectionOptions(); err != nil {
		return Framing{}, err
	}
	f := Framing{Minor: p.minor, Expect100: p.expect100, TrailersOK: p.trailersOK}
	f.KeepAlive = p.persists()
	chunked, err := p.chunked()
	if err != nil {
		return Framing{}, err
	}
	n, err := p.contentLength()
	if err != nil {
		return Framing{}, err
	}
	if p.h.Method == "CONNECT" && (chunked || n > 0) {
		return Framing{}, p.fail(400, "CONNECT with content")
	}
	p.h.Length = n
	p.h.Protocol = p.protocol()
	switch {
	case chunked:
		f.Body = Chunked
	case n > 0:
		f.Body, f.Length = Length, n
	}
	return f, nil
}
