package proxy

import (
	"io"

	"github.com/weft-mesh/weft/internal/message"
)

// maxMirrored bounds the content that waits for a mirror. A mirror that falls behind is cut: it must not slow
// down the request it is a copy of.
const maxMirrored = 256 << 10

// maxMirrors bounds the copies of a worker that are on their way.
const maxMirrors = 1024

// shadow is a copy of a request, on its way to a mirror through the same flow as any other. It is the client's
// side of that exchange: what it receives is fed by the original, what is sent to it is dropped.
type shadow struct {
	x    *exchange // the copy's
	head message.Head

	http2   bool // the original's client speaks it
	queue   [][]byte
	waiting int // bytes in queue
	trailer []message.Field
	ended   bool
	cut     bool
	diff    *comparison // nil: its answer is dropped
	reader  func()      // wakes the copy's task
}

// startMirrors begins the copies that rule and backend ask for, of the request as it goes to the backend.
func (x *exchange) startMirrors() {
	if x.rule == nil || x.opaque || x.req.Protocol != "" {
		return
	}
	for _, f := range x.inTurn() {
		if f != nil {
			x.mirrorTo(f.mirrors)
		}
	}
}

// mirrorTo begins a share of copies to each of the mirrors.
func (x *exchange) mirrorTo(mirrors []mirror) {
	for i := range mirrors {
		m := &mirrors[i]
		if m.service == nil || !x.w.drawn(m.Share) || x.w.mirroring >= maxMirrors {
			continue
		}
		s := &shadow{http2: x.down.HTTP2(), diff: x.compare(m)}
		s.head.CopyFrom(x.req)
		x.shadows = append(x.shadows, s)
		x.w.mirror(s, x.o, m)
	}
}

// mirror sends a copy on its way in a task of its own.
func (w *worker) mirror(s *shadow, o *origin, m *mirror) {
	w.mirroring++
	c := w.newExchange(&origin{kind: fromMirror, remote: o.remote, service: m.Service, port: m.Port}, s)
	s.x, c.req = c, &s.head
	c.service, c.port = m.service, m.Port
	if m.Port == 0 && len(m.service.Ports) > 0 {
		c.port = m.service.Ports[0].Number
	}
	c.aim(m.service, m.pool, nil, c.port)
	w.loop.Go(func() {
		c.serve()
		if s.diff != nil {
			s.diff.conclude(w, &s.diff.copied, c)
		}
		s.cut = true
		s.queue = nil
		w.freeExchange(c)
		w.mirroring--
	})
}

// feed gives the copies a piece of the request's content.
func (x *exchange) feed(p []byte, end bool) {
	for _, s := range x.shadows {
		s.feed(p, end)
	}
}

// endShadows ends the content of the copies, with the request's trailers; whole is false when it broke off.
func (x *exchange) endShadows(t []message.Field, whole bool) {
	for _, s := range x.shadows {
		if s.ended {
			continue
		}
		for _, f := range t {
			s.trailer = append(s.trailer, message.Field{Name: s.head.Keep([]byte(f.Name)), Value: s.head.Keep([]byte(f.Value))})
		}
		s.ended, s.cut = true, s.cut || !whole
		s.wake()
	}
	x.shadows = nil
}

func (s *shadow) feed(p []byte, end bool) {
	switch {
	case s.cut || s.ended:
		return
	case s.waiting+len(p) > maxMirrored:
		s.cut = true
	case len(p) > 0:
		s.queue = append(s.queue, append([]byte(nil), p...))
		s.waiting += len(p)
	}
	s.ended = s.ended || end
	s.wake()
}

func (s *shadow) wake() {
	if s.reader != nil {
		s.reader()
	}
}

func (s *shadow) HTTP2() bool { return s.http2 }

func (s *shadow) Head() (*message.Head, error) { return &s.head, nil }

func (s *shadow) Data() ([]byte, error) {
	l := s.x.w.loop
	for len(s.queue) == 0 {
		if s.cut {
			return nil, errStopped
		}
		if s.ended {
			return nil, io.EOF
		}
		t := l.Current()
		s.reader = func() { l.Wake(t) }
		l.Park()
		s.reader = nil
	}
	p := s.queue[0]
	s.queue = s.queue[1:]
	s.waiting -= len(p)
	return p, nil
}

func (s *shadow) Trailers() []message.Field { return s.trailer }

func (s *shadow) Buffered() bool { return len(s.queue) > 0 || s.ended || s.cut }

func (s *shadow) Done() bool { return s.ended && !s.cut && len(s.queue) == 0 && len(s.trailer) == 0 }

func (s *shadow) StopReceiving() { s.cut = true; s.wake() }

// What is sent to it is dropped, or looked at to be compared.

func (s *shadow) SendHead(h *message.Head, _ bool) error {
	if s.diff != nil && h.Status >= 200 {
		s.diff.copied.head(s.diff, h)
	}
	return nil
}

func (s *shadow) SendData(p []byte, _ bool) error {
	if s.diff != nil {
		s.diff.copied.data(s.diff, p)
	}
	return nil
}

func (s *shadow) SendTrailers([]message.Field) error { return nil }

func (s *shadow) Flush() error { return nil }

func (s *shadow) Answered() bool { return false }

func (s *shadow) Abort(abortReason) { s.cut = true }

func (s *shadow) Finish() {}

func (s *shadow) OnGone(func()) {}

// copier is the upstream of a request that is mirrored, as the upload sees it.
type copier struct {
	sender
	x *exchange
}

func (c copier) SendData(p []byte, end bool) error {
	c.x.feed(p, end)
	return c.sender.SendData(p, end)
}

func (c copier) SendTrailers(t []message.Field) error {
	c.x.endShadows(t, true)
	return c.sender.SendTrailers(t)
}
