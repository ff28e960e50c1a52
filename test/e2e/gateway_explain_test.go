package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestGatewayExplainAndGuard asks why a gateway does what it does, and has a bad route at it undone.
func TestGatewayExplainAndGuard(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.httpService("web", "v2")
	m.ready("web", 2)
	port := freePort(t)
	m.must("apply", "--wait", "-f", m.file("edge.yaml", meshGateway(port, 1, 0)))
	m.gateway("--gateway", "default/edge")
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	eventually(t, 30*time.Second, "the gateway serves", func() error {
		if status, body := ask(t, http.DefaultClient, url); status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	out := m.must("explain", "--gateway", "default/edge", "GET", url+"x", "-H", "x-beta=yes")
	for _, want := range []string{"default/edge/http", "HTTPRoute default/web rule 0", "default/web-v2", "may be picked", "leaves no endpoint out"} {
		if !strings.Contains(out, want) {
			t.Errorf("explain lacks %q:\n%s", want, out)
		}
	}
	if out := m.must("explain", "--gateway", "edge", "https://shop.test/"); !strings.Contains(out, "no listener has the port") {
		t.Errorf("explain of a port that nobody has:\n%s", out)
	}
	if r := m.weft("explain", "--gateway", "nobody", url); r.code != 1 || !strings.Contains(r.stderr, "there is no Gateway default/nobody") {
		t.Errorf("explain at a gateway that is not there: %d %s", r.code, r.stderr)
	}
	load, stop := context.WithCancel(t.Context())
	defer stop()
	for range 4 {
		go callOften(load, url)
	}
	eventually(t, 60*time.Second, "there is a baseline", func() error {
		var rows []struct{ RPS float64 }
		out := m.must("stat", "web", "-t", "10s", "-o", "json")
		if err := json.Unmarshal([]byte(out), &rows); err != nil || len(rows) == 0 || rows[0].RPS < 20 {
			return fmt.Errorf("%v: %s", err, out)
		}
		return nil
	})
	bad := strings.ReplaceAll(meshGateway(port, 1, 0), "web-v1", "nobody")
	r := m.weft("apply", "-f", m.file("edge.yaml", bad), "--guard", "20s")
	why := regexp.MustCompile(`was rolled back, by revision \d+: .*default/edge/http: success rate \d+\.\d+% of \d+ requests, below 99.00%`)
	if r.code != 3 || !why.MatchString(r.stderr) {
		t.Fatalf("a route that breaks the gateway: exit %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	if status, body := ask(t, http.DefaultClient, url); status != 200 {
		t.Errorf("after the rollback: %d %s", status, body)
	}
}

// callOften makes a request every 20 ms at most until ctx ends.
func callOften(ctx context.Context, url string) {
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
			if err != nil {
				return
			}
			if resp, err := http.DefaultClient.Do(req); err == nil {
				_ = resp.Body.Close()
			}
		}
	}
}
