package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// client keeps its connections, unlike ask.
type client struct {
	t  testing.TB
	at netip.AddrPort
	c  http.Client
}

func newClient(t testing.TB, at netip.AddrPort) *client {
	c := &client{t: t, at: at, c: http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}}
	t.Cleanup(c.c.CloseIdleConnections)
	return c
}

func (c *client) get(path string, fields ...string) (int, string, http.Header) {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), "GET", "http://"+c.at.String()+path, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := c.c.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(b), resp.Header
}

func saying(s string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, s) }
}

// fleet is a service of n programs that say their number.
func fleet(t testing.TB, n int, up *model.Upstream) model.Service {
	var hs []http.HandlerFunc
	for i := range n {
		hs = append(hs, saying(fmt.Sprint(i)))
	}
	s := program(t, "web", hs...)
	s.Upstream = up
	return s
}

func toAll() []model.Rule { return []model.Rule{{Backends: to("web")}} }

func TestRoundRobinTakesTurns(t *testing.T) {
	c := newClient(t, newLab(t).edge(toAll(), fleet(t, 4, &model.Upstream{Balance: model.Balance{Algorithm: model.RoundRobin}})))
	seen := map[string]int{}
	for range 40 {
		_, body, _ := c.get("/")
		seen[body]++
	}
	for i := range 4 {
		if seen[fmt.Sprint(i)] != 10 {
			t.Fatalf("%v", seen)
		}
	}
}

func TestHashKeepsAClientWithAnEndpoint(t *testing.T) {
	for _, a := range []model.Algorithm{model.RingHash, model.Maglev} {
		t.Run(string(a), func(t *testing.T) {
			b := model.Balance{Algorithm: a, Hash: []model.HashKey{{Header: "x-user"}, {Cookie: "who", TTL: time.Hour}}}
			c := newClient(t, newLab(t).edge(toAll(), fleet(t, 4, &model.Upstream{Balance: b})))
			used := map[string]bool{}
			for user := range 20 {
				_, first, _ := c.get("/", "x-user", fmt.Sprint(user))
				used[first] = true
				for range 3 {
					if _, again, _ := c.get("/", "x-user", fmt.Sprint(user)); again != first {
						t.Fatalf("user %d went to %s and %s", user, first, again)
					}
				}
			}
			if len(used) < 3 {
				t.Errorf("20 users share %d of 4 endpoints", len(used))
			}
			_, first, h := c.get("/")
			given := h.Get("set-cookie")
			if !strings.HasPrefix(given, "who=") || !strings.Contains(given, "Max-Age=3600") {
				t.Fatalf("a client without a name got the cookie %q", given)
			}
			for range 5 {
				_, again, h := c.get("/", "cookie", strings.Split(given, ";")[0])
				if again != first || h.Get("set-cookie") != "" {
					t.Fatalf("went to %s, then %s with a cookie %q", first, again, h.Get("set-cookie"))
				}
			}
		})
	}
}

func TestSessionPersistence(t *testing.T) {
	rules := []model.Rule{{Backends: to("web"), Policy: &model.Policy{Session: &model.Session{Cookie: "sid"}}}}
	c := newClient(t, newLab(t).edge(rules, fleet(t, 4, nil)))
	_, first, h := c.get("/")
	given := h.Get("set-cookie")
	if !strings.HasPrefix(given, "sid=") || strings.Contains(given, "Max-Age") {
		t.Fatalf("cookie %q", given)
	}
	for range 20 {
		_, again, h := c.get("/", "cookie", "a=b; "+strings.Split(given, ";")[0])
		if again != first || h.Get("set-cookie") != "" {
			t.Fatalf("went to %s, then %s with a cookie %q", first, again, h.Get("set-cookie"))
		}
	}
	if code, _, h := c.get("/", "cookie", "sid=nonsense"); code != 200 || h.Get("set-cookie") == "" {
		t.Errorf("a token that is none: %d %v", code, h)
	}
}

