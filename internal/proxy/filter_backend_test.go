package proxy

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestFiltersOfABackend: the filters of a backend run after those of the rule, and for its own share alone.
func TestFiltersOfABackend(t *testing.T) {
	copies := make(chan string, 100)
	shadow := func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		copies <- fmt.Sprintf("%s %s%s %s", r.Method, r.Host, r.URL.Path, body)
	}
	first, second := to("web")[0], to("web")[0]
	first.Request = model.HeaderMod{Set: []model.HeaderValue{{Name: "x-part", Value: "first"}}}
	first.Filters = &model.Filters{
		Rewrite: &model.Rewrite{Path: &model.PathChange{Type: model.ChangePrefix, Value: "/v1"}},
		Mirrors: []model.Mirror{{Service: name("shadow"), Port: 80, Share: 1}},
	}
	second.Response = model.HeaderMod{Set: []model.HeaderValue{{Name: "x-part", Value: "second"}}}
	second.Filters = &model.Filters{Redirect: &model.Redirect{Status: 307, Path: &model.PathChange{Type: model.ChangePrefix, Value: "/moved"}}}
	at := newLab(t).edge([]model.Rule{
		{
			Matches:  []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/api"}}},
			Filters:  model.Filters{Rewrite: &model.Rewrite{Host: "inner.example"}},
			Backends: []model.Backend{first},
		},
		{
			Matches:  []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/split"}}},
			Backends: []model.Backend{to("web")[0], second},
			Response: model.HeaderMod{Set: []model.HeaderValue{{Name: "x-rule", Value: "split"}}},
		},
	}, program(t, "web", saw), program(t, "shadow", shadow))

	if _, body := ask(t, at, "PUT", "/api/a?b=c", "thing"); body != "PUT inner.example/v1/a?b=c thing" {
		t.Errorf("the backend got %q", body)
	}
	select {
	case got := <-copies:
		if got != "PUT inner.example/v1/a thing" {
			t.Errorf("the mirror got %q", got)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("the mirror got nothing")
	}
	sent, moved := 0, 0
	for range 64 {
		resp, body := ask(t, at, "GET", "/split/x", "", "host", "a.example")
		switch {
		case resp.StatusCode == 200 && strings.HasSuffix(body, "/split/x ") && resp.Header.Get("x-part") == "":
			sent++
		case resp.StatusCode == 307 && resp.Header.Get("location") == "http://a.example/moved/x" && resp.Header.Get("x-part") == "second" && resp.Header.Get("x-rule") == "split":
			moved++
		default:
			t.Fatalf("%d %q %v", resp.StatusCode, body, resp.Header)
		}
	}
	if sent == 0 || moved == 0 { // by chance once in 2^63
		t.Errorf("%d requests went to the backend, %d were redirected", sent, moved)
	}
	if len(copies) > 0 {
		t.Errorf("%d copies of requests for other backends", len(copies))
	}
}

// TestCORSOfABackend: preflights and answers are those of the backend's policy.
func TestCORSOfABackend(t *testing.T) {
	b := to("web")
	b[0].Filters = &model.Filters{CORS: &model.CORS{Origins: []model.ValueMatch{{Value: "https://a.example"}}, Methods: []string{"PUT"}}}
	at := newLab(t).edge([]model.Rule{{Backends: b}}, program(t, "web", saw))
	resp, body := ask(t, at, "OPTIONS", "/", "", "origin", "https://a.example", "access-control-request-method", "PUT")
	if resp.StatusCode != 204 || body != "" || resp.Header.Get("access-control-allow-methods") != "PUT" {
		t.Errorf("preflight: %d %q %v", resp.StatusCode, body, resp.Header)
	}
	resp, body = ask(t, at, "GET", "/", "", "origin", "https://a.example")
	if resp.Header.Get("access-control-allow-origin") != "https://a.example" || !strings.HasPrefix(body, "GET ") {
		t.Errorf("%q %v", body, resp.Header)
	}
	if resp, _ := ask(t, at, "GET", "/", "", "origin", "https://evil.example"); resp.Header.Get("access-control-allow-origin") != "" {
		t.Errorf("a stranger's request: %v", resp.Header)
	}
}

// TestAuthOfABackend: the service of the rule is asked first and then that of the backend. Each is told of the content no
// more than it may be; either can refuse.
func TestAuthOfABackend(t *testing.T) {
	guard := func(who string) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			w.Header().Set("x-asked-"+who, fmt.Sprintf("%s %d %s", r.URL.Path, len(body), r.Header.Get("x-asked-rule")))
			if r.Header.Get("x-no") == who {
				w.WriteHeader(403)
				fmt.Fprint(w, "not by "+who)
			}
		}
	}
	b := to("web")
	b[0].Filters = &model.Filters{Auth: &model.ExternalAuth{Service: name("second"), Port: 80, Path: "/second", Request: []string{"x-no", "x-asked-rule"}, MaxBody: 20}}
	guarded := model.Rule{
		Ref:      model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "r"},
		Filters:  model.Filters{Auth: &model.ExternalAuth{Service: name("first"), Port: 80, Path: "/first", Request: []string{"x-no"}}},
		Backends: b,
	}
	both := guarded
	both.Matches = []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/both"}}}
	more := *both.Filters.Auth
	more.MaxBody = 30
	both.Filters.Auth = &more
	at := newLab(t).edge([]model.Rule{guarded, both}, program(t, "web", headersSeen), program(t, "first", guard("rule")), program(t, "second", guard("backend")))
	for _, x := range []struct {
		path, body, no string
		status         int
		want           string
	}{
		{"/a", "0123456789", "", 200, "/a x-asked-backend=/second/a 10 /first/a 0 x-asked-rule=/first/a 0 0123456789"},
		{"/both/a", "0123456789", "", 200, "/both/a x-asked-backend=/second/both/a 10 /first/both/a 10 x-asked-rule=/first/both/a 10 0123456789"},
		{"/a", "", "rule", 403, "not by rule"},
		{"/a", "", "backend", 403, "not by backend"},
		{"/a", strings.Repeat("x", 21), "", 413, ""},
		{"/both/a", strings.Repeat("x", 21), "", 413, ""},
	} {
		var fields []string
		if x.no != "" {
			fields = []string{"x-no", x.no}
		}
		resp, got := ask(t, at, "POST", x.path, x.body, fields...)
		if resp.StatusCode != x.status || x.want != "" && got != x.want {
			t.Errorf("%s with %d bytes, no %q: %d %q", x.path, len(x.body), x.no, resp.StatusCode, got)
		}
	}
}
