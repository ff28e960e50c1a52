package local

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/porttest"
	"github.com/weft-mesh/weft/internal/redirect"
)

// output is a buffer that may be read while it is written.
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

type fixture struct {
	o         RunOptions
	out, logs *output
	dir       string
	started   chan Status
	signals   chan os.Signal
}

func newFixture(t *testing.T, command ...string) *fixture {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("", "weft")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	f := &fixture{out: new(output), logs: new(output), dir: dir, started: make(chan Status, 1), signals: make(chan os.Signal, 4)}
	f.o = RunOptions{
		Service: "web", Capture: CaptureExplicit, Command: command, Proxy: self,
		Admin: control{}, Logger: slog.New(slog.NewTextHandler(f.logs, nil)), Env: append(os.Environ(), "XDG_RUNTIME_DIR="+dir),
		Stdout: f.out, Stderr: f.out, ProxyOutput: f.logs, Signals: f.signals,
		Started:      func(s Status) { f.started <- s },
		ProgramGrace: 5 * time.Second, ProxyGrace: 5 * time.Second,
	}
	return f
}

// wantClean checks that nothing of the run remains.
func (f *fixture) wantClean(t *testing.T) {
	t.Helper()
	left, _ := filepath.Glob(filepath.Join(f.dir, "weft-run", "*"))
	if len(left) > 0 {
		t.Errorf("runtime directories remain: %v", left)
	}
}

type outcome struct {
	code int
	err  error
}

func (f *fixture) start(t *testing.T) chan outcome {
	done := make(chan outcome, 1)
	go func() {
		code, err := Run(t.Context(), f.o)
		done <- outcome{code, err}
	}()
	return done
}

func (f *fixture) awaitStart(t *testing.T, done chan outcome) Status {
	t.Helper()
	select {
	case s := <-f.started:
		return s
	case o := <-done:
		t.Fatalf("ended early: %d %v\n%s", o.code, o.err, f.logs)
	case <-time.After(60 * time.Second):
		t.Fatal("not started: ", f.logs)
	}
	return Status{}
}

func TestExitStatus(t *testing.T) {
	for _, c := range []struct {
		command []string
		want    int
		err     string
	}{
		{[]string{"true"}, 0, ""},
		{[]string{"sh", "-c", "exit 7"}, 7, ""},
		{[]string{"sh", "-c", "kill -9 $$"}, 137, ""},
		{[]string{"sh", "-c", "kill -TERM $$"}, 143, ""},
		{[]string{"no-such-program-here"}, 127, "not found"},
		{[]string{"/etc/passwd"}, 126, "permission denied"},
		{[]string{"/no/such/file"}, 127, "no such file"},
	} {
		t.Run(strings.Join(c.command, " "), func(t *testing.T) {
			f := newFixture(t, c.command...)
			code, err := Run(t.Context(), f.o)
			if code != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %d, %v; want %d, %q\n%s", code, err, c.want, c.err, f.logs)
			}
			var e *Error
			if err != nil && (!errors.As(err, &e) || e.ExitCode() != c.want) {
				t.Errorf("error carries another status: %v", err)
			}
			f.wantClean(t)
		})
	}
}

func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	taken := l.Addr().(*net.TCPAddr).Port
	for _, c := range []struct {
		name   string
		change func(*RunOptions)
		code   int
		err    string
	}{
		{"no service", func(o *RunOptions) { o.Service = "" }, 64, "--service"},
		{"bad port", func(o *RunOptions) { o.Ports = []string{"80:x"} }, 64, `"x" is not a number`},
		{"same port", func(o *RunOptions) { o.Ports = []string{"80:81", "80:82"} }, 64, "twice"},
		{"bad upstream", func(o *RunOptions) { o.Upstreams = []string{"A:1"} }, 64, "--upstream"},
		{"bad capture", func(o *RunOptions) { o.Capture = "magic" }, 64, "--capture"},
		{"bad label", func(o *RunOptions) { o.Labels = []string{"x"} }, 64, "KEY=VALUE"},
		{"proxy missing", func(o *RunOptions) { o.Proxy = "/no/weft-proxy" }, 69, "--proxy"},
		{"proxy fails", func(o *RunOptions) { o.Proxy = "false" }, 69, "ended before it was ready"},
		{"port in use", func(o *RunOptions) { o.Ports = []string{strconv.Itoa(taken)} }, 69, "in use by another program"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := newFixture(t, "true")
			c.change(&f.o)
			code, err := Run(t.Context(), f.o)
			if code != c.code || err == nil || !strings.Contains(err.Error(), c.err) {
				t.Errorf("got %d, %v; want %d, %q", code, err, c.code, c.err)
			}
			f.wantClean(t)
		})
	}
}

