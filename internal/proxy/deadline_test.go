package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestDeadlineIsCarried has a program see how long its caller waits, and a request that comes too late refused.
func TestDeadlineIsCarried(t *testing.T) {
	tell := func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.Header.Get("weft-deadline-ms")) }
	at := newLab(t).edge([]model.Rule{{Backends: to("web")}}, program(t, "web", tell))
	if _, body := ask(t, at, "GET", "/", ""); body != "" {
		t.Errorf("a caller that does not say: %q", body)
	}
	_, body := ask(t, at, "GET", "/", "", "weft-deadline-ms", "5000")
	if ms, err := strconv.Atoi(body); err != nil || ms > 5000 || ms < 1000 {
		t.Errorf("of 5000 ms the program sees %q", body)
	}
	for _, doomed := range []string{"0"} {
		if resp, body := ask(t, at, "GET", "/", "", "weft-deadline-ms", doomed); resp.StatusCode != 504 || resp.Header.Get(failureHeader) != flagDeadline {
			t.Errorf("%s ms: %d %q", doomed, resp.StatusCode, body)
		}
	}
	if resp, _ := ask(t, at, "GET", "/", "", "weft-deadline-ms", "soon"); resp.StatusCode != 200 {
		t.Errorf("a field that is no number: %d", resp.StatusCode)
	}
}

// TestDeadlineOverThreeHops has programs that know nothing of deadlines but pass x-request-id on: the second calls
// the third through its own proxy and inherits what is left.
func TestDeadlineOverThreeHops(t *testing.T) {
	l := newLab(t)
	last := make(chan string, 1)
	third := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		last <- r.Header.Get("weft-deadline-ms")
		select {
		case <-r.Context().Done():
			last <- "cancelled"
		case <-time.After(30 * time.Second):
			last <- "worked on"
		}
	}))
	// The proxy of the second program takes requests from the mesh and carries its calls to the third.
	var middle netip.AddrPort
	second := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		req, _ := http.NewRequestWithContext(r.Context(), "GET", "http://"+middle.String()+"/", nil)
		req.Header.Set("x-request-id", r.Header.Get("x-request-id"))
		resp, err := http.DefaultClient.Do(req)
		if err == nil {
			resp.Body.Close()
		}
	}))
	sidecar := l.run(Options{
		Node: "web-1", TLS: l.identity("web"), Inbound: loopback,
		Upstreams: []Upstream{{Service: name("deep"), Port: 80, Listen: loopback}},
	})
	middle = sidecar.Addrs().Upstreams[0]
	l.apply(sidecar, &model.Snapshot{
		Workload: model.Workload{
			ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"),
			Inbound: []model.Inbound{{ServicePort: 80, Port: second.Port(), Protocol: model.HTTP}},
		},
		Services: []model.Service{{
			Name: name("deep"), Ports: []model.Port{{Number: 80}},
			Endpoints: []model.Endpoint{{ID: "deep-1", Address: third, Plain: true}},
		}},
	})
	client := l.run(Options{
		Node: "load-1", TLS: l.identity("load"), Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}},
	})
	l.apply(client, &model.Snapshot{
		Workload: model.Workload{ID: "load-1", Identity: l.ca.ID("default", "load"), Service: name("load")},
		Services: []model.Service{{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
			Policy:    &model.Policy{Timeout: 200 * time.Millisecond},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: sidecar.Addrs().Inbound, Identity: l.ca.ID("default", "web")}},
		}},
	})
	began := time.Now()
	resp, body := ask(t, client.Addrs().Upstreams[0], "GET", "/", "")
	// Its own proxy says so, or the program's, whichever is first.
	if resp.StatusCode != 504 || !strings.Contains(body, "200ms") && !strings.Contains(body, flagDeadline) {
		t.Errorf("%d %q", resp.StatusCode, body)
	}
	if ms, err := strconv.Atoi(<-last); err != nil || ms > 200 {
		t.Errorf("the third program sees %d ms, %v", ms, err)
	}
	if what := <-last; what != "cancelled" || time.Since(began) > 10*time.Second {
		t.Errorf("the third program %s, %v after the beginning", what, time.Since(began))
	}
}

// TestCallerMayGiveUpFirst: who has part of its answer at its deadline is not cut off at once.
func TestCallerMayGiveUpFirst(t *testing.T) {
	const deadline = time.Second
	ended := make(chan time.Time, 1)
	s := program(t, "web", func(w http.ResponseWriter, r *http.Request) {
		_, _ = w.Write([]byte("half"))
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		ended <- time.Now()
	})
	edge := newLab(t).edge(toAll(), s)
	req, err := http.NewRequest("GET", "http://"+edge.String()+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("weft-deadline-ms", "1000")
	began := time.Now()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if body, err := io.ReadAll(resp.Body); string(body) != "half" || err == nil {
		t.Errorf("%q, %v: want half and an error", body, err)
	}
	if took := (<-ended).Sub(began); took < deadline+callerGrace-10*time.Millisecond {
		t.Errorf("the program's request ended after %v, a caller may wait %v", took, deadline)
	}
}
