package cli

import (
	"bytes"
	"context"
	"errors"
	"math"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"go.uber.org/goleak"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fake answers with fixed values, for the layout of tables and the handling of errors. What the control
// plane means by them is tested with the real one, in cmd/weft.
type fake struct {
	adminv1connect.UnimplementedAdminServiceHandler
	fail    error // of every call, if set
	wait    *adminv1.WaitResponse
	applied *adminv1.ApplyRequest
	deleted *adminv1.DeleteRequest
	stat    *adminv1.StatRequest
	tap     *adminv1.TapRequest
	explain *adminv1.ExplainRequest
	rolled  *adminv1.RollbackRequest
	guard   *adminv1.GuardStatus // of revision 42
	proxies []*adminv1.ProxyInfo
	auth    string
	hold    bool // keep taps open, as the real control plane does
}

// now is the time of every test.
func now() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

func ago(d time.Duration) *timestamppb.Timestamp { return timestamppb.New(now().Add(-d)) }

// serve answers on a unix socket for the life of the test, and returns the socket.
func (f *fake) serve(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle(adminv1connect.NewAdminServiceHandler(f))
	s := &http.Server{Handler: mux}
	done := make(chan struct{})
	go func() {
		defer close(done)
		if err := s.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			t.Error(err)
		}
	}()
	t.Cleanup(func() { s.Close(); <-done })
	return socket
}

// result is what a command did.
type result struct {
	code     int
	out, err string
}

type world struct {
	socket   string
	stdin    string
	terminal bool
	env      map[string]string
	options  func(*Options)
}

func (w world) weft(t *testing.T, args ...string) result {
	t.Helper()
	var out, err bytes.Buffer
	o := Options{
		Version: "v0.1.0", Stdin: strings.NewReader(w.stdin), Stdout: &out, Stderr: &err, Terminal: w.terminal, Now: now,
		Getenv: func(k string) string {
			if k == "WEFT_SOCKET" {
				return w.socket
			}
			return w.env[k]
		},
	}
	if w.options != nil {
		w.options(&o)
	}
	code := New(o).Execute(t.Context(), args)
	return result{code, out.String(), err.String()}
}

func route() *adminv1.ResourceRef {
	return &adminv1.ResourceRef{ApiVersion: "gateway.networking.k8s.io/v1", Kind: "HTTPRoute", Namespace: "default", Name: "reviews"}
}

const routeYAML = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: reviews
spec:
  parentRefs:
  - kind: Service
    name: reviews
    port: 9080
  rules:
  - backendRefs:
    - name: reviews-v1
      port: 9080
