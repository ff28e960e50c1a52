package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// nginx joins a stock nginx as service web; what it answers is text.
func (m *mesh) nginx(service, version, text string) *process {
	m.t.Helper()
	needs(m.t, "nginx")
	port := freePort(m.t)
	dir := m.dir
	conf := m.file(fmt.Sprintf("nginx-%s-%s.conf", service, version), fmt.Sprintf(`
pid %[1]s/nginx-%[2]s-%[3]s.pid; error_log %[1]s/nginx-%[3]s.err;
events {}
http {
  access_log off; keepalive_requests 1000000000;
  client_body_temp_path %[1]s/b; proxy_temp_path %[1]s/p; fastcgi_temp_path %[1]s/f; uwsgi_temp_path %[1]s/u; scgi_temp_path %[1]s/s;
  server { listen 127.0.0.1:%[4]d; location / { default_type text/plain; return 200 "%[5]s $http_x_added\n"; } }
}`, dir, service, version, port, text))
	return m.run("--service", service, "--version", version, "--port", fmt.Sprintf("80:%d", port), "--", "nginx", "-c", conf, "-g", "daemon off;")
}

func TestNginxAndWrkAsDebianShipsThem(t *testing.T) {
	needs(t, "wrk")
	m := newMesh(t)
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	r := m.once("load", "wrk", "-t1", "-c32", "-d3s", "http://web/")
	if r.code != 0 || strings.Contains(r.stdout, "Socket errors") || strings.Contains(r.stdout, "Non-2xx") || !strings.Contains(r.stdout, "Requests/sec") {
		t.Fatalf("wrk: %d\n%s%s", r.code, r.stdout, r.stderr)
	}
	t.Log(regexp.MustCompile(`Requests/sec:.*`).FindString(r.stdout))
	edge := regexp.MustCompile(`(?m)^load\s+web\s+default\s+default\s+spiffe://mesh.local/ns/default/sa/load\s+spiffe://mesh.local/ns/default/sa/web\s+(ok|√)`)
	eventually(t, 10*time.Second, "the edge is secured", func() error {
		if out := m.must("edges", "-o", "wide"); !edge.MatchString(out) {
			return fmt.Errorf("edges:\n%s", out)
		}
		return nil
	})
}

// TestLanguages has clients in several languages, unchanged, call a service by each of its names.
func TestLanguages(t *testing.T) {
	m := newMesh(t)
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	goClient := filepath.Join(m.dir, "client")
	src := m.file("client.go", `package main
import ("fmt"; "io"; "net/http"; "os")
func main() { r, err := http.Get(os.Args[1]); if err != nil { fmt.Println(err); os.Exit(1) }; b, _ := io.ReadAll(r.Body); fmt.Print(string(b)) }`)
	build := exec.Command("go", "build", "-o", goClient, src)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, c := range []struct {
		name, needs string
		command     func(url string) []string
	}{
		{"curl", "curl", func(u string) []string { return []string{"curl", "-sS", u} }},
		{"go", "go", func(u string) []string { return []string{goClient, u} }},
		{"node", "node", func(u string) []string {
			return []string{"node", "-e", "fetch('" + u + "').then(r=>r.text()).then(t=>process.stdout.write(t))"}
		}},
		{"python", "python3", func(u string) []string {
			return []string{"python3", "-c", "import urllib.request; print(urllib.request.urlopen('" + u + "').read().decode())"}
		}},
	} {
		for _, host := range []string{"web", "web.default", "web.default.mesh"} {
			t.Run(c.name+" "+host, func(t *testing.T) {
				needs(t, c.needs)
				if r := m.once("load", c.command("http://"+host+"/")...); r.code != 0 || !strings.HasPrefix(r.stdout, "hello") {
					t.Fatalf("exit %d: %q %s", r.code, r.stdout, clip(r.stderr))
				}
			})
		}
	}
}

// TestNothingReadableBetweenTheProxies listens on the wire while a secret passes.
func TestNothingReadableBetweenTheProxies(t *testing.T) {
	needs(t, "tcpdump", "curl")
	m := newMesh(t)
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	_, port, err := net.SplitHostPort(m.endpoints("web")[0].Address)
	if err != nil {
		t.Fatal(err)
	}
	capture := filepath.Join(m.dir, "wire.pcap")
	dump := start(t, nil, "tcpdump", "-i", "lo", "-U", "-s", "0", "-w", capture, "tcp port "+port)
	eventually(t, 10*time.Second, "tcpdump listens", func() error {
		if !strings.Contains(dump.err.String(), "listening on") {
			return fmt.Errorf("it says %q", dump.err.String())
		}
		return nil
	})
	if r := m.once("load", "curl", "-sS", "-H", "X-Secret: swordfish", "http://web/secret-path"); r.code != 0 {
		t.Fatal(r.stderr)
	}
	eventually(t, 30*time.Second, "the capture has grown", func() error {
		if info, err := os.Stat(capture); err != nil || info.Size() < 2000 {
			return fmt.Errorf("%v %v", info, err)
		}
		return nil
	})
	dump.stop(syscall.SIGINT)
	b, err := os.ReadFile(capture)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range []string{"swordfish", "secret-path", "HTTP/1.1", "hello"} {
		if strings.Contains(string(b), text) {
			t.Errorf("%q can be read on the wire", text)
		}
	}
	if !strings.Contains(string(b), "\x17\x03\x03") {
		t.Error("no TLS record was captured")
	}
}

func TestStrangersAreRefused(t *testing.T) {
	m, other := newMesh(t), newMesh(t, "--trust-domain", "other.mesh")
	web := m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	at := m.endpoints("web")[0].Address
	c := &http.Client{Timeout: 30 * time.Second}
	if resp, err := c.Get("http://" + at + "/"); err == nil {
		resp.Body.Close()
		t.Errorf("a plaintext client got %s", resp.Status)
	}
	eventually(t, 30*time.Second, "the reason is in the log", func() error {
		if !strings.Contains(web.err.String(), "reason=plaintext") {
			return fmt.Errorf("log: %s", clip(web.err.String()))
		}
		return nil
	})
	// A proxy of another mesh that was told this endpoint: it must not accept ours, nor be accepted.
	snapshot := other.file("stranger.yaml", fmt.Sprintf(`trustDomain: other.mesh
workload: {id: stranger}
services:
- name: default/web
  ports: [{number: 80, protocol: http}]
  endpoints: [{id: web, address: %q}]
`, at))
	cert, key, bundle := foreignSVID(t, other)
	port := freePort(t)
	stranger := start(t, nil, bin(t, "weft-proxy"), "--snapshot", snapshot, "--svid-cert", cert, "--svid-key", key, "--bundle", bundle,
		"--upstream", fmt.Sprintf("web.default:80=127.0.0.1:%d", port))
	var body string
	eventually(t, 10*time.Second, "the stranger's proxy answers", func() error {
		resp, err := c.Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		if body = string(b); resp.StatusCode != 503 {
			return fmt.Errorf("%s %s", resp.Status, body)
		}
		return nil
	})
	if !strings.Contains(body, "mesh.local") {
		t.Errorf("the answer does not name the other mesh: %s", body)
	}
	_ = stranger
}
