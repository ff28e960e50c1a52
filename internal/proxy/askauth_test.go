package proxy

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	authv3 "github.com/envoyproxy/go-control-plane/envoy/service/auth/v3"
	typev3 "github.com/envoyproxy/go-control-plane/envoy/type/v3"
	statuspb "google.golang.org/genproto/googleapis/rpc/status"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// authServer is a real ext_authz service.
type authServer struct {
	authv3.UnimplementedAuthorizationServer
	decide func(*authv3.AttributeContext) (*authv3.CheckResponse, error)
}

func (s authServer) Check(_ context.Context, r *authv3.CheckRequest) (*authv3.CheckResponse, error) {
	return s.decide(r.GetAttributes())
}

func newAuthServer(t testing.TB, decide func(*authv3.AttributeContext) (*authv3.CheckResponse, error)) model.Service {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	authv3.RegisterAuthorizationServer(server, authServer{decide: decide})
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); wg.Wait() })
	return model.Service{
		Name: name("auth"), Ports: []model.Port{{Number: 9191, Protocol: model.GRPC}},
		Endpoints: []model.Endpoint{{ID: "auth-1", Address: addrOf(t, ln), Plain: true, Protocol: model.GRPC}},
	}
}

// guardedEdge is a gateway whose requests to web have to be allowed.
func guardedEdge(t *testing.T, auth model.ExternalAuth, more model.Rule, services ...model.Service) (*Engine, netip.AddrPort) {
	t.Helper()
	more.Ref = model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "r"}
	more.Filters.Auth = &auth
	if more.Filters.Redirect == nil {
		more.Backends = to("web")
	}
	return newLab(t).gateway(&model.Snapshot{Services: services, Sockets: []model.Socket{{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: []model.Rule{more}}},
	}}}, 1)
}

var (
	byHTTP = model.ExternalAuth{Service: name("auth"), Port: 80}
	byGRPC = model.ExternalAuth{GRPC: true, Service: name("auth"), Port: 9191}
)

// headersSeen answers with the x- headers that came, and the path.
func headersSeen(w http.ResponseWriter, r *http.Request) {
	var out []string
	for _, n := range slices.Sorted(maps.Keys(r.Header)) {
		if l := strings.ToLower(n); l != "x-request-id" && !strings.HasPrefix(l, "x-forwarded-") && strings.HasPrefix(l, "x-") || l == "date" {
			out = append(out, l+"="+strings.Join(r.Header[n], "+"))
		}
	}
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s %s", r.RequestURI, strings.Join(out, " "), body)
}

