package proxy

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// TestServiceDecidesOnRequests: what passes carries the service's headers both ways, what is over the limit is answered
// in the service's words; neither can touch what frames a message.
func TestServiceDecidesOnRequests(t *testing.T) {
	s := newLimitServer(t, func(_ context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		answer := &ratelimitv3.RateLimitResponse{
			OverallCode:         codeOK,
			RequestHeadersToAdd: []*corev3.HeaderValue{header("X-Limit-Seen", "1"), header("weft-port", "1 tcp"), header("content-length", "9"), header("a b", "c")},
			ResponseHeadersToAdd: []*corev3.HeaderValue{
				header("x-ratelimit-remaining", "7"), header("transfer-encoding", "chunked"), header("x-split", "a\r\nx-b: c"),
			},
		}
		if e := r.GetDescriptors()[0].GetEntries()[0]; e.GetValue() == "/over" || e.GetValue() == "/words" {
			answer.OverallCode = codeOver
			answer.Statuses = []*ratelimitv3.RateLimitResponse_DescriptorStatus{{Code: codeOver, DurationUntilReset: durationpb.New(1500 * time.Millisecond)}}
			if e.GetValue() == "/words" {
				answer.RawBody = []byte(`{"slow":"down"}`)
				answer.ResponseHeadersToAdd = append(answer.ResponseHeadersToAdd, header("content-type", "application/json"), header("retry-after", "77"))
			}
		}
		return answer, nil
	})
	seen := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, r.Header.Get("x-limit-seen"), r.ContentLength)
	}
	e, at := limitedEdge(t, []model.RateLimit{patient(model.LimitService{Descriptors: []model.LimitDescriptor{{Entries: []model.LimitEntry{{Key: "path", Path: true}}}}})},
		model.Policy{}, program(t, "web", seen), s.service())
	resp, body := ask(t, at, "GET", "/free", "")
	if resp.StatusCode != 200 || body != "10" || resp.Header.Get("x-ratelimit-remaining") != "7" || resp.Header.Get("x-split") != "" || resp.Header.Get("x-b") != "" {
		t.Errorf("allowed: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	resp, body = ask(t, at, "GET", "/over", "")
	if resp.StatusCode != 429 || resp.Header.Get(failureHeader) != flagRateLimit || resp.Header.Get("retry-after") != "2" ||
		!strings.Contains(body, `the rate limit "api" is reached, says default/limits`) || resp.Header.Get("x-ratelimit-remaining") != "7" {
		t.Errorf("over: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	resp, body = ask(t, at, "GET", "/words", "")
	if resp.StatusCode != 429 || body != `{"slow":"down"}` || resp.Header.Get("content-type") != "application/json" || !slices.Equal(resp.Header["Retry-After"], []string{"77"}) {
		t.Errorf("over, in its words: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	want := telemetry.Checks{
		{Service: "default/limits", Name: "api", Kind: "ratelimit", Result: resultAllowed}: 1,
		{Service: "default/limits", Name: "api", Kind: "ratelimit", Result: resultDenied}:  2,
	}
	if got := e.Checks()[0]; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("counted %v, want %v", got, want)
	}
}

// TestDescriptorsOfARequest: what a request has no value for takes its descriptor with it, unless it is optional; a request
// without descriptors is not asked about, and a retry does not ask again.
func TestDescriptorsOfARequest(t *testing.T) {
	s := newLimitServer(t, says(&ratelimitv3.RateLimitResponse{OverallCode: codeOK}))
	entries := func(es ...model.LimitEntry) model.LimitDescriptor { return model.LimitDescriptor{Entries: es} }
	limit := patient(model.LimitService{Hits: 3, Descriptors: []model.LimitDescriptor{
		entries(model.LimitEntry{Key: "user", Header: "x-user"}, model.LimitEntry{Key: "to", Header: "host"}),
		entries(model.LimitEntry{Key: "path", Path: true}, model.LimitEntry{Key: "plan", Header: "x-plan", Optional: true}, model.LimitEntry{Key: "method", Method: true}),
		entries(model.LimitEntry{Key: "remote_address", Source: true}),
		entries(model.LimitEntry{Key: "id", Identity: true}),
	}})
	only := patient(model.LimitService{Descriptors: []model.LimitDescriptor{entries(model.LimitEntry{Key: "key", Header: "x-key"})}})
	only.Name = "keys"
	elsewhere := patient(model.LimitService{})
	elsewhere.Matches = []model.Match{{Method: "POST"}}
	flaky := 0
	web := program(t, "web", func(w http.ResponseWriter, _ *http.Request) {
		if flaky++; flaky == 1 {
			w.WriteHeader(503)
		}
	})
	policy := model.Policy{Retry: &model.Retry{Attempts: 2, On: []model.RetryOn{model.Retry5xx}, Backoff: time.Millisecond}}
	_, at := limitedEdge(t, []model.RateLimit{limit, only, elsewhere}, policy, web, s.service())
	if resp, _ := ask(t, at, "GET", "/a?b=c", "", "host", "shop.example"); resp.StatusCode != 200 || flaky != 2 {
		t.Errorf("%d after %d tries", resp.StatusCode, flaky)
	}
	if got, want := s.questions(), []string{"shop path=/a&method=GET remote_address=127.0.0.1 x3"}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	ask(t, at, "GET", "/a", "", "host", "shop.example", "x-user", "anna", "x-plan", "gold", "x-key", "k1", "x-request-id", "the-request")
	if got, want := s.questions(), []string{
		"shop key=k1 x1", "shop user=anna&to=shop.example path=/a&plan=gold&method=GET remote_address=127.0.0.1 x3",
	}; !slices.Equal(got, want) {
		t.Errorf("asked %q, want %q", got, want)
	}
	if got := s.ctx; got.Get("x-request-id")[0] != "the-request" || len(got.Get("grpc-timeout")) != 0 && got.Get("grpc-timeout")[0] == "" {
		t.Errorf("the question has the metadata %v", got)
	}
}

// TestServiceThatDoesNotAnswer: requests pass or are refused as the policy says, in the time it says, and it can be seen.
func TestServiceThatDoesNotAnswer(t *testing.T) {
	hang := make(chan struct{})
	failing := newLimitServer(t, func(_ context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		switch r.GetDescriptors()[0].GetEntries()[0].GetValue() {
		case "/hang":
			<-hang
		case "/unknown":
			return &ratelimitv3.RateLimitResponse{}, nil
		case "/large":
			return &ratelimitv3.RateLimitResponse{OverallCode: codeOK, RawBody: make([]byte, 70<<10)}, nil
		}
		return nil, status.Error(codes.Internal, "redis is gone")
	})
	t.Cleanup(func() { close(hang) })
	unresolved := model.LimitService{Invalid: "BackendNotFound: no service default/limits is registered or declared"}
	for _, c := range []struct {
		what, path, why string
		service         model.LimitService
		services        []model.Service
	}{
		{"fails", "/fail", "redis is gone", model.LimitService{}, []model.Service{failing.service()}},
		{"hangs", "/hang", "the request took longer than 50ms", model.LimitService{Timeout: 50 * time.Millisecond}, []model.Service{failing.service()}},
		{"says nothing", "/unknown", "neither OK nor OVER_LIMIT", model.LimitService{}, []model.Service{failing.service()}},
		{"says too much", "/large", "larger than", model.LimitService{}, []model.Service{failing.service()}},
		{"is down", "/", "connection refused", model.LimitService{}, []model.Service{limitServiceAt(nobody(t))}},
		{"has no endpoints", "/", "has no endpoints", model.LimitService{}, []model.Service{{Name: name("limits")}}},
		{"is no service", "/", "not known here", model.LimitService{}, nil},
		{"does not resolve", "/", "BackendNotFound", unresolved, nil},
		{"speaks another protocol", "/", "gRPC status \"\"", model.LimitService{}, []model.Service{limitServiceAt(server(t, http.NotFoundHandler()))}},
	} {
		for _, closed := range []bool{false, true} {
			t.Run(fmt.Sprint(c.what, map[bool]string{false: " open", true: " closed"}[closed]), func(t *testing.T) {
				c.service.FailClosed = closed
				c.service.Descriptors = []model.LimitDescriptor{{Entries: []model.LimitEntry{{Key: "path", Path: true}}}}
				e, at := limitedEdge(t, []model.RateLimit{patient(c.service)}, model.Policy{}, append(c.services, program(t, "web", saw))...)
				resp, body := ask(t, at, "GET", c.path, "")
				switch {
				case closed && (resp.StatusCode != 503 || resp.Header.Get(failureHeader) != flagUnchecked || !strings.Contains(body, c.why)):
					t.Errorf("%d %q, want 503 because of %s", resp.StatusCode, body, c.why)
				case !closed && resp.StatusCode != 200:
					t.Errorf("%d %q", resp.StatusCode, body)
				}
				if n := e.Checks()[0][telemetry.CheckKey{Service: "default/limits", Name: "api", Kind: "ratelimit", Result: resultUnanswered}]; n != 1 {
					t.Errorf("counted %v", e.Checks())
				}
			})
		}
	}
}

// TestLeavingWhileAsked: a client that leaves, and one whose time is over, do not wait for the service, and the service
// hears of it.
func TestLeavingWhileAsked(t *testing.T) {
	entered, ended := make(chan struct{}, 4), make(chan error, 4)
	s := newLimitServer(t, func(ctx context.Context, _ *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		entered <- struct{}{}
		<-ctx.Done()
		ended <- ctx.Err()
		return nil, ctx.Err()
	})
	reached := make(chan struct{}, 4)
	web := program(t, "web", func(http.ResponseWriter, *http.Request) { reached <- struct{}{} })
	e, at := limitedEdge(t, []model.RateLimit{patient(model.LimitService{Timeout: time.Hour})}, model.Policy{}, web, s.service())

	c := grpcClient(t, at) // over HTTP/2, where a client that leaves says so
	ctx, leave := context.WithCancel(t.Context())
	gone := make(chan error, 1)
	go func() {
		_, err := call(ctx, c, "Say", nil)
		gone <- err
	}()
	within(t, 30*time.Second, "the service is asked", entered)
	leave()
	if err := within(t, 30*time.Second, "the client gives up", gone); status.Code(err) != codes.Canceled {
		t.Errorf("the client has an answer: %v", err)
	}
	within(t, 30*time.Second, "the service hears that nobody waits", ended)

	resp, body := ask(t, at, "GET", "/", "", "weft-deadline-ms", "100")
	if resp.StatusCode != 504 || resp.Header.Get(failureHeader) != flagDeadline {
		t.Errorf("a caller in a hurry: %d %q", resp.StatusCode, body)
	}
	within(t, 30*time.Second, "the service hears that the time is over", ended)
	if len(reached) != 0 {
		t.Error("a request reached the program without an answer of the service")
	}
	eventually(t, "nothing is left in flight", func() bool {
		active := -1
		e.workers[0].loop.Call(func() { active = e.workers[0].active })
		return active == 0
	})
}

// TestServersAskAboutTheirClients: in the mesh the server's proxy asks, by mTLS, with the client's identity.
func TestServersAskAboutTheirClients(t *testing.T) {
	var over bool
	s := newLimitServer(t, func(ctx context.Context, _ *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		if p, _ := peer.FromContext(ctx); p == nil {
			return nil, status.Error(codes.Internal, "no peer")
		}
		if over {
			return &ratelimitv3.RateLimitResponse{OverallCode: codeOver}, nil
		}
		return &ratelimitv3.RateLimitResponse{OverallCode: codeOK, RequestHeadersToAdd: []*corev3.HeaderValue{header("x-seen", "yes")}}, nil
	})
	l := newLab(t)
	limits := l.run(Options{Node: "limits-1", TLS: l.identity("limits"), Inbound: loopback})
	l.apply(limits, &model.Snapshot{Workload: model.Workload{
		ID: "limits-1", Identity: l.ca.ID("default", "limits"), Service: name("limits"),
		Inbound: []model.Inbound{{ServicePort: 8081, Port: s.at.Port()}},
	}})
	web := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("x-seen")) }))
	p := l.pair(web, model.HTTP)
	limit := patient(model.LimitService{FailClosed: true, Descriptors: []model.LimitDescriptor{{Entries: []model.LimitEntry{{Key: "who", Identity: true}}}}})
	l.apply(p.server, &model.Snapshot{
		Workload: model.Workload{
			ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"),
			Inbound: []model.Inbound{{ServicePort: 80, Port: web.Port(), Protocol: model.HTTP}},
			Policy:  &model.Policy{Limits: []model.RateLimit{limit}},
		},
		Services: []model.Service{{
			Name: name("limits"), Ports: []model.Port{{Number: 8081}},
			Endpoints: []model.Endpoint{{ID: "limits-1", Address: limits.Addrs().Inbound, Identity: l.ca.ID("default", "limits")}},
		}},
	})
	if resp, body := ask(t, p.at, "GET", "/", ""); resp.StatusCode != 200 || body != "yes" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	over = true
	if resp, body := ask(t, p.at, "GET", "/", ""); resp.StatusCode != 429 {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	want := "shop who=" + l.ca.ID("default", "load").String() + " x1"
	if got := s.questions(); len(got) != 2 || got[0] != want || got[1] != want {
		t.Errorf("asked %q, want %q twice", got, want)
	}
}

