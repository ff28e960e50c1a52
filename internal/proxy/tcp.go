package proxy

import (
	"io"
	"strconv"
	"syscall"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/message"
)

// called names what the connection was for, as a CONNECT request has it.
func (o *origin) called() string {
	if o.entry != nil {
		return o.entry.socket.Address.String()
	}
	if o.service.IsZero() {
		return o.dst.String()
	}
	return o.service.Name + "." + o.service.Namespace + ":" + strconv.Itoa(int(o.port))
}

// rawStream is a TCP connection seen as a message without end, so that opaque bytes take the same way as
// requests do: from a program, it is a CONNECT request whose content is what the program sends; to one, it
// is a request that is agreed to at once.
type rawStream struct {
	w     *worker
	conn  *loop.Conn
	tls   *secured // nil when plain
	lease lease    // of a connection to an endpoint
	head  message.Head

	first    []byte   // read already, while the protocol was found out
	hearing  *hearing // until either side has spoken, where that shows what the client speaks
	turned   speech   // what it turned out to speak
	buf      []byte
	recvDone bool
	sendDone bool
	stopped  bool
	failed   bool
}

func newRawStream(w *worker, conn *loop.Conn, t *secured, first []byte) *rawStream {
	s := &rawStream{w: w, conn: conn, tls: t, first: first}
	s.head.Reset()
	s.head.Status = 200
	w.tunnels[s] = struct{}{}
	conn.KeepAlive() // a peer that is gone without a word must not hold the tunnel for ever
	return s
}

// serveTCP carries a program's connection to the port of the service it called. The bytes in first were read already.
func (w *worker) serveTCP(raw *loop.Conn, t *secured, o *origin, first []byte) {
	w.carry(newRawStream(w, raw, t, first), o)
	w.closedDownstream()
}

func (w *worker) carry(s *rawStream, o *origin) {
	s.head.Status, s.head.Method, s.head.Authority = 0, "CONNECT", o.called()
	x := w.newExchange(o, s)
	x.req, x.opaque = &s.head, true
	x.serve()
	w.freeExchange(x)
}

func (s *rawStream) HTTP2() bool { return false }

func (s *rawStream) Answered() bool { return false }

func (s *rawStream) Head() (*message.Head, error) { return &s.head, nil }

// Data waits without a buffer: a connection may be silent for long.
func (s *rawStream) Data() ([]byte, error) {
	if len(s.first) > 0 {
		p := s.first
		s.first = nil
		return p, nil
	}
	if s.recvDone {
		return nil, io.EOF
	}
	if !s.pending() {
		s.giveBack()
		if err := s.conn.WaitReadable(); err != nil {
			return nil, s.why(err)
		}
	}
	if s.buf == nil {
		s.buf = s.w.loop.Get(loop.LargeBuffer)
	}
	into := s.buf
	if s.hearing != nil {
		into = s.buf[:loop.SmallBuffer]
	}
	n, err := s.read(into)
	if s.hearing != nil && n > 0 {
		n, err = s.hear(n)
	}
	if err == io.EOF && s.conn.Broken() && !s.sendDone {
		err = syscall.ECONNRESET // after a FIN the kernel says nothing else of a reset that follows
	}
	if err == io.EOF {
		s.recvDone = true
	}
	if err != nil {
		return nil, s.why(err)
	}
	return s.buf[:n], nil
}

func (s *rawStream) pending() bool {
	if s.tls != nil {
		return s.tls.Pending()
	}
	return s.conn.Readable()
}

func (s *rawStream) read(p []byte) (int, error) {
	if s.tls != nil {
		return s.tls.Read(p)
	}
	return s.conn.Read(p)
}

func (s *rawStream) write(p []byte) error {
	if s.tls != nil {
		return s.tls.WriteAll(p, nil)
	}
	_, err := s.conn.Write(p)
	return err
}

func (s *rawStream) closeWrite() error {
	if s.tls != nil {
		if err := s.tls.CloseWrite(); err != nil {
			return err
		}
	}
	return s.conn.CloseWrite()
}

func (s *rawStream) why(err error) error {
	if s.stopped {
		return errStopped
	}
	if err != io.EOF {
		s.failed = true
	}
	return err
}

func (s *rawStream) giveBack() {
	if s.buf != nil {
		s.w.loop.Put(s.buf)
		s.buf = nil
	}
}

func (s *rawStream) Trailers() []message.Field { return nil }

func (s *rawStream) Buffered() bool { return len(s.first) > 0 || s.recvDone || s.pending() }

func (s *rawStream) Done() bool { return s.recvDone && len(s.first) == 0 }

func (s *rawStream) StopReceiving() {
	s.stopped = true
	_ = s.conn.SetReadDeadline(s.w.loop.Now())
}

func (s *rawStream) SendHead(*message.Head, bool) error { return nil }

func (s *rawStream) SendData(p []byte, end bool) error {
	if len(p) > 0 {
		if s.hearing != nil {
			s.heard(p)
		}
		if err := s.write(p); err != nil {
			s.failed = true
			return err
		}
	}
	if end {
		s.sendDone = true
		return s.closeWrite()
	}
	return nil
}

func (s *rawStream) SendTrailers([]message.Field) error { return s.SendData(nil, true) }

func (s *rawStream) Flush() error { return nil }

// Abort resets: the program must not take what it has for the whole.
func (s *rawStream) Abort(abortReason) {
	if s.turned != unknown {
		return // the connection goes on
	}
	s.failed = true
	s.conn.Abort()
}

func (s *rawStream) Finish() {
	s.giveBack()
	delete(s.w.tunnels, s)
	defer s.lease.end()
	if s.turned != unknown {
		return
	}
	if s.failed || !s.recvDone || !s.sendDone {
		s.conn.Abort()
		return
	}
	_ = s.conn.Close()
}

func (s *rawStream) OnGone(f func()) { s.conn.OnHangup(f) }
