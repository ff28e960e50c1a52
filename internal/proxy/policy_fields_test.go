package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"testing"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/weft-mesh/weft/internal/model"
)

// from makes a request from an address of this host, 127.0.0.0/8.
func from(t testing.TB, source string, at netip.AddrPort, path string) (int, string) {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	c := &http.Client{Transport: &http.Transport{DialContext: dialer.DialContext, DisableKeepAlives: true}, Timeout: 20 * time.Second}
	resp, err := c.Get("http://" + at.String() + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestHashOfAddressAndQuery has clients come back to an endpoint by their address, and by a query parameter.
func TestHashOfAddressAndQuery(t *testing.T) {
	for what, key := range map[string]model.HashKey{"address": {Source: true}, "query": {Query: "user"}} {
		t.Run(what, func(t *testing.T) {
			b := model.Balance{Algorithm: model.Maglev, Hash: []model.HashKey{key}}
			at := newLab(t).edge(toAll(), fleet(t, 4, &model.Upstream{Balance: b}))
			used := map[string]bool{}
			for i := range 20 {
				source, path := "127.0.0.1", fmt.Sprintf("/?a=b&user=%d", i)
				if key.Source {
					source, path = fmt.Sprintf("127.0.0.%d", i+1), "/"
				}
				_, first := from(t, source, at, path)
				used[first] = true
				for range 3 {
					if _, again := from(t, source, at, path); again != first {
						t.Fatalf("client %d went to %s and %s", i, first, again)
					}
				}
			}
			if len(used) < 3 {
				t.Errorf("20 clients share %d of 4 endpoints", len(used))
			}
		})
	}
}

// TestRateLimitOfAddresses counts each address for itself.
func TestRateLimitOfAddresses(t *testing.T) {
	limits := []model.RateLimit{{Name: "each", Requests: 2, Per: time.Hour, Key: model.LimitKey{Source: true}}}
	at := newLab(t).edge([]model.Rule{{Backends: to("web"), Policy: &model.Policy{Limits: limits}}}, fleet(t, 1, nil))
	for _, source := range []string{"127.0.0.1", "127.0.0.2"} {
		for i := range 3 {
			code, body := from(t, source, at, "/")
			if want := map[bool]int{true: 200, false: 429}[i < 2]; code != want {
				t.Errorf("%s, request %d: %d %s", source, i, code, body)
			}
		}
	}
}

// TestFaultOfGRPC has a fault answer clients of gRPC with their status, and others with 503.
func TestFaultOfGRPC(t *testing.T) {
	s := edgeOf(newGRPCProgram(t).at, model.GRPC, model.Socket{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{
		Name: "grpc", Rules: []model.Rule{{Backends: to("web"), Policy: &model.Policy{Faults: []model.Fault{{GRPC: "8", AbortShare: 1}}}}},
	}}})
	_, at := newLab(t).gateway(s, 1)
	if _, err := call(t.Context(), grpcClient(t, at), "Say", []byte("x")); status.Code(err) != codes.ResourceExhausted {
		t.Errorf("%v, want ResourceExhausted", err)
	}
	if resp, body := ask(t, at, "GET", "/", ""); resp.StatusCode != 503 || resp.Header.Get(failureHeader) != flagFault {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

// TestPreflightsOfOthersGoOn has the program answer preflights that the policy says nothing of.
func TestPreflightsOfOthersGoOn(t *testing.T) {
	for _, forward := range []bool{false, true} {
		cors := &model.CORS{Origins: []model.ValueMatch{{Value: "https://a.example"}}, Forward: forward}
		at := newLab(t).edge([]model.Rule{{Filters: model.Filters{CORS: cors}, Backends: to("web")}}, program(t, "web", saying("program")))
		_, body := ask(t, at, "OPTIONS", "/", "", "origin", "https://evil.example", "access-control-request-method", "PUT")
		if (body == "program") != forward {
			t.Errorf("forward %v: %q", forward, body)
		}
	}
}

// TestUnusedConnectionsEnd has the next request find another connection once one was unused for long enough.
func TestUnusedConnectionsEnd(t *testing.T) {
	for _, idle := range []time.Duration{100 * time.Millisecond, time.Hour} {
		s := program(t, "web", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
		s.Upstream = &model.Upstream{Connections: model.Connections{Idle: idle}}
		e, at := newLab(t).gateway(&model.Snapshot{Services: []model.Service{s}, Sockets: []model.Socket{{
			Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: toAll()}},
		}}}, 1)
		_, first := ask(t, at, "GET", "/", "")
		for _, w := range e.workers {
			w.loop.Call(func() {
				for _, ep := range w.endpoints {
					ep.sweep(w.loop.Now().Add(time.Second))
				}
			})
		}
		if _, again := ask(t, at, "GET", "/", ""); (again == first) != (idle == time.Hour) {
			t.Errorf("idle %v: connection %s, then %s", idle, first, again)
		}
	}
}

// TestPathsOfCookies has the cookies that the proxy sets be for a path only.
func TestPathsOfCookies(t *testing.T) {
	for what, where := range map[string]struct {
		session *model.Session
		hash    []model.HashKey
	}{
		"session": {session: &model.Session{Cookie: "sid", Path: "/shop"}},
		"hash":    {hash: []model.HashKey{{Cookie: "sid", TTL: time.Hour, Path: "/shop"}}},
	} {
		s := fleet(t, 2, nil)
		if where.hash != nil {
			s.Upstream = &model.Upstream{Balance: model.Balance{Algorithm: model.RingHash, Hash: where.hash}}
		}
		rules := []model.Rule{{Backends: to("web"), Policy: &model.Policy{Session: where.session}}}
		resp, _ := ask(t, newLab(t).edge(rules, s), "GET", "/shop/x", "")
		if c := resp.Cookies(); len(c) != 1 || c[0].Name != "sid" || c[0].Path != "/shop" {
			t.Errorf("%s: %v", what, resp.Header["Set-Cookie"])
		}
	}
}

// TestHealthChecksAskTheirHost has checks name a host, and one that gets no answer in its time be a bad one.
func TestHealthChecksAskTheirHost(t *testing.T) {
	hosts, release := make(chan string, 1000), make(chan struct{})
	defer close(release)
	hang := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			select {
			case hosts <- r.Host:
			default:
			}
			select {
			case <-r.Context().Done():
			case <-release:
			}
			return
		}
		fmt.Fprint(w, "hanging")
	}
	well := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" {
			w.WriteHeader(418)
			return
		}
		fmt.Fprint(w, "well")
	}
	s := program(t, "web", hang, well)
	s.Upstream = &model.Upstream{Health: &model.HealthCheck{
		Type: model.HealthHTTP, Path: "/healthz", Host: "probe.example", Codes: []model.CodeRange{{From: 418, To: 418}},
		Interval: 20 * time.Millisecond, Timeout: 50 * time.Millisecond, Unhealthy: 1,
	}}
	at := newLab(t).edge(toAll(), s)
	if got := <-hosts; got != "probe.example" {
		t.Errorf("the check asks %q", got)
	}
	eventually(t, "only the endpoint that answers is used", func() bool {
		for range 20 {
			if _, body := ask(t, at, "GET", "/", ""); body != "well" {
				return false
			}
		}
		return true
	})
}
