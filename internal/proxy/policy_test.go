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

// edge is a gateway with one HTTP listener and these rules, in front of services whose programs are given.
func (l *lab) edge(rules []model.Rule, services ...model.Service) netip.AddrPort {
	l.t.Helper()
	_, at := l.gateway(&model.Snapshot{Services: services, Sockets: []model.Socket{{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: rules}},
	}}}, 1)
	return at
}

// program is a service with a plain endpoint for each handler.
func program(t testing.TB, service string, handlers ...http.HandlerFunc) model.Service {
	t.Helper()
	s := model.Service{Name: name(service), Ports: []model.Port{{Number: 80}}}
	for i, h := range handlers {
		s.Endpoints = append(s.Endpoints, model.Endpoint{
			ID: fmt.Sprintf("%s-%d", service, i+1), Address: server(t, h), Plain: true,
			Labels: map[string]string{"version": fmt.Sprintf("v%d", i+1)},
		})
	}
	return s
}

func to(service string) []model.Backend {
	return []model.Backend{{Service: name(service), Port: 80, Weight: 1}}
}

// saw answers with what came.
func saw(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	fmt.Fprintf(w, "%s %s%s %s", r.Method, r.Host, r.URL.RequestURI(), body)
}

// ask makes one request and returns its answer with the content read.
func ask(t testing.TB, at netip.AddrPort, method, path, body string, fields ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+at.String()+path, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i < len(fields); i += 2 {
		if fields[i] == "host" {
			req.Host = fields[i+1]
		}
		req.Header.Set(fields[i], fields[i+1])
	}
	c := &http.Client{
		Timeout:       20 * time.Second,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	defer c.CloseIdleConnections()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp, string(b)
}

func TestRedirectAndDirectAnswers(t *testing.T) {
	prefix := func(p string) []model.Match {
		return []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: p}}}
	}
	at := newLab(t).edge([]model.Rule{
		{Matches: prefix("/old"), Filters: model.Filters{Redirect: &model.Redirect{
			Scheme: "https", Host: "new.example", Status: 301, Path: &model.PathChange{Type: model.ChangePrefix, Value: "/new"},
		}}},
		{
			Matches: prefix("/moved"), Filters: model.Filters{Redirect: &model.Redirect{Status: 308, Port: 8443}},
			Response: model.HeaderMod{Set: []model.HeaderValue{{Name: "x-by", Value: "weft"}}},
		},
		{Matches: prefix("/teapot"), Filters: model.Filters{Direct: &model.DirectAnswer{Status: 418, Body: "short and stout"}}},
	})
	resp, _ := ask(t, at, "GET", "/old/a?b=c", "", "host", "old.example:80")
	if got := resp.Header.Get("location"); resp.StatusCode != 301 || got != "https://new.example/new/a?b=c" {
		t.Errorf("%d %s", resp.StatusCode, got)
	}
	resp, _ = ask(t, at, "POST", "/moved/x", "content that nobody reads", "host", "a.example")
	if got := resp.Header.Get("location"); resp.StatusCode != 308 || got != "http://a.example:8443/moved/x" || resp.Header.Get("x-by") != "weft" {
		t.Errorf("%d %s %v", resp.StatusCode, got, resp.Header)
	}
	if resp, body := ask(t, at, "GET", "/teapot", ""); resp.StatusCode != 418 || body != "short and stout" {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if resp, body := ask(t, at, "HEAD", "/teapot", ""); resp.StatusCode != 418 || body != "" || resp.ContentLength != 15 {
		t.Errorf("HEAD: %d %q, length %d", resp.StatusCode, body, resp.ContentLength)
	}
}

