package xds

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// handler serves Delta alone.
type handler struct {
	discoveryv1connect.UnimplementedDiscoveryServiceHandler
	s *Server
}

func (h handler) Delta(ctx context.Context, b *connect.BidiStream[discoveryv1.DeltaRequest, discoveryv1.DeltaResponse]) error {
	return h.s.Delta(ctx, b)
}

// bench is a server and one client over real HTTP/2.
type bench struct {
	t      *testing.T
	server *Server
	client *Client

	mu      sync.Mutex
	applied []*model.Snapshot
	refuse  error
	hold    chan struct{} // while it is open, questions get no answer
}

// newBench has the client introduce itself as load-1 of service load, changed by node.
func newBench(t *testing.T, node ...func(*discoveryv1.Node)) *bench {
	b := &bench{t: t}
	b.server = NewServer(ServerOptions{Identify: func(context.Context) (model.Identity, error) {
		return model.Identity{TrustDomain: "mesh.test", Namespace: "default", Account: "load"}, nil
	}})
	mux := http.NewServeMux()
	mux.Handle(discoveryv1connect.NewDiscoveryServiceHandler(handler{s: b.server}))
	srv := httptest.NewUnstartedServer(mux)
	srv.EnableHTTP2 = true
	srv.StartTLS()
	n := &discoveryv1.Node{Id: "load-1", Service: "load"}
	for _, f := range node {
		f(n)
	}
	b.client = NewClient(ClientOptions{
		HTTP: srv.Client(), BaseURL: srv.URL, Node: n, Apply: b.apply, MaxSubscriptions: 3, Conditions: b.conditions,
	})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := b.client.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		b.server.Close()
		srv.Close()
	})
	return b
}

func (b *bench) apply(s *model.Snapshot) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refuse != nil {
		return b.refuse
	}
	b.applied = append(b.applied, s)
	return nil
}

func (b *bench) setRefuse(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refuse = err
}

// last is what runs.
func (b *bench) last() *model.Snapshot {
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.applied) == 0 {
		return &model.Snapshot{}
	}
	return b.applied[len(b.applied)-1]
}

func names(s *model.Snapshot) []string {
	var out []string
	for i := range s.Services {
		out = append(out, s.Services[i].Name.Name)
	}
	return out
}

func svc(n string) model.ServiceName { return model.ServiceName{Namespace: "default", Name: n} }

// mesh makes services; "a>b" has a rule that sends a's requests to b.
func mesh(revision int64, services map[string]string) *Mesh {
	m := &Mesh{Revision: revision, TrustDomain: "mesh.test", Services: map[model.ServiceName]*model.Service{}}
	for n, to := range services {
		s := &model.Service{Name: svc(n), Ports: []model.Port{{Number: 80}}}
		if to != "" {
			s.Rules = []model.Rule{{Backends: []model.Backend{{Service: svc(to), Weight: 1}}}}
		}
		m.Services[s.Name] = s
	}
	return m
}

func (b *bench) wait(revision int64) WaitResult {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	r, behind := b.server.Wait(ctx, revision)
	if behind {
		b.t.Fatalf("the mesh never reached revision %d", revision)
	}
	return r
}

func (b *bench) lookup(n string) bool {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.t.Context(), 30*time.Second)
	defer cancel()
	known, err := b.client.Lookup(ctx, svc(n))
	if err != nil {
		b.t.Fatalf("lookup %s: %v", n, err)
	}
	return known
}

