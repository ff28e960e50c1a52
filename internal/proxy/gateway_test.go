package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// webCertificate makes a self-signed certificate for host.
func webCertificate(t testing.TB, host string, serial int64) model.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: host}, DNSNames: []string{host},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return model.Certificate{
		Chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		Key:   model.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}
}

// edge is a snapshot with one service, web, and the sockets given.
func edgeOf(backend netip.AddrPort, protocol model.Protocol, sockets ...model.Socket) *model.Snapshot {
	return &model.Snapshot{
		Services: []model.Service{{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: protocol}},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: backend, Plain: true, Protocol: protocol, Ports: []uint16{80}}},
		}},
		Sockets: sockets,
	}
}

func toWeb(hosts ...string) []model.Rule {
	return []model.Rule{{
		Ref: model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "web"}, Hosts: hosts,
		Backends: []model.Backend{{Service: name("web"), Port: 80, Weight: 1}},
	}}
}

// gateway runs an engine with a snapshot and returns where the first socket is bound.
func (l *lab) gateway(s *model.Snapshot, loops int) (*Engine, netip.AddrPort) {
	l.t.Helper()
	e := l.run(Options{Node: "gateway", Loops: loops})
	l.apply(e, s)
	return e, e.Sockets()[s.Sockets[0].Address]
}

func tlsClient(t testing.TB, at netip.AddrPort, serverName string, http2 bool) *http.Client {
	tr := &http.Transport{
		TLSClientConfig:   &tls.Config{InsecureSkipVerify: true, ServerName: serverName}, // the test looks at the certificate itself
		ForceAttemptHTTP2: http2,
	}
	if !http2 {
		tr.TLSNextProto = map[string]func(string, *tls.Conn) http.RoundTripper{}
	}
	dialer := &net.Dialer{}
	tr.DialContext = func(ctx context.Context, _, _ string) (net.Conn, error) {
		return dialer.DialContext(ctx, "tcp", at.String())
	}
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 10 * time.Second}
}

func TestGatewayHTTP(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		l := newLab(t)
		_, at := l.gateway(edgeOf(server(t, app()), protocol, model.Socket{
			Address: loopback, Kind: model.SocketHTTP,
			Listeners: []model.Listener{{Name: "default/edge/http", Rules: toWeb()}},
		}), 2)
		for _, c := range []*http.Client{h1Client(t), h2Client(t)} {
			for range 5 {
				resp, got := do(t, c, "POST", "http://"+at.String()+"/echo", strings.NewReader("hello"))
				if resp.StatusCode != 200 || got != "hello" {
					t.Fatalf("%s %q", resp.Status, got)
				}
			}
		}
	}
}

func TestGatewayForwardedFields(t *testing.T) {
	l := newLab(t)
	backend := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s|%s", r.Header.Get("X-Forwarded-For"), r.Header.Get("X-Forwarded-Proto"))
	}))
	_, at := l.gateway(edgeOf(backend, model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: toWeb()}},
	}), 1)
	if _, got := do(t, h1Client(t), "GET", "http://"+at.String()+"/", nil); got != "127.0.0.1|http" {
		t.Errorf("the program is told %q", got)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+at.String()+"/", nil)
	req.Header.Set("X-Forwarded-For", "192.0.2.1")
	req.Header.Set("X-Forwarded-Proto", "https")
	resp, err := h1Client(t).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, _ := io.ReadAll(resp.Body); string(b) != "192.0.2.1, 127.0.0.1|http" {
		t.Errorf("the program is told %q", b)
	}
}