func TestRewriteAndHeadersOfABackend(t *testing.T) {
	web := program(t, "web", saw)
	b := to("web")
	b[0].Response = model.HeaderMod{Set: []model.HeaderValue{{Name: "x-backend", Value: "web"}}}
	at := newLab(t).edge([]model.Rule{{
		Matches:  []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/api"}}},
		Filters:  model.Filters{Rewrite: &model.Rewrite{Host: "inner.example", Path: &model.PathChange{Type: model.ChangePrefix, Value: "/v1"}}},
		Backends: b,
	}}, web)
	resp, body := ask(t, at, "PUT", "/api/things?x=1", "thing", "host", "outer.example")
	if body != "PUT inner.example/v1/things?x=1 thing" || resp.Header.Get("x-backend") != "web" {
		t.Errorf("%q %v", body, resp.Header)
	}
}

func TestCORS(t *testing.T) {
	at := newLab(t).edge([]model.Rule{{
		Filters: model.Filters{CORS: &model.CORS{
			Origins: []model.ValueMatch{{Value: "https://www.example.com"}, {Value: "https://*.example.net"}},
			Methods: []string{"GET", "PUT"}, Headers: []string{"x-a"}, Expose: []string{"x-b"}, MaxAge: time.Hour, Credentials: true,
		}},
		Backends: to("web"),
	}}, program(t, "web", saw))
	preflight := []string{"origin", "https://a.example.net", "access-control-request-method", "PUT"}
	resp, body := ask(t, at, "OPTIONS", "/", "", preflight...)
	for field, want := range map[string]string{
		"access-control-allow-origin": "https://a.example.net", "access-control-allow-methods": "GET, PUT",
		"access-control-allow-headers": "x-a", "access-control-max-age": "3600", "access-control-allow-credentials": "true", "vary": "origin",
	} {
		if got := resp.Header.Get(field); got != want {
			t.Errorf("preflight: %s is %q, want %q", field, got, want)
		}
	}
	if resp.StatusCode != 204 || body != "" {
		t.Errorf("preflight: %d %q", resp.StatusCode, body)
	}
	preflight[1] = "https://evil.example"
	if resp, body := ask(t, at, "OPTIONS", "/", "", preflight...); resp.Header.Get("access-control-allow-origin") != "" || body != "" {
		t.Errorf("a stranger's preflight: %v %q", resp.Header, body)
	}
	resp, body = ask(t, at, "GET", "/", "", "origin", "https://www.example.com")
	if resp.Header.Get("access-control-allow-origin") != "https://www.example.com" || resp.Header.Get("access-control-expose-headers") != "x-b" || !strings.HasPrefix(body, "GET") {
		t.Errorf("%v %q", resp.Header, body)
	}
	if resp, _ := ask(t, at, "GET", "/", "", "origin", "https://evil.example"); resp.Header.Get("access-control-allow-origin") != "" {
		t.Errorf("a stranger's request: %v", resp.Header)
	}
}

func TestTimeouts(t *testing.T) {
	slow := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/body" {
			_ = http.NewResponseController(w).Flush()
		}
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	}
	policy := &model.Policy{Timeout: 100 * time.Millisecond}
	at := newLab(t).edge([]model.Rule{{Policy: policy, Backends: to("slow")}}, program(t, "slow", slow))
	began := time.Now()
	resp, body := ask(t, at, "GET", "/", "")
	if resp.StatusCode != 504 || resp.Header.Get(failureHeader) != flagTimeout || time.Since(began) > 5*time.Second {
		t.Errorf("%d %q after %v", resp.StatusCode, body, time.Since(began))
	}
	// An answer that has begun is cut.
	r, err := http.Get("http://" + at.String() + "/body")
	if err != nil {
		t.Fatal(err)
	}
	defer r.Body.Close()
	if _, err := io.ReadAll(r.Body); err == nil {
		t.Error("an answer that took too long looks whole")
	}
}

