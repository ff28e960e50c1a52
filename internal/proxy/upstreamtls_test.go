package proxy

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// secureProgram is an HTTPS server with a certificate for host; ask for a client's by asking.
func secureProgram(t testing.TB, cert model.Certificate, http2 bool, asking *x509.CertPool) netip.AddrPort {
	t.Helper()
	pair, err := tls.X509KeyPair([]byte(cert.Chain), []byte(cert.Key))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s %s %d", r.Proto, r.TLS.ServerName, len(r.TLS.PeerCertificates))
	}))
	s.EnableHTTP2 = http2
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}}
	if asking != nil {
		s.TLS.ClientCAs, s.TLS.ClientAuth = asking, tls.RequireAndVerifyClientCert
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return addrOf(t, s.Listener)
}

func poolOf(t testing.TB, cert model.Certificate) *x509.CertPool {
	p := x509.NewCertPool()
	if !p.AppendCertsFromPEM([]byte(cert.Chain)) {
		t.Fatal("no certificate")
	}
	return p
}

func TestTLSToEndpointsOutside(t *testing.T) {
	cert, other, mine := webCertificate(t, "db.example", 1), webCertificate(t, "other.example", 2), webCertificate(t, "me", 3)
	for _, c := range []struct {
		what     string
		protocol model.Protocol
		tls      model.UpstreamTLS
		want     string // "" means that nobody may be reached
	}{
		{"HTTP/1.1", model.HTTP, model.UpstreamTLS{Hostname: "db.example", CA: cert.Chain}, "HTTP/1.1 db.example 0"},
		{"HTTP/2", model.HTTP2, model.UpstreamTLS{Hostname: "db.example", CA: cert.Chain}, "HTTP/2.0 db.example 0"},
		{"a client's certificate", model.HTTP, model.UpstreamTLS{Hostname: "db.example", CA: cert.Chain, Certificate: &mine}, "HTTP/1.1 db.example 1"},
		{"another name", model.HTTP, model.UpstreamTLS{Hostname: "sni.example", CA: cert.Chain, Names: []string{"db.example"}}, "HTTP/1.1 sni.example 0"},
		{"whoever", model.HTTP, model.UpstreamTLS{Hostname: "x.example", Insecure: true}, "HTTP/1.1 x.example 0"},
		{"a wrong host", model.HTTP, model.UpstreamTLS{Hostname: "wrong.example", CA: cert.Chain}, ""},
		{"a wrong name", model.HTTP, model.UpstreamTLS{Hostname: "db.example", CA: cert.Chain, Names: []string{"wrong.example"}}, ""},
		{"a wrong CA", model.HTTP, model.UpstreamTLS{Hostname: "db.example", CA: other.Chain}, ""},
		{"the system's CAs", model.HTTP, model.UpstreamTLS{Hostname: "db.example"}, ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			var asking *x509.CertPool
			if c.tls.Certificate != nil {
				asking = poolOf(t, mine)
			}
			s := model.Service{
				Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: c.protocol}}, Upstream: &model.Upstream{TLS: &c.tls},
				Endpoints: []model.Endpoint{{ID: "web-1", Address: secureProgram(t, cert, c.protocol == model.HTTP2, asking), Plain: true, Protocol: c.protocol}},
			}
			cl := newClient(t, newLab(t).edge(toAll(), s))
			for range 3 {
				code, body, _ := cl.get("/")
				if c.want != "" && (code != 200 || body != c.want) {
					t.Fatalf("%d %q, want %q", code, body, c.want)
				}
				if c.want == "" && (code != 503 || !strings.Contains(body, "TLS")) {
					t.Fatalf("%d %q, want a refusal that names TLS", code, body)
				}
			}
		})
	}
}

// TestTLSOfAPort has one port of a service reached by TLS and another one not, whoever calls: a route, a mirror, a service
// that is asked, each for itself.
func TestTLSOfAPort(t *testing.T) {
	cert := webCertificate(t, "db.example", 1)
	s := model.Service{
		Name: name("web"), Ports: []model.Port{{Number: 443}, {Number: 80}},
		Upstream: &model.Upstream{PortTLS: []model.UpstreamTLS{{Hostname: "db.example", CA: cert.Chain, Ports: []uint16{443}}}},
		Endpoints: []model.Endpoint{
			{ID: "secure", Address: secureProgram(t, cert, false, nil), Plain: true, Ports: []uint16{443}},
			{ID: "plain", Address: server(t, saying("plain")), Plain: true, Ports: []uint16{80}},
		},
	}
	rule := func(path string, port uint16, filters model.Filters) model.Rule {
		return model.Rule{
			Ref:     model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "r"},
			Matches: []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: path}}},
			Filters: filters, Backends: []model.Backend{{Service: s.Name, Port: port, Weight: 1}},
		}
	}
	l := newLab(t)
	at := l.edge([]model.Rule{
		rule("/tls", 443, model.Filters{}), rule("/plain", 80, model.Filters{}),
		rule("/asked", 80, model.Filters{Auth: &model.ExternalAuth{Service: s.Name, Port: 443}}),
	}, s)
	for path, want := range map[string]string{"/tls": "HTTP/1.1 db.example 0", "/plain": "plain", "/asked": "plain"} {
		if resp, body := ask(t, at, "GET", path, ""); resp.StatusCode != 200 || body != want {
			t.Errorf("%s: %d %q, want %q", path, resp.StatusCode, body, want)
		}
	}
	s.Upstream = &model.Upstream{PortTLS: []model.UpstreamTLS{{Invalid: "its CA is missing", Ports: []uint16{443}}}}
	at = l.edge([]model.Rule{rule("/tls", 443, model.Filters{}), rule("/plain", 80, model.Filters{})}, s)
	if resp, body := ask(t, at, "GET", "/tls", ""); resp.StatusCode != 503 || !strings.Contains(body, "its CA is missing") {
		t.Errorf("without a CA: %d %q", resp.StatusCode, body)
	}
	if resp, _ := ask(t, at, "GET", "/plain", ""); resp.StatusCode != 200 {
		t.Errorf("the other port without a CA: %d", resp.StatusCode)
	}
}

