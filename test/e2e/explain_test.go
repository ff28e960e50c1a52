package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// serving joins a program to the mesh whose port this process serves, as soon as the program runs.
func (m *mesh) serving(service, version string, h http.HandlerFunc) {
	m.t.Helper()
	port, sign := freePort(m.t), filepath.Join(m.t.TempDir(), "runs")
	m.run("--service", service, "--version", version, "--port", fmt.Sprintf("80:%d", port), "--", "sh", "-c", "touch "+sign+"; exec sleep 1000")
	eventually(m.t, 30*time.Second, "the program runs", func() error {
		_, err := os.Stat(sign)
		return err
	})
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		m.t.Fatal(err)
	}
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(l) }() // ends with Close
	m.t.Cleanup(func() { _ = s.Close() })
}

// TestExplainShowsEjectedEndpoints: explain asks the client's proxy which endpoints it leaves out, until when and why, and
// what is left of its retry budget; and says so when there is no such proxy.
func TestExplainShowsEjectedEndpoints(t *testing.T) {
	m := newMesh(t)
	m.serving("web", "v1", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) })
	m.serving("web", "v2", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Retry-After", "3600")
		w.WriteHeader(503)
	})
	m.serving("web", "v3", func(http.ResponseWriter, *http.Request) {})
	m.ready("web", 3)
	m.must("apply", "--wait", "-f", m.file("policy.yaml", policyDocument(`  ejection: {consecutive5xx: 3, penalty: {base: 1h, max: 1h}, maxEjected: 70%}
  retryAfter: {max: 10m}
  retries: {attempts: 3, on: [5xx], backoff: {base: 1ms}, budget: {percent: 50%, window: 1h}}
`)))
	if out := m.must("explain", "web", "--from", "load"); !strings.Contains(out, "no proxy of this client is connected") {
		t.Errorf("explain without the client:\n%s", out)
	}
	port := freePort(t)
	m.run("--service", "load", "--upstream", fmt.Sprintf("web:80=%d", port), "--", "sleep", "1000")
	client := &http.Client{Timeout: 20 * time.Second}
	eventually(t, 30*time.Second, "explain shows what the proxy leaves out", func() error {
		for range 10 {
			if resp, err := client.Get(fmt.Sprintf("http://127.0.0.1:%d/", port)); err == nil {
				resp.Body.Close()
			}
		}
		out := m.must("explain", "web", "--from", "load")
		for _, want := range []string{
			"of default/web out: ejected until", "3 failures or answers 5xx in a row",
			"of default/web out: waiting until", "it answered 503 with Retry-After", "retry budget of default/web", "retries left: 50% of",
		} {
			if !strings.Contains(out, want) {
				return fmt.Errorf("it lacks %q:\n%s", want, out)
			}
		}
		return nil
	})
	t.Logf("\n%s", m.must("explain", "web", "--from", "load"))
}