func TestTryTimeoutAndRetry(t *testing.T) {
	var calls atomic.Int32
	stuckOnce := func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			_, _ = io.Copy(io.Discard, r.Body) // only then the server notices that the client has left
			<-r.Context().Done()
			return
		}
		saw(w, r)
	}
	policy := &model.Policy{
		Timeout: 5 * time.Second, BackendTimeout: 100 * time.Millisecond,
		Retry: &model.Retry{Attempts: 2, On: []model.RetryOn{model.RetryTimeout}, Backoff: time.Millisecond},
	}
	at := newLab(t).edge([]model.Rule{{Policy: policy, Backends: to("web")}}, program(t, "web", stuckOnce))
	if resp, body := ask(t, at, "PUT", "/x", "again"); resp.StatusCode != 200 || !strings.HasSuffix(body, "/x again") || calls.Load() != 2 {
		t.Errorf("%d %q after %d calls", resp.StatusCode, body, calls.Load())
	}
}

func TestRetries(t *testing.T) {
	for _, c := range []struct {
		what   string
		retry  model.Retry
		method string
		codes  []int // of the answers in turn
		want   int
		calls  int32
	}{
		{"5xx", model.Retry{Attempts: 3, On: []model.RetryOn{model.Retry5xx}}, "GET", []int{500, 503, 200}, 200, 3},
		{"as often as it says", model.Retry{Attempts: 1, On: []model.RetryOn{model.Retry5xx}}, "GET", []int{500, 503, 200}, 503, 2},
		{"gateway errors", model.Retry{Attempts: 3, On: []model.RetryOn{model.RetryGatewayError}}, "GET", []int{503, 500, 200}, 500, 2},
		{"codes", model.Retry{Attempts: 3, Codes: []int{429}}, "GET", []int{429, 200}, 200, 2},
		{"not a POST", model.Retry{Attempts: 3, Codes: []int{500}}, "POST", []int{500, 200}, 500, 1},
		{"any method", model.Retry{Attempts: 3, Codes: []int{500}, AnyMethod: true}, "POST", []int{500, 200}, 200, 2},
		{"none", model.Retry{Attempts: 0, On: []model.RetryOn{model.Retry5xx}}, "GET", []int{500, 200}, 500, 1},
	} {
		t.Run(c.what, func(t *testing.T) {
			var calls atomic.Int32
			flaky := func(w http.ResponseWriter, r *http.Request) {
				body, _ := io.ReadAll(r.Body)
				if string(body) != "body" {
					t.Errorf("a try has the content %q", body)
				}
				w.WriteHeader(c.codes[min(int(calls.Add(1)), len(c.codes))-1])
			}
			c.retry.Backoff = time.Millisecond
			at := newLab(t).edge([]model.Rule{{Policy: &model.Policy{Retry: &c.retry}, Backends: to("web")}}, program(t, "web", flaky))
			if resp, _ := ask(t, at, c.method, "/", "body"); resp.StatusCode != c.want || calls.Load() != c.calls {
				t.Errorf("%d after %d calls, want %d after %d", resp.StatusCode, calls.Load(), c.want, c.calls)
			}
		})
	}
}

// TestRetryPrefersOthers has an endpoint that always fails and one that never does: nobody sees a failure.
func TestRetryPrefersOthers(t *testing.T) {
	bad := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	policy := &model.Policy{Retry: &model.Retry{Attempts: 1, On: []model.RetryOn{model.Retry5xx}, Backoff: time.Millisecond}}
	at := newLab(t).edge([]model.Rule{{Policy: policy, Backends: to("web")}}, program(t, "web", bad, saw))
	for range 50 {
		if resp, _ := ask(t, at, "GET", "/", ""); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
	}
}

func TestFaults(t *testing.T) {
	jason := []model.Match{{Headers: []model.ValueMatch{{Name: "end-user", Value: "jason"}}}}
	policy := &model.Policy{Faults: []model.Fault{
		{Matches: jason, Delay: 200 * time.Millisecond, DelayShare: 1},
		{Status: 418, AbortShare: 0.5},
	}}
	at := newLab(t).edge([]model.Rule{{Policy: policy, Backends: to("web")}}, program(t, "web", saw))
	began := time.Now()
	if resp, _ := ask(t, at, "GET", "/", "", "end-user", "jason"); resp.StatusCode != 200 || time.Since(began) < 200*time.Millisecond {
		t.Errorf("%d after %v", resp.StatusCode, time.Since(began))
	}
	aborted := 0
	const n = 400
	for range n {
		resp, _ := ask(t, at, "GET", "/", "")
		if resp.StatusCode == 418 && resp.Header.Get(failureHeader) == flagFault {
			aborted++
		}
	}
	// Binomial, 99.99%: 200 +- 3.9*10.
	if aborted < 161 || aborted > 239 {
		t.Errorf("%d of %d were aborted, want half", aborted, n)
	}
}

