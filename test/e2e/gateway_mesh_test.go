package e2e

import (
	"bufio"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// meshGateway is a Gateway of a mesh with a route to the versions of web.
func meshGateway(port, v1, v2 int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners: [{name: http, port: %d, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  rules:
  - matches: [{headers: [{name: x-beta, value: "yes"}]}]
    backendRefs: [{name: web-v2, port: 80}]
  - backendRefs:
    - {name: web-v1, port: 80, weight: %d}
    - {name: web-v2, port: 80, weight: %d}
`, port, v1, v2)
}

// gateway joins a gateway to the mesh by the control plane's API.
func (m *mesh) gateway(args ...string) *process {
	m.t.Helper()
	return start(m.t, []string{"WEFT_SOCKET=" + m.socket}, bin(m.t, "weft"), append([]string{"gateway", "--bind", "127.0.0.1"}, args...)...)
}

// ask makes a request and returns the status and what was answered.
func ask(t testing.TB, c *http.Client, url string, header ...string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return resp.StatusCode, err.Error()
	}
	return resp.StatusCode, string(b)
}

// versions counts which version answers n requests.
func versions(t testing.TB, url string, n int, header ...string) map[string]int {
	t.Helper()
	out := map[string]int{}
	for range n {
		status, body := ask(t, http.DefaultClient, url, header...)
		name, _, _ := strings.Cut(body, " ")
		if status != 200 {
			name = fmt.Sprint(status)
		}
		out[name]++
	}
	return out
}

// TestGatewayOfAMesh has a gateway join a mesh: what it serves comes by apply, its backends are reached by mTLS.
func TestGatewayOfAMesh(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.httpService("web", "v2")
	m.ready("web", 2)
	port := freePort(t)
	log := filepath.Join(m.dir, "access.log")
	g := m.gateway("--gateway", "default/edge", "--access-log", log)
	eventually(t, 30*time.Second, "the gateway says that it has nothing to do", func() error {
		if s := g.err.String(); !strings.Contains(s, "nothing to listen on yet") {
			return errors.New(s)
		}
		return nil
	})
	out := m.must("apply", "--wait", "-f", m.file("edge.yaml", meshGateway(port, 3, 1)))
	if !strings.Contains(out, "gateway") {
		t.Errorf("apply: %s", out)
	}
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	got := versions(t, url, 400)
	// 99.9% of samples of 400 at 25% lie within 3.3 standard deviations of 8.7.
	if got["v1"]+got["v2"] != 400 || got["v2"] < 100-29 || got["v2"] > 100+29 {
		t.Errorf("at 3 to 1: %v", got)
	}
	if got := versions(t, url, 20, "x-beta", "yes"); got["v2"] != 20 {
		t.Errorf("by header: %v", got)
	}
	for i := range 3 { // in force once apply --wait has said so
		v1, v2 := i%2, 1-i%2
		m.must("apply", "--wait", "-f", m.file("edge.yaml", meshGateway(port, v1, v2)))
		if got := versions(t, url, 20); got[fmt.Sprintf("v%d", 2-v1)] != 20 {
			t.Errorf("after apply --wait of %d to %d: %v", v1, v2, got)
		}
	}
	checkMeshLog(t, log)
	status := m.must("describe", "gateway", "edge") + m.must("describe", "httproute", "web")
	for _, want := range []string{"Programmed", "1 of 1 listeners", "Accepted"} {
		if !strings.Contains(status, want) {
			t.Errorf("status lacks %s:\n%s", want, status)
		}
	}
	m.must("delete", "gateway", "edge", "--wait")
	if status, body := ask(t, http.DefaultClient, url); status != 0 {
		t.Errorf("after its Gateway is gone: %d %s", status, body)
	}
}

// checkMeshLog wants each request to have gone to an identity of the mesh by mutual TLS.
func checkMeshLog(t testing.TB, file string) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(strings.NewReader(string(b)))
	n := 0
	for ; lines.Scan(); n++ {
		var line struct {
			TLS           string `json:"tls"`
			SourceID      string `json:"source_id"`
			DestinationID string `json:"destination_id"`
			Source        string `json:"source"`
			Route         string `json:"route"`
		}
		if err := json.Unmarshal(lines.Bytes(), &line); err != nil {
			t.Fatal(err)
		}
		if line.TLS != "mutual" || !strings.HasSuffix(line.SourceID, "/ns/default/sa/edge") || !strings.HasSuffix(line.DestinationID, "/ns/default/sa/web") || line.Source != "default/edge" {
			t.Fatalf("%s", lines.Text())
		}
	}
	if n < 400 {
		t.Errorf("%d lines", n)
	}
}

// TestGatewayOfAMeshByToken joins with a token, serves HTTPS from files, and refuses the identity of another.
func TestGatewayOfAMeshByToken(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	control := "unix://" + filepath.Join(m.dir, "proxy.sock") // beside the API's
	a := newAuthority(t)
	dir := filepath.Join(m.dir, "tls")
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(host string) {
		cert, key := a.issue(host)
		for name, data := range map[string][]byte{"web.crt": cert, "web.key": key} {
			if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	port := freePort(t)
	https := strings.Replace(meshGateway(port, 1, 0), "protocol: HTTP}", `protocol: HTTPS, hostname: "*.example.com",
    tls: {options: {weft.dev/certificate-file: web.crt, weft.dev/key-file: web.key}}}`, 1)
	m.must("apply", "-f", m.file("edge.yaml", https))
	token := m.file("edge.token", m.must("token", "create", "--account", "edge"))
	foreign := m.file("web.token", m.must("token", "create", "--account", "web"))
	p := m.gateway("--gateway", "edge", "--control", control, "--token", foreign)
	eventually(t, 30*time.Second, "the gateway of another identity is refused", func() error {
		if s := p.err.String(); !strings.Contains(s, "a Gateway is served by proxies of its own identity") {
			return errors.New(s)
		}
		return nil
	})
	m.gateway("--gateway", "edge", "--control", control, "--token", token, "--certificates", dir)
	get := func(host string) error {
		c := &http.Client{Transport: &http.Transport{
			DisableKeepAlives: true,
			TLSClientConfig:   &tls.Config{RootCAs: a.pool, ServerName: host},
		}}
		defer c.CloseIdleConnections()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+net.JoinHostPort("127.0.0.1", fmt.Sprint(port))+"/", nil)
		if err != nil {
			return err
		}
		req.Host = host
		resp, err := c.Do(req)
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != 200 {
			return errors.New(resp.Status)
		}
		return nil
	}
	write("a.example.com") // after the start: the listener waits for its files
	eventually(t, 30*time.Second, "the listener serves with the certificate", func() error { return get("a.example.com") })
	write("b.example.com")
	eventually(t, 30*time.Second, "a changed certificate is served", func() error { return get("b.example.com") })
	r := m.weft("apply", "--wait", "--timeout", "20s", "-f", m.file("edge.yaml", strings.Replace(https, "web.crt", "none.crt", 1)))
	if r.code == 0 || !strings.Contains(r.stderr+r.stdout, "none.crt") {
		t.Errorf("a file that is not there: %d %s%s", r.code, r.stdout, r.stderr)
	}
	if err := get("b.example.com"); err != nil {
		t.Errorf("what ran before does not go on: %v", err)
	}
	if dump := m.weft("get", "proxies", "-o", "json").stdout; strings.Contains(dump, "PRIVATE") {
		t.Error("a private key is shown")
	}
}
