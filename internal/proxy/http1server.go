package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
)

// h1server serves the exchanges of one HTTP/1.1 connection, one after another. Between them it is idle and
// holds neither task nor buffer.
type h1server struct {
	w     *worker
	c     *h1conn
	o     *origin
	busy  bool
	since time.Time // idle since
	turn  func()    // serve, bound once
}

// newH1Server takes a connection that is expected to speak HTTP/1.1; nothing is read yet.
func (w *worker) newH1Server(raw *loop.Conn, o *origin) *h1server {
	s := &h1server{w: w, o: o, since: w.loop.Now(), c: &h1conn{loop: w.loop, raw: raw}}
	s.turn = s.serve
	w.servers[s] = struct{}{}
	return s
}

// serveH1 serves a connection that speaks HTTP/1.1. The bytes in head were read already; buf is theirs.
func (w *worker) serveH1(raw *loop.Conn, o *origin, buf []byte, head int) {
	s := w.newH1Server(raw, o)
	s.c.buf, s.c.w = buf, head
	s.serve()
}

// serve runs exchanges as long as there are requests.
func (s *h1server) serve() {
	s.busy = true
	for {
		s.c.begin()
		req, err := s.c.Head()
		if err != nil {
			s.refuse(err)
			return
		}
		x := s.w.newExchange(s.o, s.c)
		x.req = req
		s.c.close = s.c.close || s.leaving()
		x.serve()
		s.w.freeExchange(x)
		if !s.c.reusable() || s.leaving() {
			s.end()
			return
		}
		if s.c.r < s.c.w {
			continue
		}
		s.c.rest()
		if !s.c.pending() {
			s.busy, s.since = false, s.w.loop.Now()
			s.c.raw.OnReadable(s.turn)
			return
		}
	}
}

// leaving reports whether this exchange is to be the connection's last.
func (s *h1server) leaving() bool {
	return s.w.draining || s.o.entry != nil && s.o.entry.closed
}

// refuse answers what is no request, where that is possible, and ends.
func (s *h1server) refuse(err error) {
	f := badRequest(err)
	if f == nil {
		// The ordinary end, a broken connection, or a client too slow: nobody listens.
		if errors.Is(err, os.ErrDeadlineExceeded) {
			f = &Failure{"read", 408, flagBadRequest, errors.New("the head did not arrive in time")}
		} else {
			if !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
				s.w.log.Debug("connection ended", "remote", s.o.remote, "error", err)
			}
			s.close()
			return
		}
	}
	s.c.close, s.c.in.Minor = true, 1
	s.c.head.Reset()
	x := s.w.newExchange(s.o, s.c)
	x.req = &s.c.head
	x.refuse(f)
	s.w.freeExchange(x)
	s.end()
}

// end closes after an exchange. A client that still sends is heard for a moment, since closing at once
// would reset the connection and destroy the answer on its way (RFC 9112, section 9.6).
func (s *h1server) end() {
	const linger, most = 5 * time.Second, 64 << 20
	c := s.c
	if !c.failed && !c.raw.Broken() && (!c.recvDone || c.stopped) && c.closeWrite() == nil {
		c.stopped = false
		_ = c.raw.SetReadDeadline(s.w.loop.Now().Add(linger))
		for n := 0; n < most; {
			c.r, c.w = 0, 0
			if c.fill() != nil {
				break
			}
			n += c.w
		}
	}
	c.r, c.w = 0, 0
	s.close()
}

func (s *h1server) close() {
	s.c.rest()
	if s.c.tls != nil && !s.c.raw.Broken() {
		_ = s.c.tls.CloseWrite() // says that nothing is missing (RFC 8446, section 6.1)
	}
	_ = s.c.raw.Close()
	delete(s.w.servers, s)
	s.w.closedDownstream()
}
