package dns

import (
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"
)

// serveTCP accepts connections; each is served by one goroutine, a question at a time.
func (s *Server) serveTCP(ctx context.Context, wg *sync.WaitGroup) error {
	for {
		c, err := s.tcp.AcceptTCP()
		if ctx.Err() != nil {
			if err == nil {
				c.Close()
			}
			return ctx.Err()
		}
		if err != nil {
			if isTemporary(err) {
				if wait(ctx, 100*time.Millisecond) != nil { // descriptors come back
					return ctx.Err()
				}
				continue
			}
			return err
		}
		if !s.track(c) {
			c.Close()
			continue
		}
		wg.Go(func() {
			defer s.untrack(c)
			s.serveConn(ctx, c)
		})
	}
}

func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}

func isTemporary(err error) bool {
	return errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) || errors.Is(err, syscall.ECONNABORTED) ||
		errors.Is(err, syscall.ENOBUFS) || errors.Is(err, syscall.ENOMEM)
}

func (s *Server) track(c net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing || len(s.conns) >= maxConns {
		return false
	}
	s.conns[c] = struct{}{}
	return true
}

func (s *Server) untrack(c net.Conn) {
	c.Close()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
}

func (s *Server) serveConn(ctx context.Context, c net.Conn) {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return
	}
	for {
		_ = c.SetReadDeadline(time.Now().Add(idleTimeout))
		packet, err := readMessage(c)
		if err != nil {
			return
		}
		reply := s.answer(ctx, packet, ap, true)
		if reply == nil {
			return
		}
		_ = c.SetWriteDeadline(time.Now().Add(idleTimeout))
		if writeMessage(c, reply) != nil {
			return
		}
	}
}

// readMessage reads one message behind its two bytes of length (RFC 1035, section 4.2.2).
func readMessage(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeMessage(w io.Writer, b []byte) error {
	if len(b) > 0xffff {
		return errors.New("DNS message longer than 65535 bytes")
	}
	// One write, so that it is one segment (RFC 7766, section 8).
	_, err := w.Write(append(binary.BigEndian.AppendUint16(make([]byte, 0, 2+len(b)), uint16(len(b))), b...))
	return err
}
