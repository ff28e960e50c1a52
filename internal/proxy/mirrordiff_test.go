package proxy

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// locked is a log that a test reads while it is written.
type locked struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// behave answers as the request asks: for the old version, or the new one.
func behave(version string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body)
		w.Header().Set("content-type", "text/plain")
		w.Header().Set("x-version", version) // nobody asks for it
		is := func(what string) bool { return version == "new" && r.URL.Path == what }
		switch {
		case is("/header"):
			w.Header().Set("content-type", "text/html")
		case is("/secret"):
			w.Header().Set("x-session-token", "hunter2")
		case is("/status"):
			w.WriteHeader(500)
		case is("/body"):
			fmt.Fprint(w, "other ")
		case is("/late"):
			fmt.Fprint(w, strings.Repeat("b", 2000)) // differs where nobody looks
			return
		case is("/broken"):
			w.Header().Set("content-length", "100")
			fmt.Fprint(w, "short")
			return
		case is("/both"):
			w.WriteHeader(404)
			fmt.Fprint(w, "no")
		}
		if r.URL.Path == "/late" {
			fmt.Fprint(w, strings.Repeat("b", 1999)+"c")
			return
		}
		fmt.Fprint(w, "content")
	}
}

// TestMirrorDiff compares the answers of a mirror with those that clients get.
func TestMirrorDiff(t *testing.T) {
	log := &locked{}
	l := newLab(t)
	e := l.run(Options{Node: "gateway", Logger: slog.New(slog.NewTextHandler(log, nil))})
	l.apply(e, &model.Snapshot{
		Services: []model.Service{program(t, "web", behave("old")), program(t, "next", behave("new"))},
		Sockets: []model.Socket{{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: []model.Rule{{
			Ref:     model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "web"},
			Filters: model.Filters{Mirrors: []model.Mirror{{Service: name("next"), Port: 80, Share: 1}}},
			Policy: &model.Policy{MirrorDiff: &model.MirrorDiff{
				Headers: []string{"content-type", "x-session-token"}, MaxBody: 1000, Samples: 6,
			}},
			Response: model.HeaderMod{Set: []model.HeaderValue{{Name: "content-type", Value: "changed/afterwards"}}},
			Backends: to("web"),
		}}}}}},
	})
	c := newClient(t, e.Sockets()[loopback])
	want := map[string]uint64{}
	for _, r := range []struct {
		path  string
		kinds string
	}{
		{"/same", "same"},
		{"/same?token=hunter2", "same"},
		{"/header", "header"},
		{"/secret?token=hunter2", "header"},
		{"/status", "status"},
		{"/body", "body"},
		{"/late", "same"},
		{"/broken", "unanswered"},
		{"/both", "status body"},
		{"/body", "body"}, // beyond the samples
	} {
		if code, _, h := c.get(r.path); code != 200 || h.Get("content-type") != "changed/afterwards" {
			t.Fatalf("%s: %d %v", r.path, code, h)
		}
		for kind := range strings.FieldsSeq(r.kinds) {
			want[kind]++
		}
		awaitMirrors(t, e, want)
	}
	text := log.String()
	if n := strings.Count(text, "a mirror answers differently"); n != 6 {
		t.Errorf("%d samples in the log, want 6:\n%s", n, text)
	}
	if strings.Contains(text, "hunter2") {
		t.Errorf("a secret is in the log:\n%s", text)
	}
	for _, part := range []string{
		`status 200, the mirror 500`, `content-type \"text/plain\", the mirror \"text/html\"`, "x-session-token",
		"content of 7 bytes, the mirror's of 13", "the mirror gave no whole answer", "mirror=default/next",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the log lacks %s:\n%s", part, text)
		}
	}
}

// awaitMirrors waits until so many answers were counted, and no others.
func awaitMirrors(t *testing.T, e *Engine, want map[string]uint64) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for {
		got := map[string]uint64{}
		for _, m := range e.Mirrors() {
			for k, n := range m {
				if k.Mirror != "default/next" || k.Service != "default/web" || !strings.Contains(k.Route, "default/web") {
					t.Fatalf("%+v", k)
				}
				got[k.Result] += n
			}
		}
		if fmt.Sprint(got) == fmt.Sprint(want) {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("counted %v, want %v", got, want)
		case <-time.Tick(2 * time.Millisecond):
		}
	}
}