func TestGatewayTLS(t *testing.T) {
	l := newLab(t)
	first, second, swapped := webCertificate(t, "a.test", 1), webCertificate(t, "b.test", 2), webCertificate(t, "a.test", 3)
	snapshot := func(a model.Certificate) *model.Snapshot {
		return edgeOf(server(t, app()), model.HTTP, model.Socket{
			Address: loopback, Kind: model.SocketHTTPS,
			Listeners: []model.Listener{
				{Name: "a", Hostname: "a.test", Certificates: []model.Certificate{a}, Rules: toWeb("a.test")},
				{Name: "b", Hostname: "*.test", Certificates: []model.Certificate{second}, Rules: toWeb("*.test")},
			},
		})
	}
	e, at := l.gateway(snapshot(first), 2)
	for _, version := range []bool{false, true} {
		c := tlsClient(t, at, "a.test", version)
		ask := func(host string) (*http.Response, string) {
			return do(t, c, "POST", "https://"+host+"/sum", strings.NewReader(strings.Repeat("x", 100_000)))
		}
		serial := func() int64 {
			resp, got := ask("a.test")
			if resp.StatusCode != 200 || !strings.HasPrefix(got, "100000 ") || (resp.ProtoMajor == 2) != version {
				t.Fatalf("%s %s, %s", resp.Proto, resp.Status, got)
			}
			return resp.TLS.PeerCertificates[0].SerialNumber.Int64()
		}
		if got := serial(); got != 1 {
			t.Fatalf("the certificate of a.test is number %d", got)
		}
		// The same connection, another host: its listener has another certificate.
		if resp, _ := ask("x.test"); !version && resp.StatusCode != 421 {
			t.Errorf("a host of another listener on the connection: %s", resp.Status)
		}
		l.apply(e, snapshot(swapped))
		// The connection stays, with the certificate it began with; new ones get the new one.
		if got := serial(); got != 1 {
			t.Errorf("the connection did not outlive the change: certificate %d", got)
		}
		c = tlsClient(t, at, "a.test", version)
		if got := serial(); got != 3 {
			t.Errorf("a new connection has certificate %d", got)
		}
		l.apply(e, snapshot(first))
	}
	conn, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, ServerName: "y.test"})
	if err != nil {
		t.Fatal(err)
	}
	if got := conn.ConnectionState().PeerCertificates[0].SerialNumber.Int64(); got != 2 {
		t.Errorf("the wildcard's certificate is number %d", got)
	}
	_ = conn.Close()
	if _, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, ServerName: "other.example"}); err == nil {
		t.Error("a host of no listener got a certificate")
	}
}

// TestGatewayReload changes routes, adds and removes sockets under load: no request may fail.
func TestGatewayReload(t *testing.T) {
	l := newLab(t)
	backend := server(t, app())
	spare := netip.MustParseAddrPort("127.0.0.2:0")
	build := func(i int) *model.Snapshot {
		s := edgeOf(backend, model.HTTP, model.Socket{
			Address: loopback, Kind: model.SocketHTTP,
			Listeners: []model.Listener{{Name: fmt.Sprintf("http-%d", i), Rules: toWeb()}},
		})
		if i%2 == 1 {
			s.Sockets = append(s.Sockets, model.Socket{Address: spare, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "spare", Rules: toWeb()}}})
		}
		return s
	}
	e, at := l.gateway(build(0), 2)
	var stop atomic.Bool
	failed := make(chan string, 4)
	done := make(chan int, 4)
	for range 4 {
		go func() {
			c, n := h1Client(t), 0
			for ; !stop.Load(); n++ {
				resp, err := c.Get("http://" + at.String() + "/echo")
				if err != nil || resp.StatusCode != 200 {
					failed <- fmt.Sprint(resp, err)
					break
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			done <- n
		}()
	}
	for i := range 40 {
		l.apply(e, build(i))
		if i%2 == 1 {
			if resp, _ := do(t, h1Client(t), "GET", "http://"+e.Sockets()[spare].String()+"/echo", nil); resp.StatusCode != 200 {
				t.Errorf("the new socket answers %s", resp.Status)
			}
		} else if _, there := e.Sockets()[spare]; there {
			t.Error("the socket is still there")
		}
	}
	stop.Store(true)
	total := 0
	for range 4 {
		total += <-done
	}
	select {
	case why := <-failed:
		t.Errorf("a request was lost: %s", why)
	default:
	}
	if total == 0 {
		t.Error("no load")
	}
	if err := e.Apply(edgeOf(backend, model.HTTP, model.Socket{Address: backend, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "taken"}}})); err == nil || !strings.Contains(err.Error(), "listener taken") {
		t.Errorf("a socket in use: %v", err)
	}
	if resp, _ := do(t, h1Client(t), "GET", "http://"+at.String()+"/echo", nil); resp.StatusCode != 200 {
		t.Errorf("after a refused snapshot: %s", resp.Status)
	}
}

