package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/porttest"
)

// bin returns the path of one of our programs.
func bin(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("WEFT_BIN")
	if dir == "" {
		t.Skip("WEFT_BIN is not set: run `make e2e`")
	}
	return filepath.Join(dir, name)
}

// needs skips a test without a program it drives.
func needs(t testing.TB, programs ...string) {
	t.Helper()
	for _, p := range programs {
		if _, err := exec.LookPath(p); err != nil {
			t.Skipf("%s is not installed", p)
		}
	}
}

// output collects what a process writes.
type output struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (o *output) Write(p []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.Write(p)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.b.String()
}

// process is a child that runs until it is stopped, or the test ends.
type process struct {
	t    testing.TB
	cmd  *exec.Cmd
	out  *output // standard output
	err  *output
	done chan struct{}

	stopped bool // by us
}

func start(t testing.TB, env []string, program string, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command(program, args...), out: &output{}, err: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.out, p.err
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		p.stop(syscall.SIGTERM)
		if t.Failed() {
			t.Logf("%s\nstdout: %s\nstderr: %s", p.cmd, clip(p.out.String()), clip(p.err.String()))
		}
	})
	return p
}

func clip(s string) string {
	const most = 4000
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

// stop signals the process and waits for it, killing it if that takes too long.
func (p *process) stop(sig syscall.Signal) {
	select {
	case <-p.done:
		return
	default:
	}
	p.stopped = true
	_ = p.cmd.Process.Signal(sig)
	timer := time.NewTimer(20 * time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		p.t.Errorf("%s did not end after %v", p.cmd, sig)
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

// mesh is a control plane of a test's own.
type mesh struct {
	t      testing.TB
	dir    string
	socket string
	serve  *process
	args   []string
	joined []*process
}

// newMesh starts a control plane in a directory of its own, with a path short enough for a socket.
func newMesh(t testing.TB, args ...string) *mesh {
	t.Helper()
	weft := bin(t, "weft")
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &mesh{t: t, dir: dir, socket: filepath.Join(dir, "weft.sock")}
	t.Cleanup(m.obituary)
	m.args = append([]string{"serve", "--data-dir", filepath.Join(dir, "data"), "--socket", m.socket}, args...)
	m.serve = start(t, nil, weft, m.args...)
	m.awaitReady()
	return m
}

// obituary tells, at the end of a test that failed, which programs had ended by themselves.
func (m *mesh) obituary() {
	for _, p := range m.joined {
		if m.t.Failed() && !p.stopped {
			m.t.Logf("ended by itself: %s\n%v: %s", p.cmd, p.cmd.ProcessState, clip(p.err.String()))
		}
	}
}

func (m *mesh) awaitReady() {
	m.t.Helper()
	eventually(m.t, 60*time.Second, "the control plane answers", func() error {
		if r := m.weft("get", "services"); r.code != 0 {
			return errors.New(r.stderr)
		}
		return nil
	})
}

// result is a command that has ended.
type result struct {
	stdout, stderr string
	code           int
}

// weft runs one command against the mesh.
func (m *mesh) weft(args ...string) result {
	m.t.Helper()
	ctx, cancel := context.WithTimeout(m.t.Context(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin(m.t, "weft"), args...)
	cmd.Env = append(os.Environ(), "WEFT_SOCKET="+m.socket)
	var out, err bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &err
	_ = cmd.Run()
	return result{out.String(), err.String(), cmd.ProcessState.ExitCode()}
}

// must is weft that has to succeed.
func (m *mesh) must(args ...string) string {
	m.t.Helper()
	r := m.weft(args...)
	if r.code != 0 {
		m.t.Fatalf("weft %s: exit status %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r.stdout
}

// run joins a program to the mesh until the test ends.
func (m *mesh) run(args ...string) *process {
	m.t.Helper()
	p := start(m.t, []string{"WEFT_SOCKET=" + m.socket}, bin(m.t, "weft"), append([]string{"run"}, args...)...)
	m.joined = append(m.joined, p)
	return p
}

// once runs a client of the mesh to its end.
func (m *mesh) once(service string, command ...string) result {
	m.t.Helper()
	return m.weft(append([]string{"run", "--service", service, "--"}, command...)...)
}

// ready waits until a service has so many endpoints.
func (m *mesh) ready(service string, n int) {
	m.t.Helper()
	eventually(m.t, 60*time.Second, fmt.Sprintf("%s has %d endpoints", service, n), func() error {
		if got := len(m.endpoints(service)); got != n {
			return fmt.Errorf("it has %d", got)
		}
		return nil
	})
}

// endpoint is as `weft proxy-config` and `get services -o json` show it.
type endpoint struct {
	ID      string `json:"id"`
	Address string `json:"address"`
}

// endpoints returns those of a service.
func (m *mesh) endpoints(service string) []endpoint {
	m.t.Helper()
	r := m.weft("get", "services", service, "-o", "json")
	if r.code != 0 {
		return nil
	}
	var found []endpoint
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			id, isID := v["id"].(string)
			at, isAt := v["address"].(string)
			if isID && isAt && strings.Contains(at, ":") {
				found = append(found, endpoint{id, at})
			}
			for _, c := range v {
				walk(c)
			}
		case []any:
			for _, c := range v {
				walk(c)
			}
		}
	}
	var doc any
	if err := json.Unmarshal([]byte(r.stdout), &doc); err != nil {
		m.t.Fatalf("get services -o json: %v\n%s", err, r.stdout)
	}
	walk(doc)
	return found
}

// file writes a file into the mesh's directory.
func (m *mesh) file(name, text string) string {
	m.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		m.t.Fatal(err)
	}
	return path
}

// eventually polls until f returns nil.
func eventually(t testing.TB, within time.Duration, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(within); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s: %v", within, what, err)
		}
	}
}

// freePort returns a port for a program that is told where to listen.
func freePort(t testing.TB) int {
	t.Helper()
	port, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
