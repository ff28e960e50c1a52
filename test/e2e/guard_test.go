package e2e

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// failingServer answers every second request with 500: a version that should not have been rolled out.
func failingServer(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	n := make(chan int, 1)
	n <- 0
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		i := <-n
		n <- i + 1
		if i%2 == 0 {
			w.WriteHeader(http.StatusInternalServerError)
		}
		fmt.Fprintln(w, "v2")
	})}
	return s.Serve(ln)
}

// pacedClient has four callers of 50 requests a second at most each, who wait for their answers, so that a slow
// machine makes it slower and no queue. It tells every second how many were answered.
func pacedClient(url string) error {
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 4}}
	var answered atomic.Int64
	for range 4 {
		go func() {
			for range time.Tick(20 * time.Millisecond) {
				_ = get(c, url) // of 500 too: that is the guard's to see
				answered.Add(1)
			}
		}()
	}
	for range time.Tick(time.Second) {
		fmt.Printf("answered %d\n", answered.Swap(0))
	}
	return nil
}

// TestGuard shifts traffic to a version that fails and to one that does not, under up to 200 requests a second.
func TestGuard(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	port := fmt.Sprint(freePort(t))
	m.actor("failing-server", port, nil, "--service", "web", "--version", "v2", "--port", "80:"+port)
	m.httpService("web", "v3")
	m.ready("web", 3)
	m.must("apply", "--wait", "-f", m.file("web.yaml", weighted(1, 0)), "-m", "all to v1")
	load := m.actor("paced", "http://web/", nil, "--service", "paced")
	eventually(t, 30*time.Second, "there is a baseline", func() error {
		var rows []struct{ RPS float64 }
		out := m.must("stat", "web", "-t", "10s", "-o", "json")
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) != 1 || rows[0].RPS < 20 {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	before := m.must("get", "httproute", "web", "-o", "yaml")

	began := time.Now()
	r := m.weft("apply", "-f", m.file("web.yaml", weighted(0, 1)), "-m", "all to v2", "--guard", "20s")
	took := time.Since(began)
	t.Logf("after %v: %s%s", took.Round(100*time.Millisecond), r.stdout, r.stderr)
	why := regexp.MustCompile(`revision (\d+) was rolled back, by revision (\d+): .*default/web: success rate \d+\.\d+% of \d+ requests, below 99.00%; before the change it was 100.00% of \d+`)
	found := why.FindStringSubmatch(r.stderr)
	if r.code != 3 || found == nil || took > 15*time.Second {
		t.Fatalf("a change that breaks web: exit %d after %v", r.code, took)
	}
	if after := m.must("get", "httproute", "web", "-o", "yaml"); !sameRoute(before, after) {
		t.Errorf("it was not rolled back:\n%s\nwant\n%s", after, before)
	}
	if c := m.join("tally", "100 http://web/"); c.out.String() != "v1=100\n" {
		t.Errorf("after the rollback: %s%s", c.out.String(), c.err.String())
	}
	if out := m.must("history"); !regexp.MustCompile(`(?m)^ +`+found[2]+` .* guard of revision `+found[1]+` +undo of `+found[1]+`: httproute/web configured +default/web: success rate`).MatchString(out) || !strings.Contains(out, "all to v2") {
		t.Errorf("history:\n%s", out)
	}
	if out := m.must("history", "show", found[1]); !strings.Contains(out, "rolled back by "+found[2]) || !strings.Contains(out, "+    - {name: web-v1, port: 80, weight: 0}") {
		t.Errorf("history show:\n%s", out)
	}

	// A good change stays. The window before it has to be one without the bad one.
	eventually(t, 30*time.Second, "the failures have left the window", func() error {
		if out := m.must("stat", "web", "-t", "10s"); !strings.Contains(out, "100.00%") {
			return fmt.Errorf("%s", out)
		}
		return nil
	})
	good := strings.Replace(weighted(0, 1), "web-v2", "web-v3", 1)
	r = m.weft("apply", "-f", m.file("web.yaml", good), "--guard", "10s", "--latency-p99", "2s")
	t.Logf("%s%s", r.stdout, r.stderr)
	if r.code != 0 || !strings.Contains(r.stdout, "stays: no figure is worse than its bound") {
		t.Errorf("a change that breaks nothing: exit %d", r.code)
	}
	if c := m.join("tally", "100 http://web/"); c.out.String() != "v3=100\n" {
		t.Errorf("after the good change: %s%s", c.out.String(), c.err.String())
	}
	load.stop(syscall.SIGTERM)

	// By hand: back to before it, and undone.
	m.must("rollback", "--wait", "-m", "by hand")
	if c := m.join("tally", "100 http://web/"); c.out.String() != "v1=100\n" {
		t.Errorf("after rollback: %s%s", c.out.String(), c.err.String())
	}
	m.must("rollback", "--wait")
	if c := m.join("tally", "100 http://web/"); c.out.String() != "v3=100\n" {
		t.Errorf("after the rollback of the rollback: %s%s", c.out.String(), c.err.String())
	}
	if r := m.weft("rollback", found[1], "--only"); r.code != 1 || !strings.Contains(r.stderr, "was changed since") {
		t.Errorf("rollback --only of what changed since: exit %d: %s", r.code, r.stderr)
	}
}

// sameRoute compares what `get -o yaml` says but for its conditions' times and revisions.
func sameRoute(a, b string) bool {
	spec := func(s string) string { return s[max(strings.Index(s, "spec:"), 0):] }
	return spec(a) == spec(b)
}
