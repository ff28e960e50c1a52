package e2e

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// edge is a `weft gateway` in front of programs of a test.
type edge struct {
	t    testing.TB
	dir  string
	port int
	p    *process
}

// edgeDocument is a gateway with one listener and the routes given, to services a and b.
func edgeDocument(port int, routes string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: http, port: %d, protocol: HTTP}]}
---
%s`, port, routes)
}

// service is a Service with its endpoint.
func service(name string, port int) string {
	return fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: %[1]s}
spec: {ports: [{name: main, port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[1]s-1, labels: {kubernetes.io/service-name: %[1]s}}
addressType: IPv4
ports: [{name: main, port: %[2]d}]
endpoints: [{addresses: [127.0.0.1]}]
`, name, port)
}

func routeTo(name string) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: %s, port: 80}]}]}
`, name)
}

func named(t testing.TB, name string) int {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, name) }))
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// newEdge runs a gateway with two services and a route to a.
func newEdge(t testing.TB) *edge {
	t.Helper()
	e := &edge{t: t, dir: t.TempDir(), port: freePort(t)}
	e.write("services.yaml", service("a", named(t, "a"))+service("b", named(t, "b")))
	e.write("edge.yaml", edgeDocument(e.port, routeTo("a")))
	e.p = start(t, nil, bin(t, "weft"), "gateway", "-f", e.dir, "--bind", "127.0.0.1")
	eventually(t, 10*time.Second, "the gateway serves", func() error { return e.answers("a") })
	return e
}

// write replaces a file as editors do, in one step.
func (e *edge) write(name, text string) {
	e.t.Helper()
	path := filepath.Join(e.dir, name)
	if err := os.WriteFile(path+"~", []byte(text), 0o600); err != nil {
		e.t.Fatal(err)
	}
	if err := os.Rename(path+"~", path); err != nil {
		e.t.Fatal(err)
	}
}

func (e *edge) url() string { return fmt.Sprintf("http://127.0.0.1:%d/", e.port) }

func (e *edge) answers(want string) error {
	resp, err := http.Get(e.url())
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 || string(b) != want {
		return fmt.Errorf("%s %q, %v", resp.Status, b, err)
	}
	return nil
}

// status wants the answer to have a status.
func (e *edge) status(want int) func() error {
	return func() error {
		resp, err := http.Get(e.url())
		if err != nil {
			return err
		}
		_ = resp.Body.Close()
		if resp.StatusCode != want {
			return fmt.Errorf("%s", resp.Status)
		}
		return nil
	}
}

// TestGatewayReload changes the documents of a gateway under load: right ones and wrong ones, seen by itself and
// by SIGHUP. No request may fail.
func TestGatewayReload(t *testing.T) {
	e := newEdge(t)
	var stop atomic.Bool
	var wg sync.WaitGroup
	var sent atomic.Int64
	for range 4 {
		wg.Go(func() {
			c := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2}, Timeout: 10 * time.Second}
			defer c.CloseIdleConnections()
			for !stop.Load() {
				resp, err := c.Get(e.url())
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if err != nil || resp.StatusCode != 200 || string(b) != "a" && string(b) != "b" {
					t.Errorf("%s %q, %v", resp.Status, b, err)
					return
				}
				sent.Add(1)
			}
		})
	}
	for i, want := range []string{"b", "a", "b"} {
		e.write("edge.yaml", edgeDocument(e.port, routeTo(want)))
		if i == 1 {
			_ = e.p.cmd.Process.Signal(syscall.SIGHUP)
		}
		eventually(t, 10*time.Second, "the change is applied", func() error { return e.answers(want) })
	}
	e.write("edge.yaml", edgeDocument(e.port, strings.Replace(routeTo("a"), "backendRefs", "backendRef", 1)))
	eventually(t, 10*time.Second, "the malformed document is reported with its place", func() error {
		if s := e.p.err.String(); !strings.Contains(s, "edge.yaml:9:") || !strings.Contains(s, "backendRefs") || !strings.Contains(s, "goes on") {
			return fmt.Errorf("stderr: %s", clip(s))
		}
		return nil
	})
	if err := e.answers("b"); err != nil {
		t.Errorf("after a malformed document: %v", err)
	}
	e.write("edge.yaml", edgeDocument(e.port, routeTo("a")))
	eventually(t, 10*time.Second, "the mended document is applied", func() error { return e.answers("a") })
	stop.Store(true)
	wg.Wait()
	if sent.Load() < 100 {
		t.Errorf("only %d requests were sent", sent.Load())
	}
	t.Logf("%d requests, none lost", sent.Load())
}

// TestGatewayReferences has routes to services that are not there, or have no endpoint.
func TestGatewayReferences(t *testing.T) {
	e := newEdge(t)
	e.write("edge.yaml", edgeDocument(e.port, routeTo("nobody")))
	eventually(t, 10*time.Second, "a service that is not there is 500", e.status(500))
	e.write("services.yaml", "apiVersion: v1\nkind: Service\nmetadata: {name: nobody}\nspec: {ports: [{port: 80}]}\n")
	eventually(t, 10*time.Second, "a service without endpoints is 503", e.status(503))
	if s := e.p.err.String(); !strings.Contains(s, "edge.yaml:9:") || !strings.Contains(s, "warning:") {
		t.Errorf("no warning with its place: %s", clip(s))
	}
}

// TestGatewayStart has gateways that cannot start say why.
func TestGatewayStart(t *testing.T) {
	weft := bin(t, "weft")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	good := edgeDocument(taken.Addr().(*net.TCPAddr).Port, routeTo("a")+service("a", 9))
	for _, c := range []struct {
		name, document string
		args           []string
		code           int
		says           string
	}{
		{"an address in use", good, nil, 64, "default/edge/http"},
		{"a field that is none", strings.Replace(good, "listeners:", "listener:", 1), nil, 65, "edge.yaml:4:"},
		{"nothing to serve", service("a", 9), nil, 64, "gatewayClassName: weft"},
		{"another class", strings.Replace(good, "gatewayClassName: weft", "gatewayClassName: other", 1), nil, 64, "other"},
		{"only a check", good, []string{"--check"}, 0, ""},
		{"a bad address", good, []string{"--bind", "here"}, 64, "--bind"},
	} {
		file := filepath.Join(t.TempDir(), "edge.yaml")
		if err := os.WriteFile(file, []byte(c.document), 0o600); err != nil {
			t.Fatal(err)
		}
		args := append([]string{"gateway", "-f", file}, c.args...)
		if c.args == nil {
			args = append(args, "--bind", "127.0.0.1")
		}
		cmd := exec.CommandContext(t.Context(), weft, args...)
		var said bytes.Buffer
		cmd.Stdout, cmd.Stderr = &said, &said
		_ = cmd.Run()
		if got := cmd.ProcessState.ExitCode(); got != c.code || !strings.Contains(said.String(), c.says) {
			t.Errorf("%s: exit status %d, want %d and %q:\n%s", c.name, got, c.code, c.says, said.String())
		}
	}
}

// TestGatewayEnds drains at SIGTERM, and leaves no proxy behind when it is killed.
func TestGatewayEnds(t *testing.T) {
	slow := make(chan struct{})
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			slow <- struct{}{}
			time.Sleep(time.Second)
		}
		fmt.Fprint(w, "whole")
	}))
	defer s.Close()
	e := newEdge(t)
	e.write("services.yaml", service("a", s.Listener.Addr().(*net.TCPAddr).Port))
	eventually(t, 10*time.Second, "the slow program is behind the gateway", func() error { return e.answers("whole") })
	got := make(chan error, 1)
	go func() {
		resp, err := http.Get(e.url() + "slow")
		if err == nil {
			var b []byte
			if b, err = io.ReadAll(resp.Body); err == nil && string(b) != "whole" {
				err = fmt.Errorf("%s %q", resp.Status, b)
			}
			_ = resp.Body.Close()
		}
		got <- err
	}()
	<-slow
	e.p.stop(syscall.SIGTERM)
	if err := <-got; err != nil {
		t.Errorf("the request in flight: %v", err)
	}
	if c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", e.port), time.Second); err == nil {
		_ = c.Close()
		t.Error("the port still accepts")
	}

	killed := newEdge(t)
	_ = killed.p.cmd.Process.Kill()
	<-killed.p.done
	eventually(t, 60*time.Second, "the proxy ends too", func() error {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", killed.port), time.Second)
		if err != nil {
			return nil
		}
		_ = c.Close()
		return fmt.Errorf("it still accepts")
	})
}