func TestSubset(t *testing.T) {
	say := func(v string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, v) }
	}
	b := to("web")
	b[0].Subset = map[string]string{"version": "v2"}
	none := to("web")
	none[0].Subset = map[string]string{"version": "v9"}
	at := newLab(t).edge([]model.Rule{
		{Matches: []model.Match{{Path: model.PathMatch{Type: model.Exact, Value: "/none"}}}, Backends: none},
		{Backends: b},
	}, program(t, "web", say("v1"), say("v2"), say("v3")))
	for range 20 {
		if _, body := ask(t, at, "GET", "/", ""); body != "v2" {
			t.Fatal(body)
		}
	}
	if resp, body := ask(t, at, "GET", "/none", ""); resp.StatusCode != 503 || !strings.Contains(body, "subset") {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
}

func TestMirror(t *testing.T) {
	copies := make(chan string, 10)
	shadow := func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		copies <- fmt.Sprintf("%s %s %d %v", r.Method, r.URL.Path, len(body), err)
		w.WriteHeader(500)
	}
	at := newLab(t).edge([]model.Rule{{
		Filters: model.Filters{Mirrors: []model.Mirror{
			{Service: name("shadow"), Port: 80, Share: 1}, {Service: name("gone"), Port: 80, Share: 1}, {Service: name("shadow"), Port: 80, Share: 0},
		}},
		Backends: to("web"),
	}}, program(t, "web", saw), program(t, "shadow", shadow))
	for _, size := range []int{0, 10, 200 << 10} {
		resp, body := ask(t, at, "PUT", "/m", strings.Repeat("x", size))
		if resp.StatusCode != 200 || len(body) < size {
			t.Fatalf("%d, %d bytes", resp.StatusCode, len(body))
		}
		select {
		case got := <-copies:
			if want := fmt.Sprintf("PUT /m %d <nil>", size); got != want {
				t.Errorf("the mirror got %q, want %q", got, want)
			}
		case <-time.After(10 * time.Second):
			t.Fatal("the mirror got nothing")
		}
	}
	select {
	case got := <-copies:
		t.Errorf("one copy too many: %s", got)
	default:
	}
}

// TestHedging has one of two endpoints never answer in time: who asks the other too after 50 ms hardly notices.
func TestHedging(t *testing.T) {
	var slow, cancelled atomic.Int32
	stuck := func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body)
		slow.Add(1)
		select {
		case <-r.Context().Done():
			cancelled.Add(1)
		case <-time.After(10 * time.Second):
		}
	}
	policy := &model.Policy{Hedge: &model.Hedge{Delay: 50 * time.Millisecond, Attempts: 1}}
	at := newLab(t).edge([]model.Rule{{Policy: policy, Backends: to("web")}}, program(t, "web", stuck, saw))
	for i := range 20 {
		method, body := "GET", ""
		if i%2 == 1 {
			method, body = "PUT", "content"
		}
		began := time.Now()
		resp, got := ask(t, at, method, "/h", body)
		if resp.StatusCode != 200 || !strings.HasSuffix(got, "/h "+body) || time.Since(began) > 5*time.Second {
			t.Fatalf("%d %q after %v", resp.StatusCode, got, time.Since(began))
		}
	}
	if slow.Load() == 0 {
		t.Fatal("no request was slow at first")
	}
	eventually(t, "the slow tries are given up", func() bool { return cancelled.Load() == slow.Load() })
}