func TestOnlyWhatIsUsedIsSent(t *testing.T) {
	b := newBench(t)
	b.server.Publish(mesh(1, map[string]string{"a": "b", "b": "", "c": ""}))
	<-b.client.Ready()
	if got := names(b.last()); len(got) != 0 {
		t.Fatalf("before anything was asked for: %v", got)
	}
	if !b.lookup("a") || b.lookup("nowhere") {
		t.Fatal("a is there, nowhere is not")
	}
	if got := names(b.last()); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("got %v, want a and the backend of its rule", got)
	}
	before := b.server.Pushes()
	b.server.Publish(mesh(2, map[string]string{"a": "b", "b": "", "c": "a"}))
	if r := b.wait(2); r.Current != 1 || len(r.Pending)+len(r.Refused) != 0 {
		t.Fatalf("a change of what it does not use: %+v", r)
	}
	if pushed := b.server.Pushes() - before; pushed != 0 {
		t.Fatalf("%d responses were sent for a change that does not concern the proxy", pushed)
	}
	b.server.Publish(mesh(3, map[string]string{"a": "c", "b": "", "c": "", "nowhere": ""}))
	if r := b.wait(3); r.Current != 1 {
		t.Fatalf("%+v", r)
	}
	if got := names(b.last()); !slices.Equal(got, []string{"a", "c", "nowhere"}) {
		t.Fatalf("got %v: b has left, c has come, nowhere is there now", got)
	}
}

func TestRefusalIsKnownAndPasses(t *testing.T) {
	b := newBench(t)
	b.server.Publish(mesh(1, map[string]string{"a": "", "b": ""}))
	<-b.client.Ready()
	b.lookup("a")
	good := b.last()
	b.setRefuse(errors.New("bad regular expression"))
	b.server.Publish(mesh(2, map[string]string{"a": "b", "b": ""}))
	if r := b.wait(2); r.Refused["load-1"] != "bad regular expression" {
		t.Fatalf("%+v", r)
	}
	if b.last() != good {
		t.Fatal("the last good configuration is gone")
	}
	if p := b.server.Proxies()[0]; p.Nack == "" || p.AckedRevision >= 2 {
		t.Fatalf("state %+v", p)
	}
	b.setRefuse(nil)
	b.server.Publish(mesh(3, map[string]string{"a": "", "b": "a"}))
	if r := b.wait(3); r.Current != 1 || len(r.Refused) != 0 {
		t.Fatalf("after the mend: %+v", r)
	}
	if p := b.server.Proxies()[0]; p.Nack != "" {
		t.Fatalf("still refused: %+v", p)
	}
}

func TestSubscriptionsAreBounded(t *testing.T) {
	b := newBench(t)
	all := map[string]string{}
	for _, n := range []string{"s1", "s2", "s3", "s4", "s5"} {
		all[n] = ""
	}
	b.server.Publish(mesh(1, all))
	<-b.client.Ready()
	for _, n := range []string{"s1", "s2", "s3", "s4", "s5"} {
		if !b.lookup(n) {
			t.Fatalf("%s is not known", n)
		}
	}
	deadline := time.Now().Add(30 * time.Second)
	for tick := time.NewTicker(5 * time.Millisecond); ; <-tick.C {
		if got := names(b.last()); len(got) <= 3 {
			tick.Stop()
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("%v are held; at most 3 may be", names(b.last()))
		}
	}
}

// TestNamespacesMayHaveRulesOfTheirOwn gives clients of the proxy's namespace another view of a service.
func TestNamespacesMayHaveRulesOfTheirOwn(t *testing.T) {
	b := newBench(t)
	m := mesh(1, map[string]string{"a": "b", "b": "", "c": ""})
	m.For = func(n model.ServiceName, w *model.Workload) (*model.Service, string) {
		if n != svc("a") || w.Identity.Namespace != "default" {
			return nil, ""
		}
		own := *m.Services[n]
		own.Rules = []model.Rule{{Backends: []model.Backend{{Service: svc("c"), Weight: 1}}}}
		return &own, "default"
	}
	b.server.Publish(m)
	<-b.client.Ready()
	b.lookup("a")
	if got := names(b.last()); !slices.Equal(got, []string{"a", "c"}) {
		t.Fatalf("got %v, want a and the backend of the namespace's own rule", got)
	}
	b.server.Publish(mesh(2, map[string]string{"a": "b", "b": "", "c": ""}))
	b.wait(2)
	if got := names(b.last()); !slices.Equal(got, []string{"a", "b"}) {
		t.Fatalf("got %v after the namespace's rules have gone", got)
	}
}
