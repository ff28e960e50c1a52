package proxy

import (
	"crypto/tls"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
)

// secured is TLS on a connection of a loop. Plain text is read and written at the top; at the bottom, wire
// hands crypto/tls one record at a time, so that it is known whether something that was received is still
// to be read: only then may a connection go idle without task and buffer.
type secured struct {
	*tls.Conn
	wire wire
	full bool // the last Read filled the caller's buffer: more of its record may be inside
}

// secure runs a TLS handshake on a connection, within a bound of time. On failure the connection is closed.
func (w *worker) secure(raw *loop.Conn, start func(*wire) *tls.Conn) (*secured, error) {
	s := &secured{wire: wire{Conn: raw}}
	s.Conn = start(&s.wire)
	_ = raw.SetDeadline(w.loop.Now().Add(handshakeTimeout))
	// The handshake parks inside raw; it has no context to end it but the deadline.
	if err := s.Conn.Handshake(); err != nil { //nolint:noctx
		s.wire.rest()
		_ = raw.Close()
		return nil, err
	}
	_ = raw.SetDeadline(time.Time{})
	raw.SetDeferred(nil)
	return s, nil
}

// Read reads plain text.
func (s *secured) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	s.full = n == len(p)
	return n, err
}

// Pending reports whether a Read is worth trying.
func (s *secured) Pending() bool {
	return s.full || s.wire.r < s.wire.w || s.wire.Readable()
}

// Write writes plain text, and parks while the peer takes nothing.
func (s *secured) Write(p []byte) (int, error) {
	if err := s.WriteAll(p, nil); err != nil {
		return 0, err
	}
	return len(p), nil
}

// WriteAll writes a and then b, and parks while the peer takes nothing.
func (s *secured) WriteAll(a, b []byte) error {
	if err := s.Send(a, b); err != nil {
		return err
	}
	return s.wire.Drain()
}

// Send writes the parts in one system call, however many records they take. It never parks: records that
// crypto/tls writes by itself, in answer to what it reads, must not get between two halves of another. What
// the socket does not take is its backlog.
func (s *secured) Send(parts ...[]byte) error {
	s.wire.cork()
	for _, p := range parts {
		if len(p) == 0 {
			continue
		}
		if _, err := s.Conn.Write(p); err != nil {
			s.wire.corked = false
			return err
		}
	}
	return s.wire.uncork()
}

// wire is the connection under TLS.
type wire struct {
	*loop.Conn

	buf    []byte // received, buf[r:w] not yet handed on; from the loop
	r, w   int
	header [recordHeader]byte
	got    int // bytes of header that were handed on
	left   int // bytes of the present record that were not

	held   []byte // records that leave together; from the loop
	corked bool
}

// recordHeader is the size of a TLS record's header, whose last two bytes are the length of what follows
// (RFC 8446, section 5.1).
const recordHeader = 5

// Read hands on what belongs to one part of one record: its header or its fragment.
func (k *wire) Read(p []byte) (int, error) {
	if k.r == k.w {
		if err := k.fill(); err != nil {
			return 0, err
		}
	}
	var n int
	if k.left > 0 {
		n = copy(p, k.buf[k.r:min(k.w, k.r+k.left)])
		k.left -= n
	} else {
		n = copy(p, k.buf[k.r:min(k.w, k.r+recordHeader-k.got)])
		copy(k.header[k.got:], k.buf[k.r:k.r+n])
		if k.got += n; k.got == recordHeader {
			k.left, k.got = int(k.header[3])<<8|int(k.header[4]), 0
		}
	}
	if k.r += n; k.r == k.w {
		k.rest()
	}
	return n, nil
}

// fill waits without a buffer, then reads as much as there is.
func (k *wire) fill() error {
	if err := k.WaitReadable(); err != nil {
		return err
	}
	k.buf = k.Loop().Get(loop.LargeBuffer)
	n, err := k.Conn.Read(k.buf)
	k.r, k.w = 0, n
	if n == 0 {
		k.rest()
	}
	return err
}

// unread puts bytes that have been read before those still to come. There are at most loop.LargeBuffer of them.
func (k *wire) unread(p []byte) {
	if len(p) > 0 {
		k.buf = k.Loop().Get(loop.LargeBuffer)
		k.r, k.w = 0, copy(k.buf, p)
	}
}

// rest gives the buffer back.
func (k *wire) rest() {
	if k.buf != nil {
		k.Loop().Put(k.buf)
		k.buf, k.r, k.w = nil, 0, 0
	}
}

func (k *wire) Write(p []byte) (int, error) {
	if k.corked {
		k.held = append(k.held, p...)
		return len(p), nil
	}
	return k.Conn.Write(p)
}

func (k *wire) cork() {
	k.corked = true
	if k.held == nil {
		k.held = k.Loop().Get(loop.LargeBuffer)[:0]
	}
}

func (k *wire) uncork() error {
	k.corked = false
	_, err := k.Conn.Write(k.held)
	k.Loop().Put(k.held) // one that has grown beyond its class is left to the collector
	k.held = nil
	return err
}