// TestEjection has one of four endpoints fail always: after it is found out, nobody sees it any more.
func TestEjection(t *testing.T) {
	s := fleet(t, 3, &model.Upstream{Ejection: &model.Ejection{Consecutive5xx: 3, Base: time.Minute}})
	bad := program(t, "bad", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	bad.Endpoints[0].ID = "web-bad"
	s.Endpoints = append(s.Endpoints, bad.Endpoints...)
	c := newClient(t, newLab(t).edge(toAll(), s))
	failed := 0
	for range 200 {
		if code, _, _ := c.get("/"); code != 200 {
			failed++
		}
	}
	if failed != 3 {
		t.Errorf("%d failures were seen, want the 3 that it takes", failed)
	}
}

func TestRetryBudgetHoldsInAnOutage(t *testing.T) {
	var calls atomic.Int64
	s := program(t, "web", func(w http.ResponseWriter, _ *http.Request) { calls.Add(1); w.WriteHeader(503) })
	s.Upstream = &model.Upstream{Budget: &model.RetryBudget{Ratio: 0.2}}
	s.Policy = &model.Policy{Retry: &model.Retry{Attempts: 3, On: []model.RetryOn{model.Retry5xx}, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}}
	c := newClient(t, newLab(t).edge(toAll(), s))
	const n = 500
	for range n {
		if code, _, _ := c.get("/"); code != 503 {
			t.Fatal(code)
		}
	}
	if got := calls.Load(); got < n*110/100 || got > n*121/100 {
		t.Errorf("%d calls for %d requests, want 20%% more", got, n)
	}
}

func TestBoundOnRequests(t *testing.T) {
	release := make(chan struct{})
	var inside atomic.Int32
	s := program(t, "web", func(http.ResponseWriter, *http.Request) { inside.Add(1); <-release })
	s.Upstream = &model.Upstream{Connections: model.Connections{Requests: 2}}
	at := newLab(t).edge(toAll(), s)
	c := newClient(t, at)
	done := make(chan int, 2)
	for range 2 {
		go func() { code, _, _ := c.get("/"); done <- code }()
	}
	eventually(t, "two are in flight", func() bool { return inside.Load() == 2 })
	if code, _, h := c.get("/"); code != 503 || h.Get(failureHeader) != flagLimit {
		t.Errorf("the third: %d %v", code, h)
	}
	close(release)
	for range 2 {
		if code := <-done; code != 200 {
			t.Error(code)
		}
	}
	if code, _, _ := c.get("/"); code != 200 {
		t.Errorf("%d once there is room", code)
	}
}

func TestRateLimits(t *testing.T) {
	limits := []model.RateLimit{
		{Name: "users", Requests: 3, Per: time.Hour, Key: model.LimitKey{Header: "x-user"}, Matches: []model.Match{{Headers: []model.ValueMatch{{Name: "x-user", Type: model.Regex, Value: ".+"}}}}},
		{Name: "all", Requests: 10, Per: time.Hour, Status: 503, Burst: 10},
	}
	rules := []model.Rule{{Backends: to("web"), Policy: &model.Policy{Limits: limits}}}
	c := newClient(t, newLab(t).edge(rules, fleet(t, 1, nil)))
	for user := range 2 {
		for i := range 4 {
			code, body, h := c.get("/", "x-user", fmt.Sprint(user))
			if want := map[bool]int{true: 200, false: 429}[i < 3]; code != want {
				t.Errorf("user %d, request %d: %d %s", user, i, code, body)
			}
			if code == 429 && (h.Get("retry-after") == "" || !strings.Contains(body, "users")) {
				t.Errorf("%v %q", h, body)
			}
		}
	}
	ok := 0
	for range 10 {
		if code, _, h := c.get("/"); code == 200 {
			ok++
		} else if code != 503 || h.Get(failureHeader) != flagRateLimit {
			t.Errorf("%d %v", code, h)
		}
	}
	if ok != 4 {
		t.Errorf("%d more passed, want the 4 that are left of 10", ok)
	}
}

// TestServersLimitTheirClients has the limit of a service hold at its own proxy, for all clients by their identity.
func TestServersLimitTheirClients(t *testing.T) {
	l := newLab(t)
	p := l.pair(server(t, http.HandlerFunc(saw)), model.HTTP)
	policy := &model.Policy{Limits: []model.RateLimit{{Name: "each", Requests: 5, Per: time.Hour, Key: model.LimitKey{Identity: true}}}}
	s := *p.server.workers[0].config.snapshot
	s.Workload.Policy = policy
	l.apply(p.server, &s)
	c := newClient(t, p.at)
	for i := range 8 {
		code, body, _ := c.get("/")
		if want := map[bool]int{true: 200, false: 429}[i < 5]; code != want {
			t.Errorf("request %d: %d %s", i, code, body)
		}
	}
}

func TestPanicAndLocality(t *testing.T) {
	s := fleet(t, 4, &model.Upstream{Balance: model.Balance{Locality: &model.Locality{Prefer: true}}})
	for i, zone := range []string{"a", "a", "b", "b"} {
		s.Endpoints[i].Locality = "eu/" + zone
	}
	l := newLab(t)
	_, at := l.gateway(&model.Snapshot{
		Workload: model.Workload{Labels: map[string]string{"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "b"}},
		Services: []model.Service{s},
		Sockets:  []model.Socket{{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: toAll()}}}},
	}, 1)
	c := newClient(t, at)
	for range 40 {
		if _, body, _ := c.get("/"); body != "2" && body != "3" {
			t.Fatalf("went to %s, which is far", body)
		}
	}
}

// TestBoundOnConnections has ten requests at once share two connections.
func TestBoundOnConnections(t *testing.T) {
	var open, most atomic.Int32
	s := program(t, "web", func(w http.ResponseWriter, _ *http.Request) {
		most.Store(max(most.Load(), open.Add(1)))
		time.Sleep(20 * time.Millisecond)
		open.Add(-1)
	})
	s.Upstream = &model.Upstream{Connections: model.Connections{Max: 2, Pending: 5}}
	c := newClient(t, newLab(t).edge(toAll(), s))
	for round := range 3 {
		codes := make(chan int, 10)
		for range 10 {
			go func() { code, _, _ := c.get("/"); codes <- code }()
		}
		got := map[int]int{}
		for range 10 {
			got[<-codes]++
		}
		// Two are served, five wait for them; three more may come in time to be the ones that wait.
		if got[200] < 7 || got[200]+got[503] != 10 {
			t.Fatalf("round %d: %v", round, got)
		}
	}
	if most.Load() > 2 {
		t.Errorf("%d requests were at the program at once", most.Load())
	}
}

// TestConnectionsWearOut has a connection carry three requests, and one live 100 ms.
func TestConnectionsWearOut(t *testing.T) {
	for what, bounds := range map[string]model.Connections{
		"requests": {PerConnection: 3}, "age": {MaxAge: 100 * time.Millisecond},
	} {
		for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
			s := program(t, "web", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
			s.Endpoints[0].Protocol = protocol
			s.Upstream = &model.Upstream{Connections: bounds}
			c := newClient(t, newLab(t).edge(toAll(), s))
			seen := map[string]int{}
			for range 9 {
				_, from, _ := c.get("/")
				seen[from]++
				if what == "age" {
					time.Sleep(40 * time.Millisecond)
				}
			}
			if len(seen) < 3 || what == "requests" && len(seen) != 3 {
				t.Errorf("%s, %s: %v", what, protocol, seen)
			}
		}
	}
}

// TestIdleTimeout ends an answer that stalls, and not one that goes on.
func TestIdleTimeout(t *testing.T) {
	stall := func(w http.ResponseWriter, r *http.Request) {
		for i := range 6 {
			fmt.Fprint(w, "x")
			_ = http.NewResponseController(w).Flush()
			time.Sleep(50 * time.Millisecond)
			if i == 3 && r.URL.Path == "/stall" {
				select {
				case <-r.Context().Done():
				case <-time.After(30 * time.Second):
				}
			}
		}
	}
	rules := []model.Rule{{Backends: to("web"), Policy: &model.Policy{IdleTimeout: time.Second}}}
	at := newLab(t).edge(rules, program(t, "web", stall))
	if resp, body := ask(t, at, "GET", "/", ""); resp.StatusCode != 200 || body != "xxxxxx" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	resp, err := http.Get("http://" + at.String() + "/stall")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	began := time.Now()
	if b, err := io.ReadAll(resp.Body); err == nil || time.Since(began) > 15*time.Second {
		t.Errorf("%q, %v, after %v", b, err, time.Since(began))
	}
}

// TestSessionsEnd has a session last a second, and another until it is not used for one.
func TestSessionsEnd(t *testing.T) {
	for what, session := range map[string]model.Session{
		"absolute": {Cookie: "sid", Absolute: 2 * time.Second, Keep: true},
		"idle":     {Cookie: "sid", Idle: 2 * time.Second},
		"header":   {Header: "x-session", Absolute: 2 * time.Second},
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			rules := []model.Rule{{Backends: to("web"), Policy: &model.Policy{Session: &session}}}
			c := newClient(t, newLab(t).edge(rules, fleet(t, 4, nil)))
			_, first, h := c.get("/")
			given, field := strings.TrimPrefix(strings.Split(h.Get("set-cookie"), ";")[0], "sid="), "cookie"
			if what == "header" {
				given, field = h.Get("x-session"), "x-session"
			}
			carry := func() string {
				if field == "cookie" {
					return "sid=" + given
				}
				return given
			}
			if what == "absolute" && !strings.Contains(h.Get("set-cookie"), "Max-Age=2") {
				t.Errorf("cookie %q", h.Get("set-cookie"))
			}
			changed := func() bool {
				_, now, h := c.get("/", field, carry())
				if next := h.Get("set-cookie"); what == "idle" && next != "" {
					given = strings.TrimPrefix(strings.Split(next, ";")[0], "sid=")
				}
				return now != first
			}
			for began := time.Now(); time.Since(began) < 900*time.Millisecond; time.Sleep(50 * time.Millisecond) {
				if changed() {
					t.Fatal("the session ended early")
				}
			}
			time.Sleep(2100 * time.Millisecond)
			old := carry()
			for range 40 { // by chance the same endpoint may be chosen again
				if _, now, _ := c.get("/", field, old); now != first {
					return
				}
			}
			t.Error("the session did not end")
		})
	}
}
