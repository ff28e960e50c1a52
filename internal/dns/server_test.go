package dns

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

func lookup(_ context.Context, n model.ServiceName) (netip.Addr, bool, error) {
	switch n.String() {
	case "default/reviews":
		return netip.MustParseAddr("240.240.0.1"), true, nil
	case "prod/ratings":
		return netip.MustParseAddr("240.240.0.2"), true, nil
	case "default/away", "away/x":
		return netip.Addr{}, false, errors.New("control plane away")
	}
	return netip.Addr{}, false, nil
}

func run(t *testing.T, o Options) *Server {
	t.Helper()
	o.Listen, o.Logger = loopback, slog.New(slog.DiscardHandler)
	if o.Lookup == nil {
		o.Lookup = lookup
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return serve(t, s)
}

func serve(t *testing.T, s *Server) *Server {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

// outside is a name server: it knows example.com (9.9.9.9) and big.example.com, which is cut short over UDP.
func outside(t *testing.T) (addr string, asked *atomic.Int32) {
	t.Helper()
	asked = new(atomic.Int32)
	s, err := New(Options{Listen: loopback, Lookup: lookup, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{}, 2)
	reply := func(b []byte, udp bool) []byte {
		asked.Add(1)
		var m dnsmessage.Message
		if m.Unpack(b) != nil || len(m.Questions) == 0 {
			return nil
		}
		m.Response, m.Additionals = true, nil
		q := m.Questions[0]
		h := dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 60}
		switch q.Name.String() {
		case "example.com.", "a.b.example.com.":
			m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.AResource{A: [4]byte{9, 9, 9, 9}}}}
		case "big.example.com.":
			if m.Truncated = udp; !udp {
				m.Answers = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.TXTResource{TXT: []string{strings.Repeat("x", 200), strings.Repeat("y", 200), strings.Repeat("z", 200)}}}}
			}
		default:
			m.RCode = dnsmessage.RCodeNameError
		}
		out, _ := m.Pack()
		return out
	}
	go func() {
		defer func() { done <- struct{}{} }()
		buf := make([]byte, 4096)
		for {
			n, from, err := s.udp.ReadFromUDPAddrPort(buf)
			if err != nil {
				return
			}
			_, _ = s.udp.WriteToUDPAddrPort(reply(buf[:n], true), from)
		}
	}()
	go func() {
		defer func() { done <- struct{}{} }()
		for {
			c, err := s.tcp.Accept()
			if err != nil {
				return
			}
			if b, err := readMessage(c); err == nil {
				_ = writeMessage(c, reply(b, false))
			}
			c.Close()
		}
	}()
	t.Cleanup(func() { s.Close(); <-done; <-done })
	return s.Addr().String(), asked
}

