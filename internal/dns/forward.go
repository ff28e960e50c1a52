package dns

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// forward puts the packet to the name servers in order, unchanged, and returns the first reply as it came:
// over the transport the client used, and over TCP also when the reply was cut short but fits the client.
func (s *Server) forward(ctx context.Context, q *question) []byte {
	if len(s.upstream) == 0 {
		return q.reply(dnsmessage.RCodeServerFailure, false, netip.Addr{}, "")
	}
	select {
	case s.forwards <- struct{}{}:
		defer func() { <-s.forwards }()
	default:
		s.opts.Logger.Debug("too many questions wait for the name server", "bound", maxForwards)
		return q.reply(dnsmessage.RCodeServerFailure, false, netip.Addr{}, "")
	}
	ctx, cancel := context.WithTimeout(ctx, forwardTimeout)
	defer cancel()
	var errs []error
	for i, server := range s.upstream {
		// Share out what time is left, so that a dead server does not use up the living one's.
		deadline, _ := ctx.Deadline()
		attempt, done := context.WithTimeout(ctx, time.Until(deadline)/time.Duration(len(s.upstream)-i))
		reply, err := s.ask(attempt, q, server)
		done()
		if err == nil {
			return reply
		}
		errs = append(errs, err)
	}
	s.opts.Logger.Debug("no name server answered", "name", q.q.Name.String(), "error", errors.Join(errs...))
	return q.reply(dnsmessage.RCodeServerFailure, false, netip.Addr{}, "")
}

func (s *Server) ask(ctx context.Context, q *question, server netip.AddrPort) ([]byte, error) {
	if q.tcp {
		return s.exchange(ctx, q, "tcp", server)
	}
	reply, err := s.exchange(ctx, q, "udp", server)
	if err != nil {
		return nil, err
	}
	if truncated := reply[2]&0x02 != 0; truncated {
		if whole, err := s.exchange(ctx, q, "tcp", server); err == nil && len(whole) <= q.udpSize {
			return whole, nil
		}
	}
	return reply, nil
}

// exchange sends the packet from a socket of its own, whose random port makes forged replies improbable
// (RFC 5452), and returns the first reply that answers the question.
func (s *Server) exchange(ctx context.Context, q *question, network string, server netip.AddrPort) ([]byte, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, network, server.String())
	if err != nil {
		return nil, fmt.Errorf("ask name server %s: %w", server, err)
	}
	defer c.Close()
	stop := context.AfterFunc(ctx, func() { _ = c.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	defer s.markAsking(c)()

	if network == "tcp" {
		err = writeMessage(c, q.packet)
	} else {
		_, err = c.Write(q.packet)
	}
	for err == nil {
		var reply []byte
		if network == "tcp" {
			reply, err = readMessage(c)
		} else {
			reply, err = readDatagram(c, q.udpSize)
		}
		if err == nil && q.answeredBy(reply) {
			return reply, nil
		}
	}
	return nil, fmt.Errorf("ask name server %s: %w", server, err)
}

// readDatagram reads what a name server may send to a client that takes size bytes, and some more for those
// that send more.
func readDatagram(c net.Conn, size int) ([]byte, error) {
	buf := make([]byte, max(4096, size))
	n, err := c.Read(buf)
	return buf[:n], err
}

// answeredBy reports whether a packet is a reply to the question: id, direction, and the question itself
// where the reply repeats it (a refusal may leave it out).
func (q *question) answeredBy(reply []byte) bool {
	var p dnsmessage.Parser
	h, err := p.Start(reply)
	if err != nil || !h.Response || h.ID != q.header.ID {
		return false
	}
	got, err := p.Question()
	if err != nil {
		return errors.Is(err, dnsmessage.ErrSectionDone) && h.RCode != dnsmessage.RCodeSuccess
	}
	return got.Type == q.q.Type && got.Class == q.q.Class && normalize(got.Name.String()) == normalize(q.q.Name.String())
}

// markAsking notes the local end of a question that is put upstream, so that it is known if it comes back.
func (s *Server) markAsking(c net.Conn) (unmark func()) {
	ap, err := netip.ParseAddrPort(c.LocalAddr().String())
	if err != nil {
		return func() {}
	}
	s.mu.Lock()
	s.asking[ap] = struct{}{}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		delete(s.asking, ap)
		s.mu.Unlock()
	}
}

func (s *Server) isOurs(from netip.AddrPort) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, ours := s.asking[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())]
	return ours
}