// TestTLSOfSharedEndpoints has services whose endpoints are the same programs keep to what each says of TLS: a connection
// that one of them trusts is no connection of the other.
func TestTLSOfSharedEndpoints(t *testing.T) {
	cert := webCertificate(t, "db.example", 1)
	program := model.Endpoint{ID: "p", Address: secureProgram(t, cert, false, nil), Plain: true}
	service := func(n, host string) model.Service {
		return model.Service{
			Name: name(n), Ports: []model.Port{{Number: 80}}, Endpoints: []model.Endpoint{program},
			Upstream: &model.Upstream{TLS: &model.UpstreamTLS{Hostname: host, CA: cert.Chain}},
		}
	}
	rule := func(n string) model.Rule {
		return model.Rule{Matches: []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/" + n}}}, Backends: to(n)}
	}
	at := newLab(t).edge([]model.Rule{rule("good"), rule("wrong")}, service("good", "db.example"), service("wrong", "other.example"))
	for range 3 {
		if resp, body := ask(t, at, "GET", "/good", ""); resp.StatusCode != 200 || body != "HTTP/1.1 db.example 0" {
			t.Errorf("%d %q", resp.StatusCode, body)
		}
		if resp, body := ask(t, at, "GET", "/wrong", ""); resp.StatusCode != 503 || !strings.Contains(body, "TLS") {
			t.Errorf("the service of another name: %d %q", resp.StatusCode, body)
		}
	}
}

// TestPassthrough has clients reach the program of their server name, TLS and all.
func TestPassthrough(t *testing.T) {
	a, b := webCertificate(t, "a.example", 1), webCertificate(t, "b.example", 2)
	service := func(n string, cert model.Certificate) model.Service {
		return model.Service{Name: name(n), Ports: []model.Port{{Number: 443}}, Endpoints: []model.Endpoint{
			{ID: n, Address: secureProgram(t, cert, true, nil), Plain: true},
		}}
	}
	rule := func(n string, hosts ...string) model.Rule {
		return model.Rule{Hosts: hosts, Backends: []model.Backend{{Service: name(n), Port: 443, Weight: 1}}}
	}
	_, at := newLab(t).gateway(&model.Snapshot{
		Services: []model.Service{service("a", a), service("b", b)},
		Sockets: []model.Socket{{Address: loopback, Kind: model.SocketPassthrough, Listeners: []model.Listener{
			{Name: "tls", Hostname: "*.example", Rules: []model.Rule{rule("a", "a.example"), rule("b", "*.example")}},
		}}},
	}, 2)
	for host, serial := range map[string]int64{"a.example": 1, "b.example": 2, "c.example": 2} {
		for _, http2 := range []bool{false, true} {
			resp, err := tlsClient(t, at, host, http2).Get("https://" + host + "/")
			if err != nil {
				t.Fatal(err)
			}
			body, _ := io.ReadAll(resp.Body)
			resp.Body.Close()
			if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != serial || !strings.Contains(string(body), host) || (resp.ProtoMajor == 2) != http2 {
				t.Errorf("%s: certificate %d, %q over %s", host, got, body, resp.Proto)
			}
		}
	}
	if _, err := tls.Dial("tcp", at.String(), &tls.Config{InsecureSkipVerify: true, ServerName: "a.test"}); err == nil {
		t.Error("a host of no listener was carried")
	}
	raw := dialRaw(t, at)
	raw.send("GET / HTTP/1.1\r\nHost: a.example\r\n\r\n")
	if b, _ := io.ReadAll(raw.r); len(b) > 0 {
		t.Errorf("bytes that are no TLS got %q", b)
	}
}

func TestClientCertificates(t *testing.T) {
	cert, mine, strange := webCertificate(t, "a.example", 1), webCertificate(t, "me", 2), webCertificate(t, "you", 3)
	edge := func(mode model.ClientMode) netip.AddrPort {
		_, at := newLab(t).gateway(edgeOf(server(t, app()), model.HTTP, model.Socket{
			Address: loopback, Kind: model.SocketHTTPS, Listeners: []model.Listener{{
				Name: "https", Certificates: []model.Certificate{cert}, ClientCA: mine.Chain, ClientMode: mode, Rules: toWeb(),
			}},
		}), 1)
		return at
	}
	for _, c := range []struct {
		mode model.ClientMode
		with *model.Certificate
		ok   bool
	}{
		{"", &mine, true},
		{"", &strange, false},
		{"", nil, false},
		{model.ClientOptional, &mine, true},
		{model.ClientOptional, &strange, true},
		{model.ClientOptional, nil, true},
	} {
		cl := tlsClient(t, edge(c.mode), "a.example", false)
		conf := cl.Transport.(*http.Transport).TLSClientConfig
		if c.with != nil {
			pair, err := tls.X509KeyPair([]byte(c.with.Chain), []byte(c.with.Key))
			if err != nil {
				t.Fatal(err)
			}
			conf.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return &pair, nil }
		}
		resp, err := cl.Get("https://a.example/")
		if err == nil {
			resp.Body.Close()
		}
		if (err == nil) != c.ok {
			t.Errorf("mode %q, certificate %t: %v", c.mode, c.with != nil, err)
		}
	}
}