func query(t *testing.T, name string, typ dnsmessage.Type, edns uint16) []byte {
	t.Helper()
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 4711, RecursionDesired: true}, Questions: []dnsmessage.Question{
		{Name: dnsmessage.MustNewName(name), Type: typ, Class: dnsmessage.ClassINET},
	}}
	if edns > 0 {
		var h dnsmessage.ResourceHeader
		_ = h.SetEDNS0(int(edns), dnsmessage.RCodeSuccess, false)
		m.Additionals = []dnsmessage.Resource{{Header: h, Body: &dnsmessage.OPTResource{}}}
	}
	b, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func exchange(t *testing.T, network string, s *Server, packet []byte) dnsmessage.Message {
	t.Helper()
	c, err := net.Dial(network, s.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	var b []byte
	if network == "tcp" {
		if err = writeMessage(c, packet); err == nil {
			b, err = readMessage(c)
		}
	} else if _, err = c.Write(packet); err == nil {
		b, err = readDatagram(c, 4096)
	}
	if err != nil {
		t.Fatal(err)
	}
	var m dnsmessage.Message
	if err := m.Unpack(b); err != nil {
		t.Fatal(err)
	}
	if m.ID != 4711 || !m.Response {
		t.Fatalf("reply %+v", m.Header)
	}
	return m
}

// summary is "RCODE answer..." with +SOA for a negative answer that says how long it holds.
func summary(m dnsmessage.Message) string {
	s := strings.TrimPrefix(m.RCode.String(), "RCode")
	for _, a := range m.Answers {
		if b, ok := a.Body.(*dnsmessage.AResource); ok {
			s += " " + netip.AddrFrom4(b.A).String()
		} else {
			s += " " + a.Header.Type.String()
		}
	}
	for _, a := range m.Authorities {
		s += " +" + strings.TrimPrefix(a.Header.Type.String(), "Type")
	}
	return s
}

func TestAnswers(t *testing.T) {
	up, asked := outside(t)
	with := run(t, Options{Upstream: []string{up}, Search: []string{"corp.example.com"}})
	alone := run(t, Options{})
	const a, aaaa = dnsmessage.TypeA, dnsmessage.TypeAAAA
	for _, c := range []struct {
		name        string
		typ         dnsmessage.Type
		with, alone string
		forwarded   int32
	}{
		{"reviews.", a, "Success 240.240.0.1", "Success 240.240.0.1", 0},
		{"ReViews.Default.", a, "Success 240.240.0.1", "Success 240.240.0.1", 0},
		{"reviews.default.mesh.", a, "Success 240.240.0.1", "Success 240.240.0.1", 0},
		{"reviews.default.svc.", a, "Success 240.240.0.1", "Success 240.240.0.1", 0},
		{"reviews.default.svc.cluster.local.", a, "Success 240.240.0.1", "Success 240.240.0.1", 0},
		{"ratings.prod.", a, "Success 240.240.0.2", "Success 240.240.0.2", 0},
		{"reviews.", aaaa, "Success +SOA", "Success +SOA", 0},
		{"reviews.default.mesh.", dnsmessage.TypeMX, "Success +SOA", "Success +SOA", 0},
		{"nothing.default.mesh.", a, "NameError +SOA", "NameError +SOA", 0},
		{"a.b.c.mesh.", a, "NameError +SOA", "NameError +SOA", 0},
		{"reviews.localdomain.", a, "NameError +SOA", "NameError +SOA", 0},
		{"reviews.default.corp.example.com.", a, "NameError +SOA", "ServerFailure", 0},
		{"nothing.", a, "NameError", "NameError +SOA", 1},
		{"example.com.", a, "Success 9.9.9.9", "ServerFailure", 1},
		{"a.b.example.com.", a, "Success 9.9.9.9", "ServerFailure", 1},
		{"ratings.", a, "NameError", "NameError +SOA", 1},
		{"away.", a, "ServerFailure", "ServerFailure", 0},
		{"x.away.", a, "ServerFailure", "ServerFailure", 1}, // denied outside, but it may be a service
	} {
		before := asked.Load()
		for _, network := range []string{"udp", "tcp"} {
			if got := summary(exchange(t, network, with, query(t, c.name, c.typ, 1232))); got != c.with {
				t.Errorf("%s %s %s with a name server: got %s, want %s", network, c.name, c.typ, got, c.with)
			}
			if got := summary(exchange(t, network, alone, query(t, c.name, c.typ, 0))); got != c.alone {
				t.Errorf("%s %s %s alone: got %s, want %s", network, c.name, c.typ, got, c.alone)
			}
		}
		if n := asked.Load() - before; n != 2*c.forwarded {
			t.Errorf("%s: name server asked %d times, want %d", c.name, n, 2*c.forwarded)
		}
	}
}

func TestTruncatedIsFetchedByTCP(t *testing.T) {
	up, _ := outside(t)
	s := run(t, Options{Upstream: []string{up}})
	if m := exchange(t, "udp", s, query(t, "big.example.com.", dnsmessage.TypeTXT, 1232)); m.Truncated || len(m.Answers) != 1 {
		t.Errorf("fits the client: %+v", m.Header)
	}
	if m := exchange(t, "udp", s, query(t, "big.example.com.", dnsmessage.TypeTXT, 0)); !m.Truncated {
		t.Errorf("does not fit 512 bytes: %+v", m.Header)
	}
}

func TestDeadServerIsPassedOver(t *testing.T) {
	dead, err := net.ListenPacket("udp", "127.0.0.1:0") // never answers
	if err != nil {
		t.Fatal(err)
	}
	defer dead.Close()
	up, _ := outside(t)
	s := run(t, Options{Upstream: []string{dead.LocalAddr().String(), up}})
	if got := summary(exchange(t, "udp", s, query(t, "example.com.", dnsmessage.TypeA, 0))); got != "Success 9.9.9.9" {
		t.Error(got)
	}
}

// A responder that has become its own name server: the question comes back and is refused.
func TestLoopEnds(t *testing.T) {
	s, err := New(Options{Listen: loopback, Lookup: lookup, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	if !s.isSelf(s.Addr()) || !s.isSelf(netip.AddrPortFrom(netip.IPv4Unspecified(), s.Addr().Port())) {
		t.Error("own address not known")
	}
	s.upstream = []netip.AddrPort{s.Addr()} // past the check of New
	serve(t, s)
	start := time.Now()
	if got := summary(exchange(t, "udp", s, query(t, "example.com.", dnsmessage.TypeA, 0))); got != "Refused" {
		t.Error(got)
	}
	if time.Since(start) > 3*time.Second {
		t.Error("took ", time.Since(start))
	}
}

func TestForwardsAreBounded(t *testing.T) {
	s := run(t, Options{Upstream: []string{"127.0.0.1:9"}})
	for range maxForwards {
		s.forwards <- struct{}{}
	}
	if got := summary(exchange(t, "udp", s, query(t, "example.com.", dnsmessage.TypeA, 0))); got != "ServerFailure" {
		t.Error(got)
	}
	if got := summary(exchange(t, "udp", s, query(t, "reviews.", dnsmessage.TypeA, 0))); got != "Success 240.240.0.1" {
		t.Error(got)
	}
}

func TestResolvConf(t *testing.T) {
	up, search := parseResolvConf("# x\nnameserver 10.0.0.1\nnameserver bad\nnameserver fe80::1%eth0\ndomain a.b\nsearch Corp.Example.com. x\noptions ndots:5\n")
	if strings.Join(up, " ") != "10.0.0.1 fe80::1%eth0" || strings.Join(search, " ") != "corp.example.com x" {
		t.Error(up, search)
	}
}

func FuzzAnswer(f *testing.F) {
	s, err := New(Options{Listen: loopback, Lookup: lookup, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { s.Close() })
	f.Add([]byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x07reviews\x00\x00\x01\x00\x01"))
	f.Add([]byte("\x00\x07\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x07reviews\x00\x00\x1c\x00\x01\x00\x00\x29\x10\x00\x00\x00\x00\x00\x00\x00"))
	f.Fuzz(func(t *testing.T, packet []byte) {
		reply := s.answer(t.Context(), packet, loopback, false)
		if reply == nil {
			return
		}
		var p dnsmessage.Parser
		h, err := p.Start(reply)
		if err != nil || !h.Response || len(packet) < 2 || h.ID != uint16(packet[0])<<8|uint16(packet[1]) {
			t.Fatalf("reply %x to %x: %v", reply, packet, err)
		}
	})
}
