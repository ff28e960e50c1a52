package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"sort"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Settings of the programs below, which have only one argument.
const (
	envName = "WEFT_E2E_NAME" // what http-server answers
	envLast = "WEFT_E2E_LAST" // file for what http-server saw when it was told to end
)

// actor runs this test binary in the mesh in one of its roles; flags are those of `weft run`.
func (m *mesh) actor(role, arg string, env []string, flags ...string) *process {
	m.t.Helper()
	self, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	args := append(append([]string{"run"}, flags...), "--", self, arg)
	p := start(m.t, append(env, "WEFT_SOCKET="+m.socket, child+"="+role), bin(m.t, "weft"), args...)
	m.joined = append(m.joined, p)
	return p
}

// httpService joins an HTTP server that answers its name and the trace headers it got.
func (m *mesh) httpService(service, version string, env ...string) *process {
	m.t.Helper()
	port := fmt.Sprint(freePort(m.t))
	return m.actor("http-server", port, append(env, envName+"="+version), "--service", service, "--version", version, "--port", "80:"+port)
}

// join runs a client of the mesh to its end.
func (m *mesh) join(role, arg string) *process {
	m.t.Helper()
	p := m.actor(role, arg, nil, "--service", "load")
	m.joined = m.joined[:len(m.joined)-1] // it is to end by itself
	select {
	case <-p.done:
	case <-m.t.Context().Done():
		m.t.Fatal(m.t.Context().Err())
	}
	return p
}

// httpServer answers until SIGTERM. Then it writes down what the mesh still does for it, and ends with 7.
func httpServer(port string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "%s traceparent=%s b3=%s", os.Getenv(envName), r.Header.Get("traceparent"), r.Header.Get("b3"))
	})}
	go func() { _ = s.Serve(ln) }()
	<-stop
	if last := os.Getenv(envLast); last != "" {
		if err := os.WriteFile(last, []byte(lastSight()), 0o600); err != nil {
			return err
		}
		os.Exit(7)
	}
	return s.Close()
}

// lastSight tells whether the program's endpoint is still listed, and whether it can still call others.
func lastSight() string {
	listed, err := exec.Command("weft", "get", "services", "leaver", "-o", "json").CombinedOutput()
	if err != nil {
		return fmt.Sprintf("get: %v\n%s", err, listed)
	}
	resp, err := http.Get("http://web/")
	if err != nil {
		return fmt.Sprintf("call: %v", err)
	}
	resp.Body.Close()
	return fmt.Sprintf("listed=%t call=%d", strings.Contains(string(listed), `"address"`), resp.StatusCode)
}

// steadyClient sends 200 requests a second until SIGTERM and tells how many were not answered 200.
func steadyClient(url string) error {
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	results := make(chan error, 4096)
	sent, ended, failed := 0, 0, 0
	var first error
	count := func(err error) {
		if ended++; err != nil {
			if failed++; first == nil {
				first = err
			}
		}
	}
	for running := true; running || ended < sent; {
		select {
		case <-stop:
			running = false
		case err := <-results:
			if ended == 0 {
				fmt.Println("answered")
			}
			count(err)
		case <-tick.C:
			if running {
				sent++
				go func() { results <- get(c, url) }()
			}
		}
	}
	fmt.Printf("sent=%d failed=%d first=%v\n", sent, failed, first)
	return nil
}

func get(c *http.Client, url string) error {
	resp, err := c.Get(url)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s %s: %s", resp.Status, resp.Header.Get("weft-failure"), b)
	}
	return err
}

// tallyClient makes COUNT requests of "COUNT URL" and prints how many were answered by whom.
func tallyClient(arg string) error {
	var n int
	var url string
	if _, err := fmt.Sscan(arg, &n, &url); err != nil {
		return err
	}
	tally := map[string]int{}
	for range n {
		resp, err := http.Get(url)
		if err != nil {
			return err
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil {
			return err
		}
		who, _, _ := strings.Cut(string(b), " ")
		if resp.StatusCode != http.StatusOK {
			who = fmt.Sprint(resp.StatusCode)
		}
		tally[who]++
	}
	var lines []string
	for who, n := range tally {
		lines = append(lines, fmt.Sprintf("%s=%d", who, n))
	}
	sort.Strings(lines)
	fmt.Println(strings.Join(lines, " "))
	return nil
}

// steady starts a steady client of a URL and waits for its first answer. The function it returns ends it, and fails the test if a request
// failed or fewer than least were sent.
func (m *mesh) steady(url string) (end func(least int)) {
	m.t.Helper()
	p := m.actor("steady", url, nil, "--service", "steady")
	eventually(m.t, 10*time.Second, "the steady client has its first answer", func() error {
		if !strings.HasPrefix(p.out.String(), "answered\n") {
			return fmt.Errorf("it says %q %s", p.out.String(), clip(p.err.String()))
		}
		return nil
	})
	return func(least int) {
		m.t.Helper()
		p.stop(syscall.SIGTERM)
		var sent, failed int
		if _, err := fmt.Sscanf(p.out.String(), "answered\nsent=%d failed=%d", &sent, &failed); err != nil || failed > 0 || sent < least {
			m.t.Errorf("the steady client: %s%s", p.out.String(), clip(p.err.String()))
		}
		m.t.Log(strings.Fields(p.out.String()))
	}
}

// withBin puts our programs into PATH, for programs that call them.
func withBin(t testing.TB) string {
	t.Helper()
	_ = bin(t, "weft")
	return "PATH=" + os.Getenv("WEFT_BIN") + string(os.PathListSeparator) + os.Getenv("PATH")
}
