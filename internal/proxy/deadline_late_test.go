package proxy

import (
	"net/http"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestLateWorkIsRefused has a program that calls the next only when its own caller has left: the call is refused
// before it is sent, by the deadline that is remembered. The same ID without a deadline is served again.
func TestLateWorkIsRefused(t *testing.T) {
	l := newLab(t)
	called := make(chan struct{}, 8)
	third := server(t, http.HandlerFunc(func(http.ResponseWriter, *http.Request) { called <- struct{}{} }))
	var middle netip.AddrPort
	flags := make(chan string, 8)
	second := server(t, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		if r.Header.Get("x-wait") != "" {
			<-r.Context().Done()
		}
		resp, _ := ask(t, middle, "GET", "/", "", "x-request-id", r.Header.Get("x-request-id"))
		flags <- resp.Header.Get(failureHeader)
	}))
	p := l.pair(second, model.HTTP)
	s := *p.server.workers[0].config.snapshot
	s.Services = []model.Service{{
		Name: name("deep"), Ports: []model.Port{{Number: 80}},
		Endpoints: []model.Endpoint{{ID: "deep-1", Address: third, Plain: true}},
	}}
	sidecar := l.run(Options{ // with loops enough for a call to come in by another than its caller's
		Loops: 4, Node: "web-1", TLS: l.identity("web"), Inbound: loopback,
		Upstreams: []Upstream{{Service: name("deep"), Port: 80, Listen: loopback}},
	})
	middle = sidecar.Addrs().Upstreams[0]
	l.apply(sidecar, &s)
	c := *p.client.workers[0].config.snapshot
	c.Services[0].Endpoints[0].Address = sidecar.Addrs().Inbound
	l.apply(p.client, &c)

	for _, id := range []string{"one", "two"} {
		if resp, body := ask(t, p.at, "GET", "/", "", "x-request-id", id, "x-wait", "yes", "weft-deadline-ms", "100"); resp.StatusCode != 504 {
			t.Errorf("the first: %d %s", resp.StatusCode, body)
		}
		if flag := <-flags; flag != flagDeadline || len(called) != 0 {
			t.Errorf("a call after the deadline: %q; %d came to the third", flag, len(called))
		}
	}
	// A retry that is in no hurry.
	if resp, body := ask(t, p.at, "GET", "/", "", "x-request-id", "one"); resp.StatusCode != 200 {
		t.Errorf("without a deadline: %d %s", resp.StatusCode, body)
	}
	if flag := <-flags; flag != "" || len(called) != 1 {
		t.Errorf("a call without a deadline: %q; %d came to the third", flag, len(called))
	}
	remembered := func(later time.Duration) (n, kept int) {
		i := &sidecar.inherited
		i.mu.Lock()
		defer i.mu.Unlock()
		i.sweep(time.Now().Add(later))
		return len(i.deadlines), len(i.passed)
	}
	if n, kept := remembered(0); n != 1 || kept != 2 {
		t.Errorf("%d deadlines and %d passed are remembered, want 1 and 2: one was forgiven", n, kept)
	}
	if n, kept := remembered(keepPassed + time.Second); n != 0 || kept != 0 {
		t.Errorf("%d deadlines and %d passed are remembered for ever", n, kept)
	}
}