func TestExplicitEnvironment(t *testing.T) {
	f := newFixture(t, "sh", "-c", "echo $HTTP_PROXY $http_proxy $NO_PROXY $RATINGS_SERVICE_HOST:$RATINGS_SERVICE_PORT")
	f.o.Upstreams = []string{"ratings:9080"}
	code, err := Run(t.Context(), f.o)
	if code != 0 || err != nil {
		t.Fatal(code, err)
	}
	s := <-f.started
	want := fmt.Sprintf("http://%[1]s http://%[1]s localhost,127.0.0.1,::1 %s\n", s.Proxy.HTTPProxy, s.Proxy.Upstreams["ratings.default:9080"])
	if f.out.String() != want {
		t.Errorf("got %q, want %q", f.out, want)
	}
	if !strings.Contains(f.logs.String(), "weft: capture: explicit (as asked)") {
		t.Error(f.logs)
	}
}

// The order at the end: leave, the signal to the program, the proxy drains.
func TestEndsInOrder(t *testing.T) {
	for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			port := freePort(t)
			f := newFixture(t, "sh", "-c", `trap 'echo proxy: got term; exit 5' TERM; trap 'echo proxy: got int; exit 6' INT; echo program up; while :; do sleep 0.05; done`)
			f.o.Stdout, f.o.Ports = f.logs, []string{strconv.Itoa(port)}
			done := f.start(t)
			f.awaitStart(t, done)
			waitFor(t, "the program", func() bool { return strings.Contains(f.logs.String(), "program up") })
			f.signals <- sig
			got := <-done
			name, code := "term", 5
			if sig == syscall.SIGINT {
				name, code = "int", 6
			}
			if got.code != code || got.err != nil {
				t.Errorf("got %v, want %d", got, code)
			}
			log := f.logs.String()
			at := []int{strings.Index(log, "proxy: leave"), strings.Index(log, "proxy: got "+name), strings.Index(log, "proxy: drained")}
			if at[0] < 0 || at[1] < at[0] || at[2] < at[1] {
				t.Errorf("order %v in %s", at, log)
			}
			f.wantClean(t)
		})
	}
}

func TestSignalsAreForwarded(t *testing.T) {
	f := newFixture(t, "python3", "-c", `import signal,time,sys
for s in ("HUP","USR1","USR2","WINCH","QUIT"): signal.signal(getattr(signal,"SIG"+s), lambda n,f: print(signal.Signals(n).name, flush=True))
print("up", flush=True)
while True: time.sleep(0.05)`)
	done := f.start(t)
	f.awaitStart(t, done)
	waitFor(t, "the program", func() bool { return strings.Contains(f.out.String(), "up") })
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGUSR1, syscall.SIGUSR2, syscall.SIGWINCH, syscall.SIGQUIT} {
		f.signals <- s
		name := map[syscall.Signal]string{syscall.SIGHUP: "SIGHUP", syscall.SIGUSR1: "SIGUSR1", syscall.SIGUSR2: "SIGUSR2", syscall.SIGWINCH: "SIGWINCH", syscall.SIGQUIT: "SIGQUIT"}[s]
		waitFor(t, name, func() bool { return strings.Contains(f.out.String(), name) })
	}
	f.signals <- syscall.SIGTERM
	if got := <-done; got.code != 143 {
		t.Error(got)
	}
}

func TestStubbornProgramIsKilled(t *testing.T) {
	f := newFixture(t, "sh", "-c", `trap '' TERM; echo up; while :; do sleep 0.05; done`)
	f.o.ProgramGrace = 300 * time.Millisecond
	done := f.start(t)
	f.awaitStart(t, done)
	waitFor(t, "the program", func() bool { return strings.Contains(f.out.String(), "up") })
	f.signals <- syscall.SIGTERM
	if got := <-done; got.code != 137 {
		t.Error(got)
	}
}

func TestContextEndsRun(t *testing.T) {
	f := newFixture(t, "sleep", "60")
	ctx, cancel := context.WithCancel(t.Context())
	f.o.Started = func(Status) { cancel() }
	if code, err := Run(ctx, f.o); code != 143 || err != nil {
		t.Error(code, err)
	}
	f.wantClean(t)
}

