package proxy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"time"

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

// serveProgram finds out what a program's connection speaks and serves it. It runs as a task.
func (w *worker) serveProgram(raw *loop.Conn, o *origin) {
	declared := w.declared(o)
	key := portKey{o.service, o.port}
	var buf []byte
	first := 0
	if s := w.config.byName[o.service]; s != nil {
		if wait, ok := s.helloWait(o.port, declared); ok && (wait > detectWait || !w.spoken[key]) {
			buf = w.loop.Get(loop.SmallBuffer)
			var served bool
			if first, served = w.serveNamed(raw, o, wait, declared, buf); served {
				w.loop.Put(buf)
				return
			}
		}
	}
	if first == 0 && (declared == model.TCP || declared == model.Auto && (w.spoken[key] || serverFirst(o.port))) {
		w.serveTCP(raw, nil, o, nil)
		return
	}
	if buf == nil {
		buf = w.loop.Get(loop.SmallBuffer)
	}
	n, kind, err := w.sniff(raw, buf, first, declared)
	switch {
	case err != nil:
		w.loop.Put(buf)
		_ = raw.Close()
		w.closedDownstream()
	case kind == speaksH1:
		w.serveH1(raw, o, buf, n)
	case kind == speaksH2:
		w.serveH2Conn(raw, nil, o, buf[:n])
		w.loop.Put(buf)
	default:
		if n == 0 && len(w.spoken) < maxPooled {
			w.spoken[key] = true
		}
		w.serveTCP(raw, nil, o, buf[:n])
		w.loop.Put(buf)
	}
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

// sniff reads until the protocol is clear; n bytes are in buf already. Where HTTP is declared, silence is waited for and
// other bytes are HTTP/1.1's to refuse; where nothing is, a silent program is taken for one that waits for its server.
func (w *worker) sniff(raw *loop.Conn, buf []byte, n int, declared model.Protocol) (_ int, kind speech, err error) {
	if declared == model.Auto {
		_ = raw.SetReadDeadline(w.loop.Now().Add(detectWait))
		defer raw.SetReadDeadline(time.Time{})
	}
	if kind = recognise(buf[:n]); kind != unknown {
		return n, kind, nil
	}
	for n < len(buf) {
		m, err := raw.Read(buf[n:])
		n += m
		if declared == model.Auto && errors.Is(err, os.ErrDeadlineExceeded) {
			return n, opaque, nil
		}
		if err != nil {
			if err == io.EOF && n > 0 {
				break
			}
			return n, unknown, err
		}
		if kind = recognise(buf[:n]); kind != unknown {
			break
		}
		if n >= 3 && declared != model.Auto && buf[0] != 'P' {
			break
		}
	}
	if kind != speaksH2 && declared != model.Auto {
		return n, speaksH1, nil
	}
	if kind == unknown {
		kind = opaque
	}
	return n, kind, nil
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

// detectWait is how long a program may be silent on a port of unknown protocol before its connection is
// taken for one on which the server speaks first. Such ports are remembered, so that it happens once.
const detectWait = 50 * time.Millisecond
