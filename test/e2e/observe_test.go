package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestCommandsShowTheTraffic looks at one steady client with every command that shows traffic.
func TestCommandsShowTheTraffic(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	end := m.steady("http://web/here")
	for _, c := range []struct{ command, want string }{
		{"stat", `(?m)^web\s+1/1\s+100.00%\s+[1-9][0-9.]*rps`},
		{"stat --from steady", `(?m)^web\s+.*100.00%\s+[1-9][0-9.]*rps`},
		{"stat --to web", `(?m)^steady\s+.*100.00%\s+[1-9][0-9.]*rps`},
		{"stat --by version", `(?m)^web\s+v1\s+.*100.00%`},
		{"routes", `(?m)^default\s+web\s+100.00%`},
		{"edges", `(?m)^steady\s+web\s+default\s+default\s+(ok|√)`},
		{"top --once --interval 1s --path /here", `(?m)steady\S*\s+web\S*\s+GET\s+/here`},
		{"check", `Status check results are (ok|√)`},
	} {
		eventually(t, 60*time.Second, c.command, func() error {
			r := m.weft(strings.Fields(c.command)...)
			if r.code != 0 || !regexp.MustCompile(c.want).MatchString(r.stdout) {
				return fmt.Errorf("exit %d, want %s\n%s%s", r.code, c.want, r.stdout, r.stderr)
			}
			return nil
		})
	}
	var rows []struct {
		Name    string
		Success float64
		RPS     float64
		P99     float64 `json:"latency_ms_p99"`
	}
	if err := json.Unmarshal([]byte(m.must("stat", "web", "-t", "10s", "-o", "json")), &rows); err != nil || len(rows) != 1 || rows[0].Success != 1 || rows[0].P99 <= 0 {
		t.Errorf("stat -o json: %v %+v", err, rows)
	}
	end(100)
}

// TestMetrics reads what Prometheus would.
func TestMetrics(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	if c := m.join("tally", "10 http://web/"); c.out.String() != "v1=10\n" {
		t.Fatalf("%s%s", c.out.String(), c.err.String())
	}
	text := scrape(t, m.socket)
	for _, name := range []string{"weft_control_proxies 1", "weft_control_revision ", "weft_control_compile_seconds_count "} {
		if !strings.Contains(text, "\n"+name) {
			t.Errorf("the control plane's metrics have no %q", name)
		}
	}
	id := strings.TrimPrefix(strings.TrimSpace(m.must("proxy-status", "-o", "name")), "proxy/")
	text = scrape(t, filepath.Join("/run/weft-run", id, "admin.sock"))
	if !regexp.MustCompile(`(?m)^weft_requests_total\{.*direction="inbound".*outcome="success".*\} 10$`).MatchString(text) {
		t.Errorf("the proxy's metrics do not count 10 requests:\n%s", clip(text))
	}
}

// scrape fetches /metrics over a unix socket, and checks each line against Prometheus' text format 0.0.4.
func scrape(t *testing.T, socket string) string {
	t.Helper()
	c := &http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	defer c.CloseIdleConnections()
	resp, err := c.Get("http://weft/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("%s: %s %v %s", socket, resp.Status, err, resp.Header.Get("Content-Type"))
	}
	line := regexp.MustCompile(`^(|# (HELP|TYPE|UNIT) [a-zA-Z_:][\w:]* .*|[a-zA-Z_:][\w:]*(\{([a-zA-Z_]\w*="([^"\\]|\\.)*",?)*\})? (\S+)( \d+)?)$`)
	for _, l := range strings.Split(string(b), "\n") {
		if !line.MatchString(l) {
			t.Errorf("%s: not Prometheus' text format: %q", socket, l)
		}
	}
	return string(b)
}