// TestAuthByHTTP: the service is shown a request like the one it is about, with the headers that are named; 200 lets it go
// on with those of its answer, all else goes to the client.
func TestAuthByHTTP(t *testing.T) {
	auth := program(t, "auth", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-path") == "" { // the shape of the question, told by the answer
			body, _ := io.ReadAll(r.Body)
			var names []string
			for n := range r.Header {
				names = append(names, n)
			}
			slices.Sort(names)
			w.Header().Set("x-asked", fmt.Sprintf("%s %s%s %v %d %q", r.Method, r.Host, r.RequestURI, names, r.ContentLength, body))
		}
		w.Header().Add("x-user", "anna")
		w.Header().Add("x-user", "admin")
		w.Header().Set("weft-source", "default/liar")
		switch r.Header.Get("Authorization") {
		case "good":
		case "login":
			w.Header().Set("location", "https://login.example/")
			w.Header().Set("set-cookie", "state=1")
			w.WriteHeader(302)
			fmt.Fprint(w, "log in first")
		default:
			w.WriteHeader(401)
		}
	})
	a := byHTTP
	a.Path, a.Request = "/check", []string{"x-plan"}
	_, at := guardedEdge(t, a, model.Rule{}, auth, program(t, "web", headersSeen))
	ask := func(token string) (*http.Response, string) {
		return ask(t, at, "PUT", "/a?b=c", "content", "host", "shop.example", "authorization", token, "x-plan", "gold", "x-user", "mallory", "x-secret", "1")
	}
	resp, body := ask("good")
	want := `/a?b=c x-asked=PUT shop.example/check/a?b=c [Authorization Content-Length Weft-Deadline-Ms X-Plan X-Request-Id] 0 "" x-plan=gold x-secret=1 x-user=anna+admin content`
	if resp.StatusCode != 200 || body != want {
		t.Errorf("allowed: %d %s\nwant %s", resp.StatusCode, body, want)
	}
	resp, body = ask("login")
	if resp.StatusCode != 302 || resp.Header.Get("location") != "https://login.example/" || resp.Header.Get("set-cookie") != "state=1" ||
		body != "log in first" || resp.Header.Get(failureHeader) != flagDenied {
		t.Errorf("to log in: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	if resp, body = ask("bad"); resp.StatusCode != 401 || body != "" || resp.Header.Get("x-asked") == "" {
		t.Errorf("denied: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	a.Response = []string{"x-user"}
	_, at = guardedEdge(t, a, model.Rule{}, auth, program(t, "web", headersSeen))
	if _, body = ask("good"); body != "/a?b=c x-plan=gold x-secret=1 x-user=anna+admin content" {
		t.Errorf("with some headers of the answer: %s", body)
	}
}

// TestAuthByGRPC: by ext_authz, with all that an answer can ask for.
func TestAuthByGRPC(t *testing.T) {
	option := func(name, value string, older *wrapperspb.BoolValue) *corev3.HeaderValueOption {
		//lint:ignore SA1019 services write it still
		return &corev3.HeaderValueOption{Header: &corev3.HeaderValue{Key: name, Value: value}, Append: older}
	}
	var mu sync.Mutex
	var seen []string
	auth := newAuthServer(t, func(a *authv3.AttributeContext) (*authv3.CheckResponse, error) {
		h := a.GetRequest().GetHttp()
		mu.Lock()
		seen = append(seen, fmt.Sprintf("%s %s %s%s %d %s", a.GetSource().GetAddress().GetSocketAddress().GetAddress(), h.GetMethod(), h.GetHost(), h.GetPath(), h.GetSize(), strings.Join(slices.Sorted(maps.Keys(h.GetHeaders())), ",")))
		mu.Unlock()
		if h.GetHeaders()["authorization"] != "good" {
			return &authv3.CheckResponse{
				Status: status.New(codes.PermissionDenied, "no token").Proto(),
				HttpResponse: &authv3.CheckResponse_DeniedResponse{DeniedResponse: &authv3.DeniedHttpResponse{
					Status: &typev3.HttpStatus{Code: typev3.StatusCode_Unauthorized}, Body: "who are you?",
					Headers: []*corev3.HeaderValueOption{option("www-authenticate", "Bearer", nil)},
				}},
			}, nil
		}
		return &authv3.CheckResponse{Status: &statuspb.Status{}, HttpResponse: &authv3.CheckResponse_OkResponse{OkResponse: &authv3.OkHttpResponse{
			Headers:                 []*corev3.HeaderValueOption{option("x-user", "anna", nil), option("x-also", "2", wrapperspb.Bool(true)), option("host", "evil", nil)},
			HeadersToRemove:         []string{"x-secret"},
			ResponseHeadersToAdd:    []*corev3.HeaderValueOption{option("x-checked", "yes", nil)},
			QueryParametersToSet:    []*corev3.QueryParameter{{Key: "b", Value: "x y"}},
			QueryParametersToRemove: []string{"token"},
		}}}, nil
	})
	a := byGRPC
	a.Request = []string{"authorization", "x-also"}
	e, at := guardedEdge(t, a, model.Rule{}, auth, program(t, "web", headersSeen))
	fields := []string{"host", "shop.example", "authorization", "good", "x-secret", "1", "x-also", "1", "x-user", "mallory"}
	resp, body := ask(t, at, "GET", "/a?token=t&b=c&d=e", "", fields...)
	if resp.StatusCode != 200 || body != "/a?d=e&b=x+y x-also=1+2 x-user=anna " || resp.Header.Get("x-checked") != "yes" {
		t.Errorf("allowed: %d %s %v", resp.StatusCode, body, resp.Header)
	}
	resp, body = ask(t, at, "GET", "/a", "")
	if resp.StatusCode != 401 || body != "who are you?" || resp.Header.Get("www-authenticate") != "Bearer" || resp.Header.Get(failureHeader) != flagDenied {
		t.Errorf("denied: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	_, err := call(t.Context(), grpcClient(t, at), "Say", nil)
	if st := status.Convert(err); st.Code() != codes.Unauthenticated || !strings.Contains(st.Message(), "no token") {
		t.Errorf("a call is denied with %v", err)
	}
	mu.Lock()
	defer mu.Unlock()
	if want := "127.0.0.1 GET shop.example/a?token=t&b=c&d=e 0 authorization,x-also"; len(seen) != 3 || seen[0] != want {
		t.Errorf("the service saw %q, want %q first", seen, want)
	}
	key := telemetry.CheckKey{Service: "default/auth", Name: "HTTPRoute default/r rule 0", Kind: kindAuth, Result: resultDenied}
	if got := e.Checks()[0]; got[key] != 2 {
		t.Errorf("counted %v", got)
	}
}

// TestAuthSeesContent: content up to the bound is shown to the service and reaches program and mirror whole, also in a
// retry; more is refused, and a client that waits for a word to send it gets one.
func TestAuthSeesContent(t *testing.T) {
	const most = 20_000
	auth := program(t, "auth", func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("x-length", fmt.Sprint(len(body), r.ContentLength))
	})
	tries := 0
	web := program(t, "web", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if tries++; r.URL.Path == "/retry" && tries == 1 {
			w.WriteHeader(503)
			return
		}
		fmt.Fprint(w, r.Header.Get("x-length"), " ", len(body), err, r.Trailer.Get("x-end"))
	})
	copies := make(chan int, 10)
	mirror := program(t, "mirror", func(_ http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		copies <- len(body)
	})
	a := byHTTP
	a.MaxBody = most
	_, at := guardedEdge(t, a, model.Rule{
		Filters: model.Filters{Mirrors: []model.Mirror{{Service: name("mirror"), Port: 80, Share: 1}}},
		Policy:  &model.Policy{Retry: &model.Retry{Attempts: 1, On: []model.RetryOn{model.Retry5xx}, Backoff: time.Millisecond}},
	}, auth, web, mirror)
	for _, c := range []struct {
		path    string
		size    int
		fields  []string
		trailer bool
		want    string
	}{
		{"/", 0, nil, false, "0 0 0 <nil>"},
		{"/", most, nil, false, "20000 20000 20000 <nil>"},
		{"/retry", most, nil, false, "20000 20000 20000 <nil>"},
		{"/", 5, []string{"expect", "100-continue"}, false, "5 5 5 <nil>"},
		{"/", 7, nil, true, "7 7 7 <nil>done"},
	} {
		tries = 0
		var content io.Reader = strings.NewReader(strings.Repeat("x", c.size))
		if c.trailer {
			content = io.MultiReader(content) // of unknown length: chunked
		}
		req, err := http.NewRequestWithContext(t.Context(), "PUT", "http://"+at.String()+c.path, content)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(c.fields); i += 2 {
			req.Header.Set(c.fields[i], c.fields[i+1])
		}
		if c.trailer {
			req.Trailer = http.Header{"X-End": {"done"}}
		}
		client := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{ExpectContinueTimeout: time.Hour, DisableKeepAlives: true}}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || resp.StatusCode != 200 || string(body) != c.want {
			t.Errorf("%s with %d bytes: %d %q %v, want %q", c.path, c.size, resp.StatusCode, body, err, c.want)
		}
		if n := within(t, 30*time.Second, "the mirror has a copy", copies); n != c.size {
			t.Errorf("%s with %d bytes: the mirror has %d", c.path, c.size, n)
		}
	}
	if resp, body := ask(t, at, "PUT", "/", strings.Repeat("x", most+1)); resp.StatusCode != 413 || resp.Header.Get(failureHeader) != flagDenied {
		t.Errorf("one byte too many: %d %q", resp.StatusCode, body)
	}
}

// TestAuthThatDoesNotAnswer: no request goes on without an answer, nor by a reference that leads nowhere.
func TestAuthThatDoesNotAnswer(t *testing.T) {
	failing := newAuthServer(t, func(a *authv3.AttributeContext) (*authv3.CheckResponse, error) {
		if a.GetRequest().GetHttp().GetPath() == "/says" {
			return &authv3.CheckResponse{
				Status:       status.New(codes.Internal, "no database").Proto(),
				HttpResponse: &authv3.CheckResponse_ErrorResponse{ErrorResponse: &authv3.DeniedHttpResponse{}},
			}, nil
		}
		return nil, status.Error(codes.Unavailable, "restarting")
	})
	down := failing
	down.Endpoints = []model.Endpoint{{ID: "auth-1", Address: nobody(t), Plain: true, Protocol: model.GRPC}}
	unresolved := byGRPC
	unresolved.Invalid = "BackendNotFound: no service"
	for _, c := range []struct {
		what, path   string
		auth         model.ExternalAuth
		services     []model.Service
		status       int
		flag, reason string
	}{
		{"fails", "/", byGRPC, []model.Service{failing}, 503, flagUnchecked, "restarting"},
		{"says that it failed", "/says", byGRPC, []model.Service{failing}, 503, flagUnchecked, "no database"},
		{"is down", "/", byGRPC, []model.Service{down}, 503, flagUnchecked, "refused"},
		{"is not there", "/", byHTTP, nil, 503, flagUnchecked, "not known here"},
		{"does not resolve", "/", unresolved, nil, 500, flagBadBackend, "BackendNotFound"},
	} {
		t.Run(c.what, func(t *testing.T) {
			web := program(t, "web", func(http.ResponseWriter, *http.Request) { t.Error("the request went on") })
			_, at := guardedEdge(t, c.auth, model.Rule{}, append(c.services, web)...)
			resp, body := ask(t, at, "GET", c.path, "")
			if resp.StatusCode != c.status || resp.Header.Get(failureHeader) != c.flag || !strings.Contains(body, c.reason) {
				t.Errorf("%d %q, want %d because of %s", resp.StatusCode, body, c.status, c.reason)
			}
		})
	}
}

// TestAuthBesideOtherFilters: preflights are not asked about, redirects are.
func TestAuthBesideOtherFilters(t *testing.T) {
	auth := program(t, "auth", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") == "" {
			w.WriteHeader(403)
		}
	})
	_, at := guardedEdge(t, byHTTP, model.Rule{Filters: model.Filters{
		Redirect: &model.Redirect{Status: 301, Host: "new.example"},
		CORS:     &model.CORS{Origins: []model.ValueMatch{{Value: "*"}}, Methods: []string{"PUT"}},
	}}, auth)
	if resp, _ := ask(t, at, "OPTIONS", "/", "", "origin", "https://a.example", "access-control-request-method", "PUT"); resp.StatusCode != 204 {
		t.Errorf("a preflight: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, at, "GET", "/", ""); resp.StatusCode != 403 {
		t.Errorf("without a token: %d", resp.StatusCode)
	}
	if resp, _ := ask(t, at, "GET", "/", "", "authorization", "good"); resp.StatusCode != 301 || resp.Header.Get("location") != "http://new.example/" {
		t.Errorf("with one: %d %v", resp.StatusCode, resp.Header)
	}
}
