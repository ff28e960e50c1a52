package proxy

import (
	"bytes"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// speech is a protocol as its first bytes show it.
type speech uint8

const (
	unknown speech = iota // more bytes are needed
	speaksH1
	speaksH2
	opaque
	speaksTLS // and rules want to know the server name in its hello
	silence   // nothing is said
)

const h2Preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

// longestMethod bounds how far a method may reach in the first bytes of HTTP/1.1.
const longestMethod = 24

// recognise tells HTTP/1.1, HTTP/2 with prior knowledge, and everything else apart.
func recognise(b []byte) speech {
	if len(b) == 0 {
		return unknown
	}
	if n := min(len(b), len(h2Preface)); string(b[:n]) == h2Preface[:n] {
		if n < 3 {
			return unknown // "P" and "PR" begin POST and PROPFIND too
		}
		if n < len(h2Preface) {
			return unknown
		}
		return speaksH2
	}
	space := bytes.IndexByte(b, ' ')
	method := b
	if space >= 0 {
		method = b[:space]
	}
	for _, c := range method {
		if (c < 'A' || c > 'Z') && c != '-' && c != '_' {
			return opaque
		}
	}
	switch {
	case len(method) > longestMethod || len(method) == 0:
		return opaque
	case space < 0:
		return unknown
	case space+1 == len(b):
		return unknown
	}
	return recogniseTarget(b[space+1:])
}

// recogniseTarget looks at what follows the method: a request target never begins with a space or control.
func recogniseTarget(b []byte) speech {
	if b[0] <= ' ' || b[0] >= 0x7f {
		return opaque
	}
	line := bytes.IndexByte(b, '\n')
	if line < 0 {
		if len(b) > 8<<10 {
			return opaque
		}
		return unknown
	}
	if !bytes.Contains(b[:line], []byte(" HTTP/")) {
		return opaque
	}
	return speaksH1
}

// serveH2Conn serves a connection that speaks HTTP/2. The bytes in first were read already.
func (w *worker) serveH2Conn(raw *loop.Conn, t *secured, o *origin, first []byte) {
	c := newH2(w, raw, t, h2.Config{ExtendedConnect: true, MaxStreams: maxStreams, Pressed: w.pressed})
	c.origin = o
	w.served[c] = struct{}{}
	c.start(first)
}

// maxStreams bounds the requests at work on one connection of a program or client.
const maxStreams = 1000

// serverFirst are ports on whose protocols the server speaks first, so that waiting for the client is vain.
func serverFirst(port uint16) bool {
	switch port {
	case 21, 22, 25, 110, 143, 587, 3306, 5900:
		return true
	}
	return false
}

// declared returns the protocol of the port a connection is for, and notes the service.
func (w *worker) declared(o *origin) model.Protocol {
	svc := w.config.byName[o.service]
	if o.kind == fromCapture {
		if svc = w.config.byVIP[o.dst.Addr()]; svc != nil {
			o.service, o.port = svc.Name, o.dst.Port()
		}
	}
	if svc == nil {
		return model.Auto
	}
	p, _ := svc.Port(o.port)
	return p.Protocol
}