`

func (f *fake) Version(context.Context, *connect.Request[adminv1.VersionRequest]) (*connect.Response[adminv1.VersionResponse], error) {
	return answer(f, &adminv1.VersionResponse{Version: "v0.1.0", TrustDomain: "mesh.local", Instance: "cp-1", Revision: 42})
}

func answer[T any](f *fake, m *T) (*connect.Response[T], error) {
	if f.fail != nil {
		return nil, f.fail
	}
	return connect.NewResponse(m), nil
}

func (f *fake) Check(context.Context, *connect.Request[adminv1.CheckRequest]) (*connect.Response[adminv1.CheckResponse], error) {
	return answer(f, &adminv1.CheckResponse{Results: []*adminv1.CheckResult{
		{Category: categoryControl, Description: "store answers", Status: statusOK},
		{Category: categoryControl, Description: "root certificate is valid for long", Anchor: "control-plane-root", Status: statusWarning, Detail: "it ends in 20 days"},
	}})
}

func (f *fake) Apply(_ context.Context, r *connect.Request[adminv1.ApplyRequest]) (*connect.Response[adminv1.ApplyResponse], error) {
	f.applied = r.Msg
	f.auth = r.Header().Get("Authorization")
	var guarded []string
	if r.Msg.GetGuard() != nil {
		guarded = []string{"default/reviews", "default/idle"}
	}
	return answer(f, &adminv1.ApplyResponse{
		Revision: 42, Guarded: guarded,
		Changes: []*adminv1.Change{
			{Resource: route(), Action: "configured", Before: strings.Replace(routeYAML, "reviews-v1", "reviews-v2", 1), After: routeYAML},
			{Resource: &adminv1.ResourceRef{ApiVersion: "v1", Kind: "Service", Namespace: "default", Name: "reviews-v1"}, Action: "unchanged", Before: "kind: Service\n", After: "kind: Service\n"},
		},
		Warnings: []*adminv1.Problem{{File: "route.yaml", Line: 12, Column: 13, Field: "spec.rules[0].backendRefs[0].name", Message: `no service "reviews-v1"`, Remedy: `did you mean "reviews-v2"?`}},
	})
}

func (f *fake) Delete(_ context.Context, r *connect.Request[adminv1.DeleteRequest]) (*connect.Response[adminv1.DeleteResponse], error) {
	f.deleted = r.Msg
	return answer(f, &adminv1.DeleteResponse{Revision: 43, Changes: []*adminv1.Change{{Resource: route(), Action: "deleted"}}})
}

func (f *fake) List(_ context.Context, r *connect.Request[adminv1.ListRequest]) (*connect.Response[adminv1.ListResponse], error) {
	res := &adminv1.ListResponse{Revision: 42}
	if r.Msg.GetName() == "" || r.Msg.GetName() == "reviews" {
		res.Resources = []*adminv1.StoredResource{{
			Ref: route(), Yaml: routeYAML, File: "route.yaml", Line: 1, Revision: 42, Created: ago(90 * time.Second),
			Conditions: []*adminv1.Condition{
				{Type: "Accepted", Status: "True", Reason: "Accepted"},
				{Type: "ResolvedRefs", Status: "False", Reason: "BackendNotFound", Message: `no service "reviews-v1"`},
			},
		}}
	}
	return answer(f, res)
}

func (f *fake) Wait(context.Context, *connect.Request[adminv1.WaitRequest]) (*connect.Response[adminv1.WaitResponse], error) {
	return answer(f, f.wait)
}

func (f *fake) CreateJoinToken(context.Context, *connect.Request[adminv1.CreateJoinTokenRequest]) (*connect.Response[adminv1.CreateJoinTokenResponse], error) {
	return answer(f, &adminv1.CreateJoinTokenResponse{Token: "weft-token-1", Expires: timestamppb.New(now().Add(10 * time.Minute))})
}

func (f *fake) ListServices(context.Context, *connect.Request[adminv1.ListServicesRequest]) (*connect.Response[adminv1.ListServicesResponse], error) {
	id := "spiffe://mesh.local/ns/default/sa/reviews"
	return answer(f, &adminv1.ListServicesResponse{Services: []*adminv1.ServiceInfo{
		{
			Service: &discoveryv1.Service{
				Name: "default/reviews", Vip: []byte{240, 240, 0, 3}, Ports: []*discoveryv1.Port{{Number: 9080, Protocol: "http"}},
				Rules: []*discoveryv1.Rule{{
					Ref: &discoveryv1.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "reviews", File: "route.yaml", Line: 11},
					Matches: []*discoveryv1.Match{
						{Headers: []*discoveryv1.ValueMatch{{Name: "end-user", Value: "jason"}}, Path: &discoveryv1.ValueMatch{Type: "prefix", Value: "/reviews"}},
						{Method: "GET"},
					},
					Backends: []*discoveryv1.Backend{{Service: "default/reviews", Port: 9080, Weight: 9}, {Service: "default/reviews-v9", Weight: 1, Invalid: "no such service"}},
				}},
			},
			Endpoints: &discoveryv1.Endpoints{Service: "default/reviews", Endpoints: []*discoveryv1.Endpoint{
				{Id: "reviews-v1-a", Address: "127.0.0.1:4001", Identity: id, Labels: map[string]string{"version": "v1"}},
				{Id: "reviews-v2-b", Address: "127.0.0.1:4002", Identity: id, Labels: map[string]string{"version": "v2", "app": "reviews"}, Draining: true},
			}},
		},
		{Service: &discoveryv1.Service{Name: "default/ratings"}, Endpoints: &discoveryv1.Endpoints{Endpoints: []*discoveryv1.Endpoint{{Id: "ratings-x", Address: "10.0.0.1:80", Plain: true}}}},
	}})
}

func (f *fake) ListProxies(context.Context, *connect.Request[adminv1.ListProxiesRequest]) (*connect.Response[adminv1.ListProxiesResponse], error) {
	proxies := f.proxies
	if proxies == nil {
		proxies = somewhatSickProxies()
	}
	return answer(f, &adminv1.ListProxiesResponse{Proxies: proxies})
}

func somewhatSickProxies() []*adminv1.ProxyInfo {
	return []*adminv1.ProxyInfo{
		{
			Node:     &discoveryv1.Node{Id: "productpage-1", Service: "default/productpage", Version: "v0.1.0", Placement: "sidecar", Inbound: []*discoveryv1.Inbound{{ServicePort: 9080, Port: 9080, Protocol: "http"}}},
			Identity: "spiffe://mesh.local/ns/default/sa/productpage", Namespace: "default", Connected: ago(2 * time.Hour), Acked: ago(45 * time.Second),
			SentRevision: 42, AckedRevision: 42, Instance: "cp-1", Subscriptions: []string{"workload", "service/default/reviews"},
			Stats: &discoveryv1.ProxyStats{ResidentBytes: 15 << 20, OpenConnections: 7, SvidNotAfter: timestamppb.New(now().Add(40 * time.Minute))},
		},
		{
			Node: &discoveryv1.Node{Id: "reviews-v1-a", Service: "default/reviews", Version: "v0.0.9"}, Namespace: "default", Acked: ago(3 * 24 * time.Hour),
			SentRevision: 42, AckedRevision: 41, Instance: "cp-1", Nack: "rule 3: \x1b[31mregex too large",
		},
	}
}

func (f *fake) GetSnapshot(context.Context, *connect.Request[adminv1.GetSnapshotRequest]) (*connect.Response[adminv1.GetSnapshotResponse], error) {
	return answer(f, &adminv1.GetSnapshotResponse{Json: snapshotJSON})
}

const snapshotJSON = `{"revision":42,"trustDomain":"mesh.local","workload":{"id":"productpage-1","service":"default/productpage"},"services":[
{"name":"default/ratings","vip":"240.240.0.4"},
{"name":"default/reviews","vip":"240.240.0.3","ports":[{"number":9080,"protocol":"http"}],
"rules":[{"ref":{"kind":"HTTPRoute","namespace":"default","name":"reviews","rule":0,"file":"route.yaml","line":11},"matches":[{"path":{"type":"regex","value":"/r.*"}}],"backends":[{"service":"default/reviews","weight":1}]}],
"endpoints":[{"id":"reviews-v1-a","address":"127.0.0.1:4001","identity":{"trustDomain":"mesh.local","namespace":"default","account":"reviews"},"labels":{"version":"v1"}}]}]}`

func (f *fake) Explain(_ context.Context, r *connect.Request[adminv1.ExplainRequest]) (*connect.Response[adminv1.ExplainResponse], error) {
	f.explain = r.Msg
	return answer(f, &adminv1.ExplainResponse{
		Request: "GET reviews.default:9080/reviews/0", Proxy: "productpage-1", Revision: 42, Outcome: "reviews-v2-b at 127.0.0.1:4002",
		Steps: []*adminv1.ExplainStep{
			{Stage: "resolve", Chosen: true, Subject: "default/reviews port 9080", Reason: "name known to the mesh"},
			{Stage: "route", Chosen: true, Subject: "HTTPRoute default/reviews rule 1", Reason: `header end-user is "jason"`, File: "route.yaml", Line: 23},
			{Stage: "route", Subject: "HTTPRoute default/reviews rule 0", Reason: "less specific", File: "route.yaml", Line: 11},
			{Stage: "backend", Chosen: true, Subject: "default/reviews-v2", Reason: "all of the weight"},
		},
	})
}

func (f *fake) Stat(_ context.Context, r *connect.Request[adminv1.StatRequest]) (*connect.Response[adminv1.StatResponse], error) {
	f.stat = r.Msg
	row := func(labels ...string) *adminv1.StatRow {
		m := map[string]string{}
		for i := 0; i+1 < len(labels); i += 2 {
			m[labels[i]] = labels[i+1]
		}
		return &adminv1.StatRow{
			Labels: m, RequestsPerSecond: 12.34, SuccessRate: 0.995, P50Seconds: 0.0004, P95Seconds: 0.0123, P99Seconds: 1.5,
			Requests: 740, OpenConnections: 3, ReadBytesPerSecond: 1000, WriteBytesPerSecond: 2000.5,
		}
	}
	c, s := "spiffe://mesh.local/ns/default/sa/productpage", "spiffe://mesh.local/ns/default/sa/reviews"
	res := &adminv1.StatResponse{}
	switch strings.Join(r.Msg.GetGroupBy(), ",") {
	case "service,route":
		res.Rows = []*adminv1.StatRow{row("service", "default/reviews", "route", "HTTPRoute default/reviews rule 0 (route.yaml:11)"), row("service", "default/details")}
	case "destination,version":
		res.Rows = []*adminv1.StatRow{row("destination", "default/reviews", "version", "v2"), row("destination", "default/reviews", "version", "v1")}
	case "source,destination,source_id,destination_id,tls":
		res.Rows = []*adminv1.StatRow{
			row("source", "default/productpage", "destination", "default/reviews", "source_id", c, "destination_id", s, "tls", "mutual"),
			row("source", "default/productpage", "destination", "default/reviews", "source_id", c, "tls", "mutual"),
			row("source", "", "destination", "default/productpage", "tls", "none"),
			row("source", "default/productpage", "destination", "default/details", "source_id", c, "tls", "mutual"),
		}
	default:
		idle := row("destination", "default/idle")
		idle.Requests, idle.RequestsPerSecond, idle.SuccessRate, idle.P50Seconds = 0, 0, math.NaN(), math.NaN()
		res.Rows = []*adminv1.StatRow{row(r.Msg.GetGroupBy()[0], "default/reviews"), idle}
	}
	return answer(f, res)
}

func (f *fake) Tap(ctx context.Context, r *connect.Request[adminv1.TapRequest], s *connect.ServerStream[discoveryv1.TapEvent]) error {
	f.tap = r.Msg
	if f.fail != nil {
		return f.fail
	}
	for _, e := range []*discoveryv1.TapEvent{
		{
			RequestId: "4bf92f35", Direction: "outbound", Source: "default/productpage", SourceAddress: "127.0.0.1:5001", Service: "default/reviews", Destination: "default/reviews",
			DestinationAddress: "127.0.0.1:4002", Tls: "mutual", Protocol: "http", Method: "GET", Authority: "reviews:9080", Path: "/reviews/0?x=1", Status: 200,
			Route: "HTTPRoute default/reviews rule 1 (route.yaml:23)", SecondsToHead: 0.001234, Seconds: 0.0015, ResponseBytes: 357, Attempts: 1,
		},
		{RequestId: "5", Direction: "inbound", Source: "default/productpage", Destination: "default/reviews", Tls: "mutual", Method: "GET", Path: "/reviews/0", Status: 200, Seconds: 0.001},
		{RequestId: "6", Direction: "outbound", Source: "default/productpage", Service: "default/reviews", Method: "GET", Path: "/reviews/0\x1b]0;x\x07", Failure: "UF", Seconds: 0.25},
		{RequestId: "7", Direction: "inbound", Destination: "default/productpage", Tls: "none", Method: "POST", Authority: "p", Path: "/x", Status: 200, GrpcStatus: "13", Seconds: 0.1},
	} {
		if err := s.Send(e); err != nil {
			return err
		}
	}
	if f.hold {
		<-ctx.Done()
	}
	return nil
}
