package h1

import "github.com/weft-mesh/weft/internal/message"

// ParseResponse reads one response head, as ParseRequest does. The method of the request decides whether
// content follows (RFC 9112, section 6.3). The reason phrase is checked and dropped.
//
// Length in h is what was declared, also where no content follows (HEAD, 304); it is Unknown for 1xx, 204
// and what opens a tunnel, where Content-Length has no meaning.
func ParseResponse(b []byte, requestMethod string, h *message.Head, lim Limits) (n int, f Framing, err error) {
	h.Reset()
	p := parser{b: b[:min(len(b), lim.HeadBytes)], h: h, response: true}
	err = p.responseHead(lim)
	if err == errMore && len(b) >= lim.HeadBytes {
		err = p.fail(502, "header section too large")
	}
	if err != nil {
		h.Reset()
		if err == errMore {
			err = nil
		}
		return 0, Framing{}, err
	}
	f, err = p.responseFraming(requestMethod)
	if err != nil {
		h.Reset()
		return 0, Framing{}, err
	}
	p.finish()
	return p.i, f, nil
}

func (p *parser) responseHead(lim Limits) error {
	if err := p.version(); err != nil {
		return err
	}
	if err := p.status(); err != nil {
		return err
	}
	if p.i < len(p.b) && p.b[p.i] == ' ' {
		p.i = valueEnd(p.b, p.i)
	}
	if err := p.lineEnd(); err != nil {
		return err
	}
	return p.fields(lim.Fields)
}

// status reads the space before the code and the code.
func (p *parser) status() error {
	b := p.b[p.i:]
	for i := range min(len(b), 4) {
		if i == 0 && b[i] != ' ' || i > 0 && b[i]-'0' > 9 || i == 1 && b[i] == '0' {
			return p.fail(502, "bad status "+quote(view(b[:i+1])))
		}
	}
	if len(b) < 5 {
		return errMore
	}
	if b[4] != ' ' && b[4] != '\r' && b[4] != '\n' {
		return p.fail(502, "bad status "+quote(view(b[:5])))
	}
	p.h.Status = int(b[1]-'0')*100 + int(b[2]-'0')*10 + int(b[3]-'0')
	p.i += 4
	return nil
}

func (p *parser) responseFraming(method string) (Framing, error) {
	if err := p.connectionOptions(); err != nil {
		return Framing{}, err
	}
	f := Framing{Minor: p.minor, KeepAlive: p.persists()}
	h := p.h
	if method == "CONNECT" && h.Status/100 == 2 {
		// Their framing fields MUST be ignored.
		f.Body, f.KeepAlive = Tunnel, false
		return f, nil
	}
	chunked, err := p.chunked()
	if err != nil {
		return Framing{}, err
	}
	n, err := p.contentLength()
	if err != nil {
		return Framing{}, err
	}
	switch {
	case h.Status == 101:
		h.Protocol = p.protocol()
		f.Body, f.KeepAlive = Tunnel, false
	case h.Status < 200 || h.Status == 204:
		// No content, whatever is declared. A peer that declares some may send it: do not reuse.
		f.KeepAlive = f.KeepAlive && !chunked && n <= 0
	case method == "HEAD" || h.Status == 304:
		h.Length = n
	case chunked:
		f.Body = Chunked
	case n > 0:
		h.Length = n
		f.Body, f.Length = Length, n
	case n == 0:
		h.Length = 0
	default:
		f.Body, f.KeepAlive = UntilClose, false
	}
	return f, nil
}
