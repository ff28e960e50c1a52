package control

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

const (
	manyServices = 2_000
	routesEach   = 5
)

// largeMesh is 10,000 routes of 2,000 services, each of which has two versions with an endpoint.
func largeMesh(t testing.TB) config.Input {
	t.Helper()
	var text strings.Builder
	in := config.Input{TrustDomain: "mesh.test"}
	for s := range manyServices {
		for r := range routesEach {
			text.WriteString(largeRoute(s, r, 50))
		}
		name := fmt.Sprintf("s%d", s)
		svc := model.Service{Name: model.ServiceName{Namespace: "default", Name: name}, Ports: []model.Port{{Number: 80, Protocol: model.HTTP}}}
		for _, v := range []string{"v1", "v2"} {
			svc.Endpoints = append(svc.Endpoints, model.Endpoint{ID: name + "-" + v, Labels: map[string]string{"version": v}, Ports: []uint16{80}})
		}
		in.Registry.Services = append(in.Registry.Services, svc)
	}
	in.Resources = parsed(t, text.String())
	return in
}

func largeRoute(service, route, weight int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: s%[1]d-r%[2]d}
spec:
  parentRefs: [{group: "", kind: Service, name: s%[1]d}]
  rules:
  - matches: [{path: {value: /p%[2]d}, headers: [{name: x-canary, value: "yes"}]}]
    filters: [{type: RequestHeaderModifier, requestHeaderModifier: {set: [{name: x-route, value: r%[2]d}]}}]
    backendRefs: [{name: s%[1]d-v1, port: 80, weight: %[3]d}, {name: s%[1]d-v2, port: 80, weight: 50}]
---
`, service, route, weight)
}

// parsed reads documents, in parts as large as a set may be.
func parsed(t testing.TB, text string) (out []config.Resource) {
	t.Helper()
	for part := range slices.Chunk(strings.SplitAfter(text, "---\n"), 1000) {
		resources, problems := config.ParseSet([]document.Source{{File: "many.yaml", Data: []byte(strings.Join(part, ""))}}, document.Limits{})
		if problems.Failed() {
			t.Fatal(problems.Err())
		}
		out = append(out, resources...)
	}
	return out
}

// wire is the connection of a proxy to its control plane, whose bytes are counted in both directions.
type wire struct {
	net.Conn
	bytes *atomic.Int64
}

func (w wire) Read(p []byte) (int, error) {
	n, err := w.Conn.Read(p)
	w.bytes.Add(int64(n))
	return n, err
}

func (w wire) Write(p []byte) (int, error) {
	n, err := w.Conn.Write(p)
	w.bytes.Add(int64(n))
	return n, err
}

// follower is a proxy's client of the stream.
type follower struct {
	client *xds.Client
	bytes  atomic.Int64 // on its connection, TLS and HTTP/2 included
	weight atomic.Int64 // of the first backend of its service's first rule, as last applied
}

func (f *follower) apply(s *model.Snapshot) error {
	for i := range s.Services {
		if rules := s.Services[i].Rules; len(rules) > 0 {
			f.weight.Store(int64(rules[0].Backends[0].Weight))
		}
	}
	return nil
}

// deltas serves the stream alone.
type deltas struct {
	discoveryv1connect.UnimplementedDiscoveryServiceHandler
	s *xds.Server
}

func (d deltas) Delta(ctx context.Context, b *connect.BidiStream[discoveryv1.DeltaRequest, discoveryv1.DeltaResponse]) error {
	return d.s.Delta(ctx, b)
}

// follow connects a proxy that uses one service to a server.
func follow(t *testing.T, server *httptest.Server, id string, service model.ServiceName) *follower {
	t.Helper()
	f := &follower{}
	transport := server.Client().Transport.(*http.Transport).Clone()
	transport.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return wire{conn, &f.bytes}, nil
	}
	f.client = xds.NewClient(xds.ClientOptions{
		HTTP: &http.Client{Transport: transport}, BaseURL: server.URL, Node: &discoveryv1.Node{Id: id, Service: "load"}, Apply: f.apply,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = f.client.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait(); transport.CloseIdleConnections() })
	<-f.client.Ready()
	within, done := context.WithTimeout(ctx, 30*time.Second)
	defer done()
	if known, err := f.client.Lookup(within, service); err != nil || !known {
		t.Fatal(known, err)
	}
	return f
}

// TestCostOfAChange: 10,000 routes compile in less than a second (thirty are borne here, on a busy machine); a change of
// one of them costs less than 2 KB on the wire of a proxy that uses its service, the answer included, and nothing on
// that of a proxy that does not.
func TestCostOfAChange(t *testing.T) {
	in := largeMesh(t)
	compile := func(revision int64) *xds.Mesh {
		began := time.Now()
		mesh, warnings := config.Compile(in)
		took := time.Since(began)
		t.Logf("%d routes of %d services compile in %v", len(in.Resources), manyServices, took.Round(time.Millisecond))
		if took > 30*time.Second || len(warnings) > 0 {
			t.Errorf("compiled in %v with %d warnings", took, len(warnings))
		}
		mesh.Revision = revision
		return forProxies(mesh)
	}
	server := xds.NewServer(xds.ServerOptions{Identify: func(context.Context) (model.Identity, error) {
		return model.Identity{TrustDomain: "mesh.test", Namespace: "default", Account: "load"}, nil
	}})
	mux := http.NewServeMux()
	mux.Handle(discoveryv1connect.NewDiscoveryServiceHandler(deltas{s: server}))
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	t.Cleanup(func() { server.Close(); srv.Close() })
	server.Publish(compile(1))
	uses := follow(t, srv, "uses", model.ServiceName{Namespace: "default", Name: "s42"})
	other := follow(t, srv, "other", model.ServiceName{Namespace: "default", Name: "s43"})
	revision := int64(1)
	current := func() {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		if result, behind := server.Wait(ctx, revision); behind {
			t.Fatalf("revision %d never came to all: %+v", revision, result)
		}
	}
	current()
	for change := range 3 {
		pushes, usesBefore, otherBefore := server.Pushes(), quiet(t, &uses.bytes), quiet(t, &other.bytes)
		weight := 60 + change
		replaceRoute(t, in.Resources, parsed(t, largeRoute(42, 0, weight))[0])
		revision++
		server.Publish(compile(revision))
		current()
		if got := uses.weight.Load(); got != int64(weight) {
			t.Errorf("the proxy runs weight %d, want %d", got, weight)
		}
		cost, spill, sent := quiet(t, &uses.bytes)-usesBefore, quiet(t, &other.bytes)-otherBefore, server.Pushes()-pushes
		t.Logf("change %d: %d bytes to and from the proxy that uses the route, %d of the one that does not; %d push", change+1, cost, spill, sent)
		if cost == 0 || cost >= 2048 || spill != 0 || sent != 1 {
			t.Errorf("%d bytes, %d bytes, %d pushes; want 1 to 2047, none, 1", cost, spill, sent)
		}
	}
}

func replaceRoute(t *testing.T, all []config.Resource, r config.Resource) {
	t.Helper()
	for i := range all {
		if all[i].Key == r.Key {
			all[i] = r
			return
		}
	}
	t.Fatalf("no resource %s", r.Key)
}

// quiet waits until a count has not changed for half a second, and returns it.
func quiet(t *testing.T, n *atomic.Int64) int64 {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	last, same := n.Load(), 0
	for deadline := time.Now().Add(30 * time.Second); same < 10; <-tick.C {
		now := n.Load()
		if same++; now != last {
			last, same = now, 0
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection is never quiet")
		}
	}
	return last
}
