package control

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m,
		// etcd's own, which outlive its Close by a moment.
		goleak.IgnoreAnyFunction("go.etcd.io/etcd/client/pkg/v3/logutil.(*MergeLogger).outputLoop"))
}

// plane is a control plane with a real embedded etcd in a directory of its own.
type plane struct {
	t      *testing.T
	dir    string
	s      *Server
	client adminv1connect.AdminServiceClient
	stop   func()
}

// startPlane runs one; extra changes its options.
func startPlane(t *testing.T, dir string, extra func(*Options)) *plane {
	t.Helper()
	o := Options{DataDir: filepath.Join(dir, "data"), APISocket: filepath.Join(dir, "weft.sock"), Logger: slog.New(slog.DiscardHandler)}
	if extra != nil {
		extra(&o)
	}
	s, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	failed := make(chan error, 1)
	go func() { failed <- s.Run(ctx) }()
	select {
	case <-s.Ready():
	case err := <-failed:
		cancel()
		t.Fatalf("the control plane ended: %v", err)
	}
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", o.APISocket)
	}}
	p := &plane{t: t, dir: dir, s: s, client: adminv1connect.NewAdminServiceClient(&http.Client{Transport: transport}, "http://weft")}
	stopped := false
	p.stop = func() {
		if stopped {
			return
		}
		stopped = true
		transport.CloseIdleConnections()
		cancel()
		select {
		case err := <-failed:
			if err != nil {
				t.Errorf("the control plane ended with %v", err)
			}
		case <-time.After(60 * time.Second):
			t.Error("the control plane does not end")
		}
	}
	t.Cleanup(p.stop)
	return p
}

// shortDir is a directory whose path leaves room for a socket's name.
func shortDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "w")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (p *plane) ctx() context.Context {
	ctx, cancel := context.WithTimeout(p.t.Context(), 60*time.Second)
	p.t.Cleanup(cancel)
	return ctx
}

// workload joins as a proxy does: token, SVID, stream.
type workload struct {
	source *identity.Source
	api    discoveryv1connect.DiscoveryServiceClient
	client *xds.Client
	stop   func()
}

func (p *plane) join(account, id string, apply func(*model.Snapshot) error) *workload {
	p.t.Helper()
	return p.joinAs(account, &discoveryv1.Node{Id: id, Service: account}, apply)
}

// joinAs is join with what the proxy says of itself.
func (p *plane) joinAs(account string, node *discoveryv1.Node, apply func(*model.Snapshot) error) *workload {
	p.t.Helper()
	token, err := p.client.CreateJoinToken(p.ctx(), connect.NewRequest(&adminv1.CreateJoinTokenRequest{Namespace: "default", Account: account}))
	if err != nil {
		p.t.Fatal(err)
	}
	w := &workload{}
	if w.source, err = identity.New(identity.Options{Control: p.s.proxyAt, Token: token.Msg.GetToken()}); err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(p.t.Context())
	done := make(chan struct{}, 2)
	go func() { _ = w.source.Run(ctx); done <- struct{}{} }()
	select {
	case <-w.source.Ready():
	case <-time.After(10 * time.Second):
		p.t.Fatal("no identity within 10 s")
	}
	w.api = discoveryv1connect.NewDiscoveryServiceClient(w.source.HTTPClient(), w.source.BaseURL())
	w.client = xds.NewClient(xds.ClientOptions{
		HTTP: w.source.HTTPClient(), BaseURL: w.source.BaseURL(), Node: node, Apply: apply,
	})
	go func() { _ = w.client.Run(ctx); done <- struct{}{} }()
	select {
	case <-w.client.Ready():
	case <-time.After(10 * time.Second):
		p.t.Fatal("no configuration within 10 s")
	}
	w.stop = sync.OnceFunc(func() {
		cancel()
		<-done
		<-done
		w.source.HTTPClient().CloseIdleConnections()
	})
	p.t.Cleanup(w.stop)
	return w
}

func (w *workload) register(ctx context.Context, service, id, version string, ttl uint32) error {
	_, err := w.api.Register(ctx, connect.NewRequest(&discoveryv1.RegisterRequest{
		Service: service, Id: id, Address: "127.0.0.1:4001", Labels: map[string]string{"version": version},
		Ports: []*discoveryv1.Port{{Number: 80, Protocol: "http"}}, TtlSeconds: ttl,
	}))
	return err
}

