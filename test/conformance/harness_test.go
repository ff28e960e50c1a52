package conformance

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"
)

// suites is where TestMain has built the programs of other projects.
var suites string

func TestMain(m *testing.M) {
	if os.Getenv(wrapperMode) != "" {
		wrap()
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "weft-suites-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	suites = dir
	for name, pkg := range map[string]string{
		"h2spec":             "github.com/summerwind/h2spec/cmd/h2spec",
		"interop-client":     "google.golang.org/grpc/interop/client",
		"interop-server":     "google.golang.org/grpc/interop/server",
		"connectconformance": "connectrpc.com/conformance/cmd/connectconformance",
		"referenceserver":    "connectrpc.com/conformance/cmd/referenceserver",
		"pebble":             "github.com/letsencrypt/pebble/v2/cmd/pebble",
	} {
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), pkg).CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "build %s: %v\n%s", name, err, out)
			return 1
		}
	}
	return m.Run()
}

// bin returns the path of one of our programs.
func bin(t testing.TB, name string) string {
	t.Helper()
	dir := os.Getenv("WEFT_BIN")
	if dir == "" {
		t.Skip("WEFT_BIN is not set: run `make conformance`")
	}
	return filepath.Join(dir, name)
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

// process is a child that ends with the test.
type process struct {
	cmd  *exec.Cmd
	said *output
	done chan struct{}
}

func launch(env []string, program string, args ...string) (*process, error) {
	p := &process{cmd: exec.Command(program, args...), said: &output{}, done: make(chan struct{})}
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = p.said, p.said
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	p.cmd.WaitDelay = time.Second
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		_ = p.cmd.Wait()
	}()
	return p, nil
}

func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	timer := time.NewTimer(15 * time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func start(t testing.TB, env []string, program string, args ...string) *process {
	t.Helper()
	p, err := launch(env, program, args...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s\n%s", p.cmd, tail(p.said.String()))
		}
	})
	return p
}

func tail(s string) string {
	const most = 6000
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

// listening waits until an address accepts.
func (p *process) listening(addr string) error {
	deadline := time.Now().Add(60 * time.Second)
	for {
		c, err := net.DialTimeout("tcp", addr, time.Second)
		if err == nil {
			return c.Close()
		}
		select {
		case <-p.done:
			return fmt.Errorf("%s ended: %s", p.cmd, tail(p.said.String()))
		default:
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s does not listen on %s: %s", p.cmd, addr, tail(p.said.String()))
		}
		time.Sleep(20 * time.Millisecond)
	}
}

// freePort returns a port that nobody has, below those the kernel chooses from: what is started meanwhile does not get it.
func freePort() (int, error) {
	const lowest, ceiling = 12_000, 32_768
	for range 1_000 {
		port := lowest + rand.IntN(ceiling-lowest)
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			return port, ln.Close()
		}
	}
	return 0, errors.New("no port is free")
}

// gateway is a hop: where it listens, what it leads to.
type gateway struct {
	port        int
	backend     int
	protocol    string // appProtocol
	certificate string // PEM files; "" is no TLS
	key         string
}

// document writes the hop as Gateway API documents.
func (g *gateway) document() string {
	listener := "protocol: HTTP"
	if g.certificate != "" {
		listener = fmt.Sprintf("protocol: HTTPS, tls: {mode: Terminate, options: {weft.dev/certificate-file: %s, weft.dev/key-file: %s}}", g.certificate, g.key)
	}
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: in, port: %d, %s}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: all}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: backend, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: backend}
spec: {ports: [{name: main, port: 80, appProtocol: %s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: backend-1, labels: {kubernetes.io/service-name: backend}}
addressType: IPv4
ports: [{name: main, port: %d}]
endpoints: [{addresses: [127.0.0.1]}]
`, g.port, listener, g.protocol, g.backend)
}

// launch runs the hop.
func (g *gateway) launch(weft, dir string) (*process, error) {
	var err error
	if g.port, err = freePort(); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, fmt.Sprintf("edge-%d.yaml", g.port))
	if err := os.WriteFile(file, []byte(g.document()), 0o600); err != nil {
		return nil, err
	}
	p, err := launch(nil, weft, "gateway", "-f", file, "--bind", "127.0.0.1", "--log-level", "warn")
	if err != nil {
		return nil, err
	}
	if err := p.listening(fmt.Sprintf("127.0.0.1:%d", g.port)); err != nil {
		p.stop()
		return nil, err
	}
	return p, nil
}

// hop runs a gateway for a test and returns its port.
func hop(t testing.TB, g *gateway) int {
	t.Helper()
	p, err := g.launch(bin(t, "weft"), t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("gateway\n%s", tail(p.said.String()))
		}
	})
	return g.port
}

// mesh is a control plane.
type mesh struct{ dir, socket string }

// newMesh starts a control plane, with a path short enough for a socket.
func newMesh(t testing.TB) *mesh {
	t.Helper()
	weft := bin(t, "weft")
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	m := &mesh{dir: dir, socket: filepath.Join(dir, "weft.sock")}
	start(t, nil, weft, "serve", "--data-dir", filepath.Join(dir, "data"), "--socket", m.socket)
	deadline := time.Now().Add(60 * time.Second)
	for {
		out, err := exec.Command(weft, "get", "services", "--socket", m.socket).CombinedOutput()
		if err == nil {
			return m
		}
		if time.Now().After(deadline) {
			t.Fatalf("the control plane does not answer: %s", out)
		}
		time.Sleep(50 * time.Millisecond)
	}
}

func (m *mesh) env() []string { return []string{"WEFT_SOCKET=" + m.socket, "XDG_RUNTIME_DIR=" + m.dir} }

// sidecars runs a program that listens on port in the mesh, and a client's sidecar; it returns the client's
// local port for the program. stdin and stdout are the program's.
func (m *mesh) sidecars(weft, protocol string, port int, program []string) (local int, processes []*process, err error) {
	name := fmt.Sprintf("s%d", port)
	local, err = freePort()
	if err != nil {
		return 0, nil, err
	}
	server, err := launch(m.env(), weft, append([]string{
		"run", "--service", name, "--port", fmt.Sprintf("80:%d/%s", port, protocol), "--capture", "explicit", "--",
	}, program...)...)
	if err != nil {
		return 0, nil, err
	}
	client, err := m.client(weft, name, local)
	if err != nil {
		server.stop()
		return 0, nil, err
	}
	return local, []*process{client, server}, nil
}

// client runs a sidecar with a local port for a service.
func (m *mesh) client(weft, service string, local int) (*process, error) {
	client, err := launch(m.env(), weft, "run", "--service", "c"+service, "--upstream", fmt.Sprintf("%s:80=%d", service, local), "--capture", "explicit", "--", "sleep", "600")
	if err != nil {
		return nil, err
	}
	if err := client.listening(fmt.Sprintf("127.0.0.1:%d", local)); err != nil {
		client.stop()
		return nil, err
	}
	return client, nil
}

// pair runs a program in the mesh for a test and returns a local port that leads to it through both sidecars.
func (m *mesh) pair(t testing.TB, protocol string, port int, program ...string) int {
	t.Helper()
	local, processes, err := m.sidecars(bin(t, "weft"), protocol, port, program)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range processes {
		t.Cleanup(func() {
			p.stop()
			if t.Failed() {
				t.Logf("%s\n%s", p.cmd, tail(p.said.String()))
			}
		})
	}
	return local
}

// eventually calls f until it has no error.
func eventually(t testing.TB, f func() error) {
	t.Helper()
	deadline := time.Now().Add(60 * time.Second)
	for {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
