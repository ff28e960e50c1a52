package e2e

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const canary = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: web
spec:
  parentRefs:
  - {group: "", kind: Service, name: web, port: 80}
  rules:
  - matches:
    - headers:
      - {name: end-user, value: jason}
    filters:
    - type: RequestHeaderModifier
      requestHeaderModifier: {set: [{name: x-added, value: by-the-mesh}]}
    backendRefs:
    - {name: web-v2, port: 80}
  - backendRefs:
    - {name: web-v1, port: 80}
`

func TestCanary(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	m.nginx("web", "v1", "one")
	m.nginx("web", "v2", "two")
	m.ready("web", 2)
	file := m.file("canary.yaml", canary)
	if out := m.must("apply", "--wait", "-f", file); !strings.Contains(out, "web created") || !strings.Contains(out, "is live on") {
		t.Fatal(out)
	}
	if r := m.once("load", "curl", "-sS", "http://web/"); r.stdout != "one \n" {
		t.Errorf("without the header: %q %s", r.stdout, r.stderr)
	}
	if r := m.once("load", "curl", "-sS", "-H", "end-user: jason", "http://web/"); r.stdout != "two by-the-mesh\n" {
		t.Errorf("with the header: %q %s", r.stdout, r.stderr)
	}
	out := m.must("explain", "web", "--header", "end-user=jason")
	chosen := regexp.MustCompile(`(ok|√) HTTPRoute default/web rule 0 \(` + regexp.QuoteMeta(file) + `:9\)`)
	if !chosen.MatchString(out) {
		t.Errorf("explain does not name %s:9 as the rule that decided:\n%s", file, out)
	}
	changed := m.file("changed.yaml", strings.Replace(canary, "jason", "mary", 1))
	if r := m.weft("diff", "-f", changed); r.code != 1 || !strings.Contains(r.stdout, "+      - {name: end-user, value: mary}") {
		t.Errorf("diff: exit %d\n%s", r.code, r.stdout)
	}
	if r := m.weft("diff", "-f", file); r.code != 0 {
		t.Errorf("diff of what is live: exit %d\n%s", r.code, r.stdout)
	}
	missing := m.file("missing.yaml", strings.ReplaceAll(canary, "name: web-v2", "name: wbe-v2"))
	if r := m.weft("apply", "--strict", "-f", missing); r.code != 65 || !strings.Contains(r.stderr, "web-v2") {
		t.Errorf("--strict: exit %d, want 65 and the nearest name\n%s", r.code, r.stderr)
	}
	if r := m.weft("apply", "--wait", "-f", missing); r.code != 0 || !strings.Contains(r.stderr, "web-v2") {
		t.Errorf("without --strict: exit %d, want a warning with the nearest name\n%s", r.code, r.stderr)
	}
	if r := m.once("load", "curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", "-H", "end-user: jason", "http://web/"); r.stdout != "500" {
		t.Errorf("a reference that does not resolve is answered %q, want 500", r.stdout)
	}
	if out := m.must("describe", "httproute", "web"); !strings.Contains(out, "BackendNotFound") {
		t.Errorf("describe:\n%s", out)
	}
	m.must("delete", "-f", file)
	if out := m.must("get", "httproutes"); strings.Contains(out, "web") {
		t.Errorf("still there:\n%s", out)
	}
}

// TestTapAndExplain follows a request that happened.
func TestTapAndExplain(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	m.must("apply", "--wait", "-f", m.file("route.yaml", strings.ReplaceAll(canary, "web-v2", "web-v1")))
	tap := start(t, []string{"WEFT_SOCKET=" + m.socket}, bin(t, "weft"), "tap", "--to", "web")
	id := regexp.MustCompile(`req id=([0-9a-f]{32}) proxy=out .* :method=GET .*:path=/seen`)
	eventually(t, 60*time.Second, "tap shows the request", func() error {
		_ = m.once("load", "curl", "-sS", "http://web/seen")
		if !id.MatchString(tap.out.String()) {
			return fmt.Errorf("tap: %s", clip(tap.out.String()))
		}
		return nil
	})
	out := m.must("explain", "--id", id.FindStringSubmatch(tap.out.String())[1])
	if !strings.Contains(out, "rule 1") || !strings.Contains(out, "answered 200") {
		t.Errorf("explain:\n%s", out)
	}
	if r := m.weft("explain", "--id", strings.Repeat("0", 32)); r.code != 1 {
		t.Errorf("an id nobody saw: exit %d, want 1: %s", r.code, r.stderr)
	}
}

func TestSnapshotRoundTrip(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	m.must("apply", "--wait", "-f", m.file("canary.yaml", canary))
	load := m.run("--service", "load", "--upstream", fmt.Sprintf("web:80=%d", freePort(t)), "--", "sleep", "1000")
	var id string
	eventually(t, 10*time.Second, "the client's proxy is there", func() error {
		found := regexp.MustCompile(`(?m)^(load-\S+)`).FindString(m.must("proxy-status"))
		if id = found; id == "" {
			return fmt.Errorf("no proxy yet")
		}
		return nil
	})
	dump := m.must("proxy-config", "dump", id, "-o", "yaml")
	file := m.file("snapshot.yaml", dump)
	admin := filepath.Join(m.dir, "a.sock")
	start(t, nil, bin(t, "weft-proxy"), "--snapshot", file, "--admin", "unix://"+admin)
	eventually(t, 10*time.Second, "the second proxy runs the same", func() error {
		out, err := exec.Command("curl", "-sS", "--unix-socket", admin, "http://proxy/config").Output()
		if err != nil {
			return err
		}
		if string(out) != dump {
			return fmt.Errorf("it runs\n%s\nwant\n%s", out, dump)
		}
		return nil
	})
	load.stop(syscall.SIGTERM)
}

// TestControlPlaneLoss kills the control plane under load and looks that everything is as before.
func TestControlPlaneLoss(t *testing.T) {
	needs(t, "wrk")
	m := newMesh(t)
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	m.must("apply", "--wait", "-f", m.file("canary.yaml", strings.ReplaceAll(canary, "web-v2", "web-v1")))
	before := m.must("get", "services", "-o", "yaml")
	load := m.run("--service", "load", "--", "wrk", "-t1", "-c16", "-d10s", "http://web/")
	eventually(t, 10*time.Second, "the load runs", func() error {
		if out := m.must("edges"); !strings.Contains(out, "load") {
			return fmt.Errorf("edges: %s", out)
		}
		return nil
	})
	_ = m.serve.cmd.Process.Kill()
	<-m.serve.done
	<-load.done
	if out := load.out.String(); !strings.Contains(out, "Requests/sec") || strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		t.Errorf("wrk: %s%s", out, load.err.String())
	}
	m.serve = start(t, nil, bin(t, "weft"), m.args...)
	m.awaitReady()
	eventually(t, 60*time.Second, "the proxy is back", func() error {
		if !strings.Contains(m.must("proxy-status"), "web-") {
			return fmt.Errorf("not yet")
		}
		return nil
	})
	if after := m.must("get", "services", "-o", "yaml"); after != before {
		t.Errorf("before:\n%s\nafter:\n%s", before, after)
	}
	if out := m.must("get", "httproutes"); !strings.Contains(out, "Ready") {
		t.Errorf("routes:\n%s", out)
	}
}

func TestBadTokensAndDamage(t *testing.T) {
	m, other := newMesh(t), newMesh(t, "--trust-domain", "other.mesh")
	try := func(token string) (string, int) {
		p := start(t, nil, bin(t, "weft-proxy"), "--control", "unix://"+filepath.Join(m.dir, "proxy.sock"),
			"--token", m.file("token", token), "--id", "x-1", "--service", "x")
		select {
		case <-p.done:
		case <-time.After(15 * time.Second):
			t.Fatalf("weft-proxy goes on: %s", p.err.String())
		}
		return p.err.String(), p.cmd.ProcessState.ExitCode()
	}
	expired := m.must("token", "create", "--account", "x", "--ttl", "1s")
	made := time.Now()
	foreign := other.must("token", "create", "--account", "x")
	eventually(t, 15*time.Second, "the token's second has passed, and its lease's", func() error {
		if left := 4*time.Second - time.Since(made); left > 0 {
			return fmt.Errorf("%v left", left)
		}
		return nil
	})
	if msg, code := try(expired); code != 65 || !strings.Contains(msg, "expired or used up") {
		t.Errorf("expired token: exit %d: %s", code, msg)
	}
	if msg, code := try(foreign); code != 65 || !strings.Contains(msg, "not the control plane the join token is for") {
		t.Errorf("foreign token: exit %d: %s", code, msg)
	}
	if strings.Contains(m.serve.err.String(), strings.Split(strings.TrimSpace(foreign), ".")[len(strings.Split(foreign, "."))-1]) {
		t.Error("the foreign token's secret is in the control plane's log")
	}

	other.serve.stop(syscall.SIGTERM)
	db := filepath.Join(other.dir, "data", "etcd", "member", "snap", "db")
	f, err := os.OpenFile(db, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteAt([]byte(strings.Repeat("garbage!", 2048)), 0); err != nil {
		t.Fatal(err)
	}
	f.Close()
	damaged, err := os.ReadFile(db)
	if err != nil {
		t.Fatal(err)
	}
	r := other.weft(other.args...)
	if r.code != 65 || !strings.Contains(r.stderr, db) || !strings.Contains(r.stderr, "damaged") {
		t.Errorf("corrupted store: exit %d: %s", r.code, r.stderr)
	}
	if after, err := os.ReadFile(db); err != nil || string(after) != string(damaged) {
		t.Errorf("the damaged file was changed (%v)", err)
	}
}

// TestReplicasComeAndGo ends and starts replicas in good order under load: no request may be lost.
func TestReplicasComeAndGo(t *testing.T) {
	needs(t, "wrk", "nginx")
	m := newMesh(t)
	replicas := []*process{m.nginx("web", "v1", "one"), m.nginx("web", "v2", "two"), m.nginx("web", "v3", "three")}
	m.ready("web", 3)
	load := m.run("--service", "load", "--", "wrk", "-t1", "-c8", "-d12s", "http://web/")
	for i := range replicas {
		replicas[i].stop(syscall.SIGTERM)
		m.ready("web", 2)
		replicas[i] = m.nginx("web", fmt.Sprintf("v%d", i+1), "again")
		m.ready("web", 3)
	}
	<-load.done
	if out := load.out.String(); !strings.Contains(out, "Requests/sec") || strings.Contains(out, "Non-2xx") || strings.Contains(out, "Socket errors") {
		t.Errorf("wrk: %s%s", out, load.err.String())
	}
}

func TestExitStatus(t *testing.T) {
	m := newMesh(t)
	for _, want := range []int{0, 3, 41} {
		if r := m.once("job", "sh", "-c", fmt.Sprintf("exit %d", want)); r.code != want {
			t.Errorf("exit status %d, want the program's %d: %s", r.code, want, r.stderr)
		}
	}
}

// TestAPIOverTLS reaches the control plane as from another machine: its certificate, and its token.
func TestAPIOverTLS(t *testing.T) {
	at := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	m := newMesh(t, "--listen", at)
	data := filepath.Join(m.dir, "data")
	remote := []string{"--server", "https://" + at, "--ca", filepath.Join(data, "api.crt")}
	eventually(t, 10*time.Second, "the API answers over TLS", func() error {
		if r := m.weft(append([]string{"version", "--token-file", filepath.Join(data, "api.token")}, remote...)...); r.code != 0 {
			return fmt.Errorf("exit %d: %s", r.code, r.stderr)
		}
		return nil
	})
	wrong := m.file("wrong.token", strings.Repeat("x", 64))
	if r := m.weft(append([]string{"get", "services", "--token-file", wrong}, remote...)...); r.code == 0 {
		t.Errorf("a wrong token was taken: %s", r.stdout)
	}
	if r := m.weft("get", "services", "--server", "https://"+at, "--token-file", filepath.Join(data, "api.token")); r.code == 0 {
		t.Errorf("an unknown certificate was taken: %s", r.stdout)
	}
	for _, name := range []string{"api.token", "api.key", "ca.key"} {
		if info, err := os.Stat(filepath.Join(data, name)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v %v, want mode 0600", name, info, err)
		}
	}
}