// TestAccessLogAndTraces follows a request with trace headers through both proxies.
func TestAccessLogAndTraces(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	port := fmt.Sprint(freePort(t))
	in, out := filepath.Join(m.dir, "in.log"), filepath.Join(m.dir, "out.log")
	m.actor("http-server", port, []string{envName + "=hello"}, "--service", "web", "--version", "v1", "--port", "80:"+port, "--access-log", in)
	m.ready("web", 1)
	const trace = "0af7651916cd43dd8448eb211c80319c"
	r := m.weft("run", "--service", "load", "--access-log", out, "--", "curl", "-sS", "-H", "traceparent: 00-"+trace+"-b7ad6b7169203331-01",
		"-H", "b3: 80f198ee56343ba864fe8b2a57d3eff7-e457b5a2e4d86bd1-1", "-H", "Authorization: Bearer swordfish", "http://web/path?q=1")
	if !strings.Contains(r.stdout, "traceparent=00-"+trace) || !strings.Contains(r.stdout, "b3=80f198ee56343ba864fe8b2a57d3eff7") {
		t.Errorf("trace headers do not arrive: %s%s", r.stdout, r.stderr)
	}
	type record struct {
		Time          time.Time
		Direction     string
		Protocol      string
		TLS           string
		RequestID     string `json:"request_id"`
		SourceID      string `json:"source_id"`
		DestinationID string `json:"destination_id"`
		TraceID       string `json:"trace_id"`
		Method        string
		Path          string
		Status        int
		Duration      float64 `json:"duration_ms"`
	}
	read := func(file, direction string) (got record) {
		eventually(t, 30*time.Second, file+" has a line", func() error {
			b, err := os.ReadFile(file)
			if err != nil || !bytes.HasSuffix(b, []byte("\n")) {
				return fmt.Errorf("%q %w", b, err)
			}
			if strings.Contains(string(b), "swordfish") {
				t.Errorf("a secret is in the access log: %s", b)
			}
			return json.Unmarshal(b, &got)
		})
		want := record{
			Time: got.Time, Direction: direction, Protocol: "http", TLS: "mutual", RequestID: got.RequestID,
			SourceID: "spiffe://mesh.local/ns/default/sa/load", DestinationID: "spiffe://mesh.local/ns/default/sa/web",
			TraceID: trace, Method: "GET", Path: got.Path, Status: 200, Duration: got.Duration,
		}
		if got != want || !strings.HasPrefix(got.Path, "/path") || got.Duration <= 0 || time.Since(got.Time) > time.Minute {
			t.Errorf("%s:\n got %+v\nwant %+v", file, got, want)
		}
		return got
	}
	if a, b := read(out, "outbound"), read(in, "inbound"); a.RequestID != b.RequestID || a.RequestID == "" {
		t.Errorf("the two records have ids %q and %q", a.RequestID, b.RequestID)
	}
}

// TestLeavingInOrder has a program look, when it is told to end, what the mesh still does for it.
func TestLeavingInOrder(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	port, last := fmt.Sprint(freePort(t)), filepath.Join(m.dir, "last")
	p := m.actor("http-server", port, []string{envLast + "=" + last, withBin(t)}, "--service", "leaver", "--port", "80:"+port)
	m.ready("leaver", 1)
	p.stop(syscall.SIGTERM)
	if code := p.cmd.ProcessState.ExitCode(); code != 7 {
		t.Errorf("exit status %d, want the program's 7", code)
	}
	// Out of the registry before the program is told; its proxy is there until it has ended.
	if b, err := os.ReadFile(last); err != nil || string(b) != "listed=false call=200" {
		t.Errorf("at its end the program saw %q (%v)", b, err)
	}
}

// TestTakenAddress starts control planes where others listen.
func TestTakenAddress(t *testing.T) {
	_ = bin(t, "weft")
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	m := newMesh(t)
	for _, flag := range []string{"--listen", "--proxy-listen"} {
		r := m.weft("serve", "--data-dir", filepath.Join(m.dir, "d"+flag), "--socket", filepath.Join(m.dir, "s"+flag), flag, ln.Addr().String())
		if r.code != 64 || !strings.Contains(r.stderr, ln.Addr().String()) {
			t.Errorf("serve %s on a taken port: exit %d, want 64 and the address: %s", flag, r.code, r.stderr)
		}
	}
}
