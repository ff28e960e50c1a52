package proxy

import (
	"errors"
	"io"
	"os"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// Where no protocol is declared, what a program says first shows what it speaks. One that is silent may wait for its
// server, or may have opened a connection early that it will use later. Nobody can tell until either speaks: so a
// silent connection is carried as TCP, and when its client is the first to speak after all, and speaks HTTP, the
// connection made for it is given up and requests are served.

// detectWait is how long a program may be silent on a port of unknown protocol before its connection is carried to the
// server, which may be the one to speak first. Ports on which servers did are not waited for again.
const detectWait = 50 * time.Millisecond

// maxSpoken bounds the ports that are remembered.
const maxSpoken = 4096

// hearing is what is known of a program's connection while its protocol is found out.
type hearing struct {
	w        *worker
	raw      *loop.Conn
	o        *origin
	declared model.Protocol
	names    bool // a hello is looked at
	buf      []byte
	n        int // bytes in buf
}

// serveProgram finds out what a program's connection speaks and serves it. It runs as a task.
func (w *worker) serveProgram(raw *loop.Conn, o *origin) {
	h := &hearing{w: w, raw: raw, o: o, declared: w.declared(o)}
	wait := h.patience()
	if h.declared == model.TCP && !h.names {
		w.serveTCP(raw, nil, o, nil)
		return
	}
	h.buf = w.loop.Get(loop.SmallBuffer)
	kind, err := h.first(wait)
	if kind == silence && h.declared != model.TCP {
		if kind = w.serveSilent(h); kind == silence {
			return // it has been served
		}
	}
	switch {
	case err != nil:
		w.loop.Put(h.buf)
		_ = raw.Close()
		w.closedDownstream()
	case kind == speaksH1:
		w.serveH1(raw, o, h.buf, h.n)
	case kind == speaksH2:
		w.serveH2Conn(raw, nil, o, h.buf[:h.n])
		w.loop.Put(h.buf)
	case kind == speaksTLS:
		w.serveHello(h)
	default:
		w.serveTCP(raw, nil, o, h.buf[:h.n])
		w.loop.Put(h.buf)
	}
}

// patience returns how long the program may be silent; negative: as long as it likes.
func (h *hearing) patience() (wait time.Duration) {
	wait = -1
	if h.declared == model.Auto {
		wait = detectWait
	}
	if s := h.w.config.byName[h.o.service]; s != nil {
		var helloWait time.Duration
		if helloWait, h.names = s.helloWait(h.o.port, h.declared); h.names {
			wait = helloWait
		}
	}
	if h.w.config.elsewhere != nil && h.o.kind == fromCapture && h.o.service.IsZero() {
		h.names = true // it tells who passes the connection on where to
	}
	if wait == detectWait && (h.w.spoken[h.key()] || serverFirst(h.o.port)) {
		return 0
	}
	return wait
}

func (h *hearing) key() portKey {
	k := portKey{service: h.o.service, port: h.o.port}
	if k.service.IsZero() {
		k.dst = h.o.dst
	}
	return k
}

// first waits for the program's first words and tells what they are.
func (h *hearing) first(wait time.Duration) (speech, error) {
	if wait == 0 {
		return silence, nil
	}
	if wait > 0 {
		_ = h.raw.SetReadDeadline(h.w.loop.Now().Add(wait))
	}
	n, err := h.raw.Read(h.buf)
	if wait > 0 {
		_ = h.raw.SetReadDeadline(time.Time{})
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return silence, nil
	}
	if err != nil {
		return unknown, err
	}
	h.n = n
	return h.rest()
}

// rest reads on until it is clear what the program speaks. Where HTTP is declared, other bytes are HTTP/1.1's to refuse;
// where nothing is, a program that stops within its first word may not for long.
func (h *hearing) rest() (speech, error) {
	kind := h.recognise()
	if kind == unknown && h.declared == model.Auto {
		_ = h.raw.SetReadDeadline(h.w.loop.Now().Add(handshakeTimeout))
		defer h.raw.SetReadDeadline(time.Time{})
	}
	for kind == unknown && h.n < len(h.buf) {
		m, err := h.raw.Read(h.buf[h.n:])
		h.n += m
		if err == io.EOF || h.declared == model.Auto && errors.Is(err, os.ErrDeadlineExceeded) {
			break
		}
		if err != nil {
			return unknown, err
		}
		kind = h.recognise()
	}
	if kind == unknown {
		kind = opaque
	}
	if kind == opaque && h.declared != model.Auto && h.declared != model.TCP {
		kind = speaksH1
	}
	return kind, nil
}

// recognise tells what the bytes that are here show.
func (h *hearing) recognise() speech {
	switch {
	case h.names && h.buf[0] == recordHandshake:
		return speaksTLS
	case h.declared == model.TCP:
		return opaque
	}
	kind := recognise(h.buf[:h.n])
	if kind == unknown && h.n >= 3 && h.declared != model.Auto && h.buf[0] != 'P' {
		return speaksH1 // and no preface
	}
	return kind
}

// serveSilent carries a silent program's connection to its server, until it ends, which is silence, or its client shows that
// it is to be served otherwise: then its first words are in the hearing.
func (w *worker) serveSilent(h *hearing) speech {
	w.loop.Put(h.buf) // it may be silent for long
	h.buf = nil
	s := newRawStream(w, h.raw, nil, nil)
	s.hearing = h
	w.carry(s, h.o)
	if s.turned == unknown {
		w.closedDownstream()
		return silence
	}
	_ = h.raw.SetReadDeadline(time.Time{})
	return s.turned
}

// hear looks at the first n bytes of a client that was silent at first. It returns how many bytes there are now, or
// errTurned: they are the beginning of what is to be served otherwise.
func (s *rawStream) hear(n int) (int, error) {
	h := s.hearing
	h.buf, h.n = s.buf[:loop.SmallBuffer], n
	kind, _ := h.rest() // the next read meets the error again
	n = h.n
	switch {
	case s.stopped:
		return 0, errStopped
	case s.hearing == nil || kind == opaque: // the server was quicker
		s.hearing, h.buf = nil, nil
		return n, nil
	}
	s.turned, s.hearing = kind, nil
	h.buf = s.w.loop.Get(loop.SmallBuffer)
	copy(h.buf, s.buf[:n])
	return 0, errTurned
}

// heard notes that the server spoke first, unless it speaks HTTP: then it gives up a client that is silent for too long.
func (s *rawStream) heard(p []byte) {
	h := s.hearing
	s.hearing = nil
	if string(p[:min(len(p), 5)]) != "HTTP/" && len(s.w.spoken) < maxSpoken {
		s.w.spoken[h.key()] = true
	}
}

// errTurned ends the exchange of a silent connection whose client turns out to speak what is not carried as TCP.
var errTurned = errors.New("the client speaks HTTP or TLS after all")