func TestGatewayTCP(t *testing.T) {
	l := newLab(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				fmt.Fprintln(c, "welcome") // the server speaks first
				_, _ = io.Copy(c, c)
			}()
		}
	}()
	cert := webCertificate(t, "tcp.test", 9)
	secure := netip.MustParseAddrPort("127.0.0.3:0")
	s := edgeOf(addrOf(t, ln), model.TCP,
		model.Socket{Address: loopback, Kind: model.SocketTCP, Listeners: []model.Listener{{Name: "tcp", Rules: toWeb()}}},
		model.Socket{Address: secure, Kind: model.SocketTLS, Listeners: []model.Listener{{Name: "tls", Certificates: []model.Certificate{cert}, Rules: toWeb()}}})
	e, at := l.gateway(s, 1)
	talk := func(c net.Conn) {
		t.Helper()
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(10 * time.Second))
		r := bufio.NewReader(c)
		if line, err := r.ReadString('\n'); line != "welcome\n" {
			t.Fatalf("%q, %v", line, err)
		}
		big := strings.Repeat("0123456789abcdef", 1<<16)
		go func() {
			_, _ = io.WriteString(c, big)
			_ = c.(interface{ CloseWrite() error }).CloseWrite()
		}()
		if got, err := io.ReadAll(r); err != nil || string(got) != big {
			t.Fatalf("%d bytes come back, %v", len(got), err)
		}
	}
	plain, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	talk(plain)
	secured, err := tls.Dial("tcp", e.Sockets()[secure].String(), &tls.Config{InsecureSkipVerify: true})
	if err != nil {
		t.Fatal(err)
	}
	talk(secured)
}

// TestGatewayRefuses shows what a client gets that asks for nothing the gateway has.
func TestGatewayRefuses(t *testing.T) {
	l := newLab(t)
	rules := append(toWeb("web.test"), model.Rule{
		Hosts: []string{"gone.test"}, Backends: []model.Backend{{Service: name("gone"), Port: 80, Weight: 1, Invalid: "no such service"}},
	})
	_, at := l.gateway(edgeOf(server(t, app()), model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Hostname: "*.test", Rules: rules}},
	}), 1)
	for _, c := range []struct{ send, want string }{
		{"GET /echo HTTP/1.1\r\nHost: web.test\r\n\r\n", "HTTP/1.1 200"},
		{"GET / HTTP/1.1\r\nHost: other.test\r\n\r\n", "HTTP/1.1 404"},
		{"GET / HTTP/1.1\r\nHost: elsewhere\r\n\r\n", "HTTP/1.1 404"},
		{"GET / HTTP/1.1\r\nHost: gone.test\r\n\r\n", "HTTP/1.1 500"},
		{"CONNECT web.test:80 HTTP/1.1\r\nHost: web.test:80\r\n\r\n", "HTTP/1.1 405"},
		{"GET /\r\n\r\n", "HTTP/1.1 400"},
		{"SSH-2.0-OpenSSH_9.2\r\n", ""},
		{"INVALID CONNECTION PREFACE\r\n\r\n", ""},
	} {
		conn, err := net.Dial("tcp", at.String())
		if err != nil {
			t.Fatal(err)
		}
		_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(conn, c.send)
		got := make([]byte, len(c.want))
		if _, err := io.ReadFull(conn, got); err != nil {
			t.Errorf("%q: %v", c.send, err)
		}
		if c.want == "" {
			if n, err := conn.Read(make([]byte, 1)); n != 0 {
				t.Errorf("%q is answered, %v", c.send, err)
			}
		}
		if string(got) != c.want {
			t.Errorf("%q: %q, want %q", c.send, got, c.want)
		}
		_ = conn.Close()
	}
}

// TestGatewayResumption has sessions resumed, also on another loop and after a change of the configuration, and
// the post-quantum key exchange agreed on.
func TestGatewayResumption(t *testing.T) {
	l := newLab(t)
	cert := webCertificate(t, "a.test", 1)
	snapshot := edgeOf(server(t, app()), model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTPS,
		Listeners: []model.Listener{{Name: "a", Certificates: []model.Certificate{cert}, Rules: toWeb()}},
	})
	e, at := l.gateway(snapshot, 2)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		cfg := &tls.Config{
			InsecureSkipVerify: true, ServerName: "a.test", MinVersion: version, MaxVersion: version,
			ClientSessionCache: tls.NewLRUClientSessionCache(4),
		}
		ask := func() tls.ConnectionState {
			c, err := tls.Dial("tcp", at.String(), cfg)
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			fmt.Fprint(c, "GET /echo HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
			if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/1.1 200") {
				t.Fatalf("%q, %v", b, err)
			}
			return c.ConnectionState()
		}
		first := ask()
		if version == tls.VersionTLS13 && first.CurveID != tls.X25519MLKEM768 {
			t.Errorf("the key exchange is %v", first.CurveID)
		}
		for i := range 8 {
			if i == 4 {
				l.apply(e, snapshot)
			}
			if s := ask(); !s.DidResume {
				t.Errorf("%s: session %d was not resumed", tls.VersionName(version), i)
			}
		}
	}
}
