package proxy

import (
	"context"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/identity/identitytest"
	"github.com/weft-mesh/weft/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var loopback = netip.MustParseAddrPort("127.0.0.1:0")

// lab is a mesh of engines in this process, on real sockets with real identities.
type lab struct {
	t  testing.TB
	ca *identitytest.CA
}

func newLab(t testing.TB) *lab { return &lab{t: t, ca: identitytest.NewCA(t, "mesh.test")} }

// run starts an engine and ends it with the test.
func (l *lab) run(o Options) *Engine {
	l.t.Helper()
	if o.Logger == nil {
		o.Logger = slog.New(slog.NewTextHandler(testWriter{l.t}, nil))
	}
	e, err := New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(l.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			l.t.Error(err)
		}
	})
	l.t.Cleanup(func() { cancel(); wg.Wait() })
	return e
}

type testWriter struct{ t testing.TB }

func (w testWriter) Write(p []byte) (int, error) {
	w.t.Log(string(p))
	return len(p), nil
}

// identity issues one for ns default.
func (l *lab) identity(account string) *identity.Source {
	l.t.Helper()
	return l.ca.Source(l.t, l.ca.ID("default", account))
}

func name(n string) model.ServiceName { return model.ServiceName{Namespace: "default", Name: n} }

func addrOf(t testing.TB, l net.Listener) netip.AddrPort {
	t.Helper()
	return netip.MustParseAddrPort(l.Addr().String())
}

// server runs an HTTP server that speaks HTTP/1.1 and HTTP/2 with prior knowledge.
func server(t testing.TB, h http.Handler) netip.AddrPort {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return addrOf(t, s.Listener)
}

// hop is one engine that calls a plain endpoint.
func (l *lab) hop(backend netip.AddrPort, protocol model.Protocol) (at netip.AddrPort, e *Engine) {
	l.t.Helper()
	e = l.run(Options{Node: "hop", Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
	l.apply(e, &model.Snapshot{Services: []model.Service{{
		Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: protocol}},
		Endpoints: []model.Endpoint{{ID: "web-1", Address: backend, Plain: true, Protocol: protocol}},
	}}})
	return e.Addrs().Upstreams[0], e
}

func (l *lab) apply(e *Engine, s *model.Snapshot) {
	l.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		err := e.Apply(s)
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			l.t.Fatal(err)
		}
	}
}

// pair is two engines: one beside the client, one beside the program, mTLS between them.
type pair struct {
	client, server *Engine
	at             netip.AddrPort // what the client calls
}

func (l *lab) pair(program netip.AddrPort, protocol model.Protocol) *pair {
	l.t.Helper()
	p := &pair{}
	p.server = l.run(Options{Node: "web-1", TLS: l.identity("web"), Inbound: loopback})
	l.apply(p.server, &model.Snapshot{Workload: model.Workload{
		ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"),
		Inbound: []model.Inbound{{ServicePort: 80, Port: program.Port(), Protocol: protocol}},
	}})
	p.client = l.run(Options{
		Node: "load-1", TLS: l.identity("load"),
		Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}},
	})
	l.apply(p.client, &model.Snapshot{
		Workload: model.Workload{ID: "load-1", Identity: l.ca.ID("default", "load"), Service: name("load")},
		Services: []model.Service{{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: protocol}},
			Endpoints: []model.Endpoint{{
				ID: "web-1", Address: p.server.Addrs().Inbound, Identity: l.ca.ID("default", "web"),
			}},
		}},
	})
	p.at = p.client.Addrs().Upstreams[0]
	return p
}
