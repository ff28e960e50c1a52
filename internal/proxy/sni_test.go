package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// named is a mesh in which programs call the port 443 of the service "front", whose rules send server names to others:
// a.example to a program outside, b.example to one of the mesh.
func (l *lab) named(kind string, protocol model.Protocol, front netip.AddrPort, more ...model.Rule) netip.AddrPort {
	l.t.Helper()
	a, b := webCertificate(l.t, "a.example", 1), webCertificate(l.t, "b.example", 2)
	inside := secureProgram(l.t, b, true, nil)
	server := l.run(Options{Node: "b-1", TLS: l.identity("b"), Inbound: loopback})
	l.apply(server, &model.Snapshot{Workload: model.Workload{
		ID: "b-1", Identity: l.ca.ID("default", "b"), Service: name("b"),
		Inbound: []model.Inbound{{ServicePort: 443, Port: inside.Port(), Protocol: model.TCP}},
	}})
	rule := func(service, host string) model.Rule {
		return model.Rule{
			Ref: model.RuleRef{Kind: kind, Namespace: "default", Name: service}, Layer: model.ServerNames, Port: 443, Hosts: []string{host},
			Backends: []model.Backend{{Service: name(service), Port: 443, Weight: 1}},
		}
	}
	service := func(n string, ep model.Endpoint) model.Service {
		ep.ID = n + "-1"
		return model.Service{Name: name(n), Ports: []model.Port{{Number: 443, Protocol: protocol}}, Endpoints: []model.Endpoint{ep}}
	}
	f := service("front", model.Endpoint{Address: front, Plain: true})
	f.Rules = append([]model.Rule{rule("a", "a.example"), rule("b", "*.b.example")}, more...)
	f.Ordered = kind == "VirtualService"
	e := l.run(Options{
		Node: "load-1", TLS: l.identity("load"), Upstreams: []Upstream{{Service: name("front"), Port: 443, Listen: loopback}},
	})
	l.apply(e, &model.Snapshot{
		Workload: model.Workload{ID: "load-1", Identity: l.ca.ID("default", "load"), Service: name("load")},
		Services: []model.Service{
			f, service("a", model.Endpoint{Address: secureProgram(l.t, a, true, nil), Plain: true}),
			service("b", model.Endpoint{Address: server.Addrs().Inbound, Identity: l.ca.ID("default", "b")}),
		},
	})
	return e.Addrs().Upstreams[0]
}

// TestServerNamesInTheMesh has programs' connections of TLS go by the server name in their hello, TLS and all; what has
// no name, or none of the rules', goes where such connections went before, or nowhere.
func TestServerNamesInTheMesh(t *testing.T) {
	front := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		first, _ := r.Peek(1)
		_, _ = c.Write([]byte("front got " + string(first)))
	})
	for _, kind := range []string{"TLSRoute", "VirtualService"} {
		for _, protocol := range []model.Protocol{model.TCP, model.Auto} {
			t.Run(kind+" "+string(protocol), func(t *testing.T) {
				at := newLab(t).named(kind, protocol, front)
				for host, serial := range map[string]int64{"a.example": 1, "x.b.example": 2} {
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
				// A name of nobody's: a TLSRoute refuses it, and VirtualService leaves it to the service itself.
				raw := dialRaw(t, at)
				_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
				raw.send(hello(t, "c.example"))
				got, _ := io.ReadAll(raw.r)
				if want := kind == "VirtualService"; strings.HasPrefix(string(got), "front got \x16") != want {
					t.Errorf("c.example got %q", got)
				}
				raw = dialRaw(t, at)
				_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
				raw.send("\x00opaque")
				if got, _ := io.ReadAll(raw.r); string(got) != "front got \x00" {
					t.Errorf("bytes without TLS got %q", got)
				}
			})
		}
	}
}

// TestServerNamesLeaveHTTPAlone has a port of unknown protocol carry HTTP, with the bytes read while a hello was looked
// for, and a name that comes in two pieces.
func TestServerNamesLeaveHTTPAlone(t *testing.T) {
	at := newLab(t).named("VirtualService", model.Auto, server(t, http.HandlerFunc(saw)), model.Rule{
		Ref:      model.RuleRef{Kind: "VirtualService", Namespace: "default", Name: "web"},
		Backends: []model.Backend{{Service: name("front"), Port: 443, Weight: 1}},
	})
	resp, body := ask(t, at, "PUT", "/x", "content", "host", "front")
	if resp.StatusCode != 200 || body != "PUT front/x content" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	raw := dialRaw(t, at)
	_ = raw.SetDeadline(time.Now().Add(30 * time.Second))
	h := hello(t, "a.example")
	raw.send(h[:7])
	raw.send(h[7:])
	first := make([]byte, 1)
	if _, err := io.ReadFull(raw.r, first); err != nil || first[0] != recordHandshake {
		t.Errorf("a hello in pieces got %q, %v", first, err)
	}
}

// TestServerNamesOfSilentClients has a client send its hello when its connection has been carried to the service itself:
// it goes by the name all the same.
func TestServerNamesOfSilentClients(t *testing.T) {
	accepted := make(chan struct{}, 8)
	front := rawProgram(t, func(_ *net.TCPConn, r *bufio.Reader) {
		accepted <- struct{}{}
		if _, err := r.Peek(1); err == nil {
			t.Error("the service itself got the hello")
		}
	})
	raw := dialRaw(t, newLab(t).named("TLSRoute", model.Auto, front))
	<-accepted
	raw.send(hello(t, "a.example"))
	first := make([]byte, 1)
	if _, err := io.ReadFull(raw.r, first); err != nil || first[0] != recordHandshake {
		t.Errorf("a hello after a while got %q, %v", first, err)
	}
}

// TestServerNamesBeforeBytes has rules for bytes take what rules for names do not.
func TestServerNamesBeforeBytes(t *testing.T) {
	nobody := rawProgram(t, func(c *net.TCPConn, _ *bufio.Reader) { _, _ = io.WriteString(c, "the service") })
	l := newLab(t)
	at := l.named("VirtualService", model.TCP, nobody, model.Rule{
		Ref: model.RuleRef{Kind: "VirtualService", Namespace: "default", Name: "bytes"}, Layer: model.Bytes,
		Backends: []model.Backend{{Service: name("a"), Port: 443, Weight: 1}},
	})
	resp, err := tlsClient(t, at, "c.example", false).Get("https://c.example/")
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	if got := resp.TLS.PeerCertificates[0].SerialNumber.Int64(); got != 1 {
		t.Errorf("a name without a rule reached certificate %d", got)
	}
}

// hello is what crypto/tls begins a connection with.
func hello(t *testing.T, host string) string {
	t.Helper()
	near, far := net.Pipe()
	defer far.Close()
	go func() {
		c := tls.Client(near, &tls.Config{ServerName: host})
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		_ = c.HandshakeContext(ctx)
		_ = near.Close()
	}()
	b := make([]byte, 16<<10)
	n, err := far.Read(b)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[:n])
}
