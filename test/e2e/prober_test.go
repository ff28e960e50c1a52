package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync"
	"testing"
	"time"
)

// client is a program of the mesh that makes requests when the test tells it to. Its proxy stays the same, and so does
// what that knows of endpoints.
type client struct {
	m    *mesh
	p    *process
	port int
}

// prober starts a client; flags are those of `weft run`.
func (m *mesh) prober(flags ...string) *client {
	m.t.Helper()
	c := &client{m: m, port: freePort(m.t)}
	c.p = m.actor("prober", fmt.Sprint(c.port), nil, append([]string{"--service", "load"}, flags...)...)
	eventually(m.t, 30*time.Second, "the client is there", func() error {
		conn, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", c.port), time.Second)
		if err == nil {
			_ = conn.Close()
		}
		return err
	})
	return c
}

// tell has the program make n GET requests by some callers at once, and returns how many had each content; a status
// other than 200 is told as such.
func (c *client) tell(n, callers int, target string) map[string]int {
	c.m.t.Helper()
	q := url.Values{"n": {fmt.Sprint(n)}, "callers": {fmt.Sprint(callers)}, "url": {target}}
	h := &http.Client{Timeout: 2 * time.Minute}
	resp, err := h.Get(fmt.Sprintf("http://127.0.0.1:%d/?%s", c.port, q.Encode()))
	if err != nil {
		c.m.t.Fatal(err)
	}
	defer resp.Body.Close()
	tally := map[string]int{}
	if err := json.NewDecoder(resp.Body).Decode(&tally); err != nil {
		c.m.t.Fatalf("%s: %v", resp.Status, err)
	}
	return tally
}

// prober is the program of client.
func prober(port string) error {
	calls := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n, err := strconv.Atoi(r.FormValue("n"))
		callers, err2 := strconv.Atoi(r.FormValue("callers"))
		if err != nil || err2 != nil || n > 100_000 || callers > 64 {
			http.Error(w, "n and callers are numbers up to 100000 and 64", http.StatusBadRequest)
			return
		}
		var (
			wg    sync.WaitGroup
			mu    sync.Mutex
			tally = map[string]int{}
		)
		for c := range callers {
			wg.Go(func() {
				for i := c; i < n; i += callers {
					said := contentOf(calls, r.FormValue("url"))
					mu.Lock()
					tally[said]++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		_ = json.NewEncoder(w).Encode(tally)
	}))
}

func contentOf(c *http.Client, target string) string {
	resp, err := c.Get(target)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 200))
	switch {
	case err != nil:
		return err.Error()
	case resp.StatusCode != http.StatusOK:
		return fmt.Sprintf("%d %s: %s", resp.StatusCode, resp.Header.Get("weft-failure"), b)
	}
	return string(b)
}

// envSick is the file whose presence makes mortalServer's health check fail.
const envSick = "WEFT_E2E_SICK"

// mortalServer answers its name; while its file is there it says that it is not healthy.
func mortalServer(port string) error {
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := os.Stat(os.Getenv(envSick)); err == nil && r.URL.Path == "/health" {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprint(w, os.Getenv(envName))
	}))
}

// mortal joins a mortalServer; the function it returns makes it sick or well.
func (m *mesh) mortal(t testing.TB, service, name string, flags ...string) (p *process, sick func(bool)) {
	t.Helper()
	port, file := fmt.Sprint(freePort(t)), m.dir+"/sick-"+name
	env := []string{envName + "=" + name, envSick + "=" + file}
	p = m.actor("mortal-server", port, env, append([]string{"--service", service, "--port", "80:" + port}, flags...)...)
	return p, func(ill bool) {
		t.Helper()
		err := os.Remove(file)
		if ill {
			err = os.WriteFile(file, nil, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
}