// find waits until the workload's proxy knows a service: a registration is compiled a moment after it is stored.
func (w *workload) find(ctx context.Context, t *testing.T, service string) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		known, err := w.client.Lookup(ctx, model.ServiceName{Namespace: "default", Name: service})
		if err != nil {
			t.Fatal(err)
		}
		if known {
			return
		}
		<-tick.C
	}
}

const routeYAML = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{group: "", kind: Service, name: web}]
  rules:
  - backendRefs: [{name: web-v1, port: 80, weight: 1}]
`

func (p *plane) apply(text string, strict bool) (*adminv1.ApplyResponse, error) {
	resp, err := p.client.Apply(p.ctx(), connect.NewRequest(&adminv1.ApplyRequest{
		Documents: []*adminv1.Document{{File: "web.yaml", Text: text}}, Strict: strict,
	}))
	if err != nil {
		return nil, err
	}
	return resp.Msg, nil
}

func (p *plane) wait(revision int64, within time.Duration) *adminv1.WaitResponse {
	p.t.Helper()
	resp, err := p.client.Wait(p.ctx(), connect.NewRequest(&adminv1.WaitRequest{Revision: revision, Timeout: durationpb.New(within)}))
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Msg
}

func TestApplyReachesProxiesAndSurvivesARestart(t *testing.T) {
	dir := shortDir(t)
	p := startPlane(t, dir, nil)
	snapshots := make(chan *model.Snapshot, 100)
	w := p.join("web", "web-1", func(s *model.Snapshot) error { snapshots <- s; return nil })
	if err := w.register(p.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	w.find(p.ctx(), t, "web")
	began := time.Now()
	applied, err := p.apply(routeYAML, true)
	if err != nil {
		t.Fatal(err)
	}
	waited := p.wait(applied.GetRevision(), 30*time.Second)
	if took := time.Since(began); took > time.Second || waited.GetProxies() != 1 || len(waited.GetPending())+len(waited.GetRefusals()) > 0 {
		t.Fatalf("after %v: %v", took, waited)
	}
	var last *model.Snapshot
	for len(snapshots) > 0 {
		last = <-snapshots
	}
	var web model.Service
	for _, s := range last.Services {
		if s.Name.Name == "web" {
			web = s
		}
	}
	if len(web.Rules) != 1 || web.Rules[0].Ref.File != "web.yaml" || web.Rules[0].Ref.Line == 0 || !web.VIP.IsValid() {
		t.Fatalf("the proxy runs %+v", web)
	}
	again, err := p.apply(routeYAML, true)
	if err != nil || again.GetChanges()[0].GetAction() != "unchanged" {
		t.Fatalf("%v %v", again, err)
	}

	w.stop()
	p.stop()
	p = startPlane(t, dir, nil)
	got, err := p.client.ListServices(p.ctx(), connect.NewRequest(&adminv1.ListServicesRequest{}))
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, s := range got.Msg.GetServices() {
		if s.GetService().GetName() == "default/web" {
			found = true
			if string(s.GetService().GetVip()) != string(web.VIP.AsSlice()) || len(s.GetService().GetRules()) != 1 || len(s.GetEndpoints().GetEndpoints()) != 1 {
				t.Errorf("after the restart: %v", s)
			}
		}
	}
	if !found {
		t.Error("the service is gone")
	}
}

func TestInvalidSetChangesNothing(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	before := p.s.mesh.Load().Revision
	for name, text := range map[string]string{
		"unknown field": strings.Replace(routeYAML, "weight", "wieght", 1),
		"one of two":    routeYAML + "---\n" + strings.Replace(strings.Replace(routeYAML, "name: web}", "name: other}", 1), "weight: 1", "weight: -1", 1),
		"no yaml":       "\x00\x01",
	} {
		_, err := p.apply(text, false)
		var ce *connect.Error
		if !errors.As(err, &ce) || ce.Code() != connect.CodeInvalidArgument || len(ce.Details()) != 1 {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := p.apply(routeYAML, true); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("strict, with no such service: %v", err)
	}
	list, err := p.client.List(p.ctx(), connect.NewRequest(&adminv1.ListRequest{}))
	if err != nil || len(list.Msg.GetResources()) != 0 {
		t.Errorf("stored: %v %v", list, err)
	}
	resp, err := p.apply(routeYAML, false)
	if err != nil || len(resp.GetWarnings()) == 0 || resp.GetRevision() <= before {
		t.Errorf("lenient: %v %v", resp, err)
	}
}

func TestRefusalReachesWait(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	refuse := make(chan struct{})
	w := p.join("web", "web-1", func(s *model.Snapshot) error {
		select {
		case <-refuse:
			for _, svc := range s.Services {
				if len(svc.Rules) > 0 {
					return errors.New("cannot run that")
				}
			}
		default:
		}
		return nil
	})
	if err := w.register(p.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	w.find(p.ctx(), t, "web")
	close(refuse)
	applied, err := p.apply(routeYAML, true)
	if err != nil {
		t.Fatal(err)
	}
	got := p.wait(applied.GetRevision(), 30*time.Second)
	if len(got.GetRefusals()) != 1 || got.GetRefusals()[0].GetReason() != "cannot run that" {
		t.Fatalf("%v", got)
	}
}

func TestEndpointsBelongToWhoRegisteredThem(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	nothing := func(*model.Snapshot) error { return nil }
	web, thief := p.join("web", "web-1", nothing), p.join("thief", "thief-1", nothing)
	if err := web.register(p.ctx(), "web", "web-1", "v1", 5); err != nil {
		t.Fatal(err)
	}
	if err := thief.register(p.ctx(), "web", "web-1", "v1", 5); connect.CodeOf(err) != connect.CodeAlreadyExists {
		t.Errorf("registering under another's ID: %v", err)
	}
	if _, err := thief.api.Deregister(p.ctx(), connect.NewRequest(&discoveryv1.DeregisterRequest{Id: "web-1"})); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("deregistering another: %v", err)
	}
	if err := web.register(p.ctx(), "web", "web-1", "v1", 1); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Errorf("a lease that is too short: %v", err)
	}
	revision := func() int64 { v, _ := p.s.state.read(false); return v.revision }
	before := revision()
	if err := web.register(p.ctx(), "web", "web-1", "v1", 5); err != nil || revision() != before {
		t.Errorf("a refresh made revision %d of %d (%v)", revision(), before, err)
	}
	// Nobody refreshes: the lease takes the endpoint out, and the service stays.
	deadline := time.Now().Add(60 * time.Second)
	for tick := time.NewTicker(50 * time.Millisecond); ; <-tick.C {
		if s := p.s.mesh.Load().Services[model.ServiceName{Namespace: "default", Name: "web"}]; s != nil && len(s.Endpoints) == 0 {
			tick.Stop()
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("the endpoint outlives its lease")
		}
	}
}

// TestWorkloadsCannotBeControlPlanes has a workload's SVID call what only control planes may.
func TestWorkloadsCannotBeControlPlanes(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	w := p.join("web", "web-1", func(*model.Snapshot) error { return nil })
	admin := adminv1connect.NewAdminServiceClient(w.source.HTTPClient(), w.source.BaseURL())
	if _, err := admin.List(p.ctx(), connect.NewRequest(&adminv1.ListRequest{})); connect.CodeOf(err) != connect.CodePermissionDenied {
		t.Errorf("a workload may list resources: %v", err)
	}
}

// TestManyAtOnce applies as much as one call may, and one more.
func TestManyAtOnce(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	set := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, "---\napiVersion: v1\nkind: Service\nmetadata: {name: s%d}\nspec: {ports: [{port: 80}]}\n", i)
		}
		return b.String()
	}
	if resp, err := p.apply(set(maxChanges), false); err != nil || len(resp.GetChanges()) != maxChanges {
		t.Fatalf("%d resources: %v", maxChanges, err)
	}
	if _, err := p.apply(strings.ReplaceAll(set(maxChanges+1), "80", "81"), false); connect.CodeOf(err) != connect.CodeInvalidArgument {
		t.Fatalf("%d resources: %v", maxChanges+1, err)
	}
}
