package agent

import (
	"context"
	"encoding/binary"
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// dialer makes connections to name servers.
type dialer func(ctx context.Context, network, address string) (net.Conn, error)

// lookupWith returns a lookup by the library's resolver, with all that it does (hosts file, search list, other servers,
// TCP for what is long), which also tells how long the answers of name servers hold: the least TTL of their records
// (RFC 1035, section 3.2.1); 0 when no server was asked. The library does not say that, so the answers are read on
// their way to it.
func lookupWith(dial dialer) func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
	return func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) {
		seen := &answersSeen{}
		r := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := dial(ctx, network, address)
			if err != nil {
				return nil, err
			}
			if _, packets := c.(net.PacketConn); packets {
				return &packetTap{c.(packetConn), seen}, nil
			}
			return &streamTap{Conn: c, seen: seen}, nil
		}}
		found, err := r.LookupNetIP(ctx, "ip", host)
		return found, seen.least(), err
	}
}

// answersSeen is the least TTL of the answers to one lookup, whose questions run side by side.
type answersSeen struct {
	mu  sync.Mutex
	ttl time.Duration
	any bool
}

func (s *answersSeen) least() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ttl
}

// read takes a message. What is no answer, and what cannot be read, says nothing.
func (s *answersSeen) read(message []byte) {
	var p dnsmessage.Parser
	h, err := p.Start(message)
	if err != nil || !h.Response || h.Truncated || h.RCode != dnsmessage.RCodeSuccess || p.SkipAllQuestions() != nil {
		return
	}
	for {
		a, err := p.AnswerHeader()
		if err != nil || p.SkipAnswer() != nil {
			return
		}
		s.note(time.Duration(a.TTL) * time.Second)
	}
}

func (s *answersSeen) note(ttl time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.any || ttl < s.ttl {
		s.ttl = ttl
	}
	s.any = true
	s.ttl = max(s.ttl, time.Millisecond) // a TTL of 0 is one
}

// packetConn is what the resolver wants of a UDP socket.
type packetConn interface {
	net.Conn
	net.PacketConn
}

// packetTap reads along on UDP: each read is a message.
type packetTap struct {
	packetConn
	seen *answersSeen
}

func (t *packetTap) Read(b []byte) (int, error) {
	n, err := t.packetConn.Read(b)
	if err == nil {
		t.seen.read(b[:n])
	}
	return n, err
}

// streamTap reads along on TCP, where each message has its length before it (RFC 1035, section 4.2.2).
type streamTap struct {
	net.Conn
	seen *answersSeen
	held []byte
}

func (t *streamTap) Read(b []byte) (int, error) {
	n, err := t.Conn.Read(b)
	t.held = append(t.held, b[:n]...)
	for len(t.held) >= 2 {
		size := 2 + int(binary.BigEndian.Uint16(t.held))
		if len(t.held) < size {
			break
		}
		t.seen.read(t.held[2:size])
		t.held = t.held[size:]
	}
	return n, err
}