// TestAskedRequestsInTheLog: the access log has a line of the request with what came of its questions, and one of the
// question itself.
func TestAskedRequestsInTheLog(t *testing.T) {
	var log locked
	l, s := newLab(t), newLimitServer(t, says(&ratelimitv3.RateLimitResponse{OverallCode: codeOver}))
	e := l.run(Options{Node: "gateway", Loops: 1, AccessLog: &log})
	limit := patient(model.LimitService{})
	limit.Status = 503
	l.apply(e, &model.Snapshot{
		Services: []model.Service{program(t, "web", saw), s.service()},
		Sockets: []model.Socket{{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{
			Name: "edge", Rules: []model.Rule{{Policy: &model.Policy{Limits: []model.RateLimit{limit}}, Backends: to("web")}},
		}}}},
	})
	c := grpcClient(t, e.Sockets()[loopback])
	_, err := call(t.Context(), c, "Say", []byte("hello"))
	if st := status.Convert(err); st.Code() != codes.Unavailable || !strings.Contains(st.Message(), "is reached") {
		t.Errorf("a call over the limit: %v", err)
	}
	type line struct{ Service, Status, Failure, Checks, Path string }
	var lines []line
	eventually(t, "two lines are logged", func() bool {
		lines = nil
		for text := range bytes.Lines([]byte(log.String())) {
			var m map[string]any
			if err := json.Unmarshal(text, &m); err != nil {
				t.Fatalf("%s: %v", text, err)
			}
			str := func(n string) string { s, _ := m[n].(string); return s }
			lines = append(lines, line{str("service"), fmt.Sprint(m["status"]), str("failure"), str("checks"), str("path")})
		}
		return len(lines) == 2
	})
	want := []line{
		{"default/limits", "200", "", "", "/envoy.service.ratelimit.v3.RateLimitService/ShouldRateLimit"},
		{"edge", "503", "rate_limited", "ratelimit api: denied", "/test.Echo/Say"},
	}
	if !slices.Equal(lines, want) {
		t.Errorf("logged %+v, want %+v\n%s", lines, want, log.String())
	}
}
