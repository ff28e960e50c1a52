package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/weft-mesh/weft/internal/model"
)

// nameServer is a DNS server on UDP that knows one name.
type nameServer struct {
	conn net.PacketConn

	mu    sync.Mutex
	knows []netip.Addr
	fails bool
	asked int
}

func newNameServer(t *testing.T, knows ...string) *nameServer {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{conn: conn}
	s.set(false, knows...)
	done := make(chan struct{})
	go func() { defer close(done); s.serve() }()
	t.Cleanup(func() { _ = conn.Close(); <-done })
	return s
}

func (s *nameServer) set(fails bool, knows ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.knows = fails, nil
	for _, a := range knows {
		s.knows = append(s.knows, netip.MustParseAddr(a))
	}
}

func (s *nameServer) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

func (s *nameServer) serve() {
	buf := make([]byte, 4096)
	for {
		n, from, err := s.conn.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) != 1 {
			continue
		}
		s.answer(&m)
		if reply, err := m.Pack(); err == nil {
			_, _ = s.conn.WriteTo(reply, from)
		}
	}
}

func (s *nameServer) answer(m *dnsmessage.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := m.Questions[0]
	m.Response, m.Additionals = true, nil
	s.asked++
	switch {
	case s.fails:
		m.RCode = dnsmessage.RCodeServerFailure
	case !strings.EqualFold(q.Name.String(), "web.test."):
		m.RCode = dnsmessage.RCodeNameError
	case q.Type == dnsmessage.TypeA:
		for _, a := range s.knows {
			m.Answers = append(m.Answers, dnsmessage.Resource{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Class: q.Class, TTL: 1}, Body: &dnsmessage.AResource{A: a.As4()},
			})
		}
	}
}

// dial connects to the server, whichever is asked for.
func (s *nameServer) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, "udp", s.conn.LocalAddr().String())
}

// sayers are programs on one port of some loopback addresses that say which they are.
func sayers(t *testing.T, addresses ...string) (port uint16) {
	t.Helper()
	for _, a := range addresses {
		l, err := net.Listen("tcp", fmt.Sprintf("%s:%d", a, port))
		if err != nil {
			t.Fatal(err)
		}
		port = netip.MustParseAddrPort(l.Addr().String()).Port()
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, a) })}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }()
		t.Cleanup(func() { _ = s.Close(); <-done })
	}
	return port
}

// TestNamesOfEndpoints has an endpoint that is a name follow what a DNS server says of it: from the first request on, when
// the addresses change, and not at all while the server fails.
func TestNamesOfEndpoints(t *testing.T) {
	dns := newNameServer(t, "127.0.0.1")
	at := byName(t, dns, sayers(t, "127.0.0.1", "127.0.0.2"))
	client := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	get := func() string {
		resp, err := client.Get("http://" + at + "/")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		return string(b)
	}
	if got := get(); got != "127.0.0.1" {
		t.Errorf("the first request is answered %q", got)
	}
	answers := func(want ...string) func() error {
		return func() error {
			var got []string
			for range 20 {
				if a := get(); !slices.Contains(got, a) {
					got = append(got, a)
				}
			}
			if slices.Sort(got); !slices.Equal(got, want) {
				return fmt.Errorf("answers of %q, want %q", got, want)
			}
			return nil
		}
	}
	dns.set(false, "127.0.0.2")
	eventually(t, "the address has changed", answers("127.0.0.2"))
	dns.set(false, "127.0.0.2", "127.0.0.1", "127.0.0.2")
	eventually(t, "both addresses are used", answers("127.0.0.1", "127.0.0.2"))
	dns.set(true)
	before := dns.count()
	eventually(t, "the server fails several times", func() error {
		if n := dns.count(); n < before+10 {
			return fmt.Errorf("%d questions", n-before)
		}
		return nil
	})
	if err := answers("127.0.0.1", "127.0.0.2")(); err != nil {
		t.Errorf("while the server fails: %v", err)
	}
	dns.set(false) // no addresses is no answer either
	before = dns.count()
	eventually(t, "the server is asked again", func() error {
		if n := dns.count(); n < before+10 {
			return fmt.Errorf("%d questions", n-before)
		}
		return nil
	})
	if err := answers("127.0.0.1", "127.0.0.2")(); err != nil {
		t.Errorf("while the name has no addresses: %v", err)
	}
}

// byName runs a proxy whose service web is web.test, and returns where programs call it.
func byName(t *testing.T, dns *nameServer, port uint16) (at string) {
	t.Helper()
	text, err := WriteSnapshot(&model.Snapshot{Services: []model.Service{{
		Name: model.ServiceName{Namespace: "default", Name: "web"}, Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
		Endpoints: []model.Endpoint{{ID: "default/web/web.test", Host: fmt.Sprintf("web.test:%d", port), Plain: true}},
	}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "snapshot.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() {
		done <- Run(ctx, Options{
			Snapshot: file, ID: "load-1", Loops: 2, Ready: w, dialDNS: dns.dial, refresh: 10 * time.Millisecond,
			Upstreams: []Upstream{{
				Service: model.ServiceName{Namespace: "default", Name: "web"}, Port: 80, Listen: netip.MustParseAddrPort("127.0.0.1:0"),
			}},
		})
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	line := make([]byte, 4096)
	n, err := r.Read(line)
	if err != nil {
		t.Fatal(err)
	}
	if at = regexp.MustCompile(`127\.0\.0\.1:[0-9]+`).FindString(string(line[:n])); at == "" {
		t.Fatalf("ready line %q", line[:n])
	}
	return at
}

// TestOneOfTheAddresses keeps one address of a name as long as the name has it.
func TestOneOfTheAddresses(t *testing.T) {
	r := newResolver(slog.New(slog.DiscardHandler), nil)
	s := &model.Snapshot{Services: []model.Service{{Endpoints: []model.Endpoint{{ID: "a", Host: "a.test:5432", OneHost: true}}}}}
	r.names["a.test"] = &hostName{known: make(chan struct{})}
	if got := r.expand(s); len(got.Services[0].Endpoints) != 0 {
		t.Errorf("before the first answer: %v", got.Services[0].Endpoints)
	}
	one := func(err error, addresses ...string) netip.AddrPort {
		var all []netip.Addr
		for _, a := range addresses {
			all = append(all, netip.MustParseAddr(a))
		}
		r.took("a.test", usable(all), 0, err)
		eps := r.expand(s).Services[0].Endpoints
		if len(eps) != 1 || eps[0].Host != "" || !strings.HasPrefix(eps[0].ID, "a/") {
			t.Fatalf("%v", eps)
		}
		return eps[0].Address
	}
	first := one(nil, "192.0.2.1", "192.0.2.2", "2001:db8::1")
	if !first.Addr().Is4() || first.Port() != 5432 {
		t.Errorf("%s", first)
	}
	if got := one(nil, "192.0.2.3", first.Addr().String()); got != first {
		t.Errorf("%s while %s is still there", got, first)
	}
	if got := one(errors.New("down")); got != first {
		t.Errorf("%s after a failure", got)
	}
	if got := one(nil, "2001:db8::1"); got != netip.MustParseAddrPort("[2001:db8::1]:5432") {
		t.Errorf("%s", got)
	}
	if s.Services[0].Endpoints[0].Host == "" {
		t.Error("the snapshot was changed")
	}
	r.keep(&model.Snapshot{})
	if len(r.names) != 0 {
		t.Error("a name is kept for ever")
	}
}