func TestProxyComesBackOnItsPorts(t *testing.T) {
	f := newFixture(t, "sleep", "60")
	f.o.Upstreams = []string{"ratings"}
	done := f.start(t)
	s := f.awaitStart(t, done)
	if err := syscall.Kill(s.ProxyPID, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	waitFor(t, "the proxy", func() bool { return strings.Contains(f.logs.String(), "the proxy is back") })
	var again string
	for line := range strings.Lines(f.logs.String()) {
		if strings.HasPrefix(line, "proxy: args") {
			again = line
		}
	}
	for _, want := range []string{"--inbound " + s.Proxy.Inbound, "--http-proxy " + s.Proxy.HTTPProxy, "ratings.default:80=" + s.Proxy.Upstreams["ratings.default:80"]} {
		if !strings.Contains(again, want) {
			t.Errorf("%q is not in %q", want, again)
		}
	}
	if n := strings.Count(f.logs.String(), "the proxy died"); n != 1 {
		t.Errorf("said %d times", n)
	}
	f.signals <- syscall.SIGTERM
	<-done
	f.wantClean(t)
}

func TestRealPrograms(t *testing.T) {
	for _, c := range []struct {
		name string
		args func(port int, dir string) []string
	}{
		{"python3", func(port int, dir string) []string {
			return []string{"python3", "-m", "http.server", strconv.Itoa(port), "--directory", dir}
		}},
		{"node", func(port int, _ string) []string {
			return []string{"node", "-e", fmt.Sprintf(`require("http").createServer((q,r)=>r.end("ok")).listen(%d)`, port)}
		}},
		{"nginx", func(port int, dir string) []string {
			conf := filepath.Join(dir, "nginx.conf")
			text := fmt.Sprintf("pid %s/pid; error_log stderr; events {} http { access_log off; server { listen %d; location / { return 200 ok; } } }", dir, port)
			if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			return []string{"nginx", "-c", conf, "-g", "daemon off;"}
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if _, err := exec.LookPath(c.name); err != nil {
				t.Skip(err)
			}
			port := freePort(t)
			f := newFixture(t, c.args(port, t.TempDir())...)
			f.o.Ports = []string{"80:" + strconv.Itoa(port) + "/http"}
			done := f.start(t)
			f.awaitStart(t, done)
			tr := &http.Transport{DisableKeepAlives: true}
			waitFor(t, c.name, func() bool {
				resp, err := (&http.Client{Transport: tr}).Get(fmt.Sprintf("http://127.0.0.1:%d/", port))
				if err != nil {
					return false
				}
				resp.Body.Close()
				return resp.StatusCode == http.StatusOK
			})
			f.signals <- syscall.SIGTERM
			if got := <-done; got.err != nil {
				t.Error(got)
			}
			f.wantClean(t)
		})
	}
}

func TestDaemonIsTold(t *testing.T) {
	port := freePort(t)
	f := newFixture(t, "sh", "-c", fmt.Sprintf(`python3 -m http.server %d >/dev/null 2>&1 & 
while ! python3 -c 'import socket; socket.create_connection(("127.0.0.1",%d))' 2>/dev/null; do sleep 0.05; done`, port, port))
	f.o.Ports = []string{strconv.Itoa(port)}
	if code, err := Run(t.Context(), f.o); code != 0 || err != nil {
		t.Error(code, err)
	}
	if !strings.Contains(f.logs.String(), "went to the background") {
		t.Error(f.logs)
	}
}

func TestCaptureByEBPF(t *testing.T) {
	if reason, ok := redirect.Supported(); !ok {
		t.Skip(reason)
	}
	f := newFixture(t, "sh", "-c", `echo "proxy=$HTTP_PROXY"; grep -c weft/ /proc/self/cgroup; sleep 300 & exit 3`)
	f.o.Capture = CaptureAuto
	f.o.Stdout = nil // the sleep would keep a pipe open
	file := filepath.Join(t.TempDir(), "out")
	w, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	f.o.Stdout = w
	code, err := Run(t.Context(), f.o)
	if code != 3 || err != nil {
		t.Error(code, err, f.logs)
	}
	s := <-f.started
	out, _ := os.ReadFile(file)
	if s.Capture != CaptureEBPF || string(out) != "proxy=\n1\n" {
		t.Errorf("capture %s, program saw %q", s.Capture, out)
	}
	if strings.Contains(f.logs.String(), "something of the run remains") || !strings.Contains(f.logs.String(), "weft: capture: ebpf") {
		t.Error(f.logs)
	}
	f.wantClean(t)
}

// superviseForKill is a run in a process of its own; it prints its children's ids.
func superviseForKill() int {
	self, _ := os.Executable()
	code, err := Run(context.Background(), RunOptions{
		Service: "web", Capture: CaptureAuto, Command: []string{"sleep", "300"}, Proxy: self,
		Admin: control{}, Logger: slog.New(slog.DiscardHandler), Stdout: os.Stdout, Stderr: os.Stderr,
		Env:     append(os.Environ(), "WEFT_TEST_SUPERVISE="),
		Started: func(s Status) { fmt.Printf("%d %d %s\n", s.ProgramPID, s.ProxyPID, s.ID) },
	})
	fmt.Fprintln(os.Stderr, code, err)
	return code
}

func TestKillTakesBothDown(t *testing.T) {
	f := newFixture(t, "true")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self)
	cmd.Env = append(f.o.Env, "WEFT_TEST_SUPERVISE=1")
	out := new(output)
	cmd.Stdout, cmd.WaitDelay = out, time.Second
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var program, proxy int
	var id string
	waitFor(t, "the run", func() bool {
		n, _ := fmt.Sscanf(out.String(), "%d %d %s\n", &program, &proxy, &id)
		return n == 3
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	waitFor(t, "the end of both", func() bool { return !alive(program) && !alive(proxy) })
	// The next run removes what the dead one left, control groups among it.
	f.o.Capture = CaptureAuto
	if code, err := Run(t.Context(), f.o); code != 0 || err != nil {
		t.Fatal(code, err)
	}
	f.wantClean(t)
	for _, mount := range []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"} {
		if left, _ := filepath.Glob(filepath.Join(mount, "weft", id)); len(left) > 0 {
			t.Errorf("control groups remain: %v", left)
		}
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	port, err := porttest.Free()
	if err != nil {
		t.Fatal(err)
	}
	return port
}
