package e2e

import (
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// guarded is a `weft gateway` in front of one service, web, with a TrafficPolicy.
type guarded struct {
	*edge
	client *http.Client
}

// fleetService is a Service with an endpoint for each port; those of an address differ by their slice's port.
func fleetService(ports ...int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{name: main, port: 80}]}\n")
	for i, port := range ports {
		fmt.Fprintf(&b, `---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-%d, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: main, port: %d}]
endpoints: [{addresses: [127.0.0.1]}]
`, i, port)
	}
	return b.String()
}

func policyDocument(spec string) string {
	return "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: web}\nspec:\n  targetRefs: [{kind: Service, name: web}]\n" + spec
}

func newGuarded(t *testing.T, policy string, ports ...int) *guarded {
	t.Helper()
	port := freePort(t)
	files := map[string]string{"edge.yaml": edgeDocument(port, routeTo("web")), "web.yaml": fleetService(ports...)}
	if policy != "" {
		files["policy.yaml"] = policyDocument(policy)
	}
	g := &guarded{edge: runEdge(t, port, files), client: &http.Client{
		Timeout: 20 * time.Second, Transport: &http.Transport{MaxIdleConnsPerHost: 64},
	}}
	t.Cleanup(g.client.CloseIdleConnections)
	return g
}

// get makes a request and returns its status and content.
func (g *guarded) get(fields ...string) (int, string) {
	req, err := http.NewRequestWithContext(g.t.Context(), "GET", g.url(), nil)
	if err != nil {
		return 0, err.Error()
	}
	for i := 0; i < len(fields); i += 2 {
		req.Header.Set(fields[i], fields[i+1])
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, err.Error()
	}
	return resp.StatusCode, string(b)
}

// load makes n requests by some clients at once and returns how long each took.
func (g *guarded) load(n, clients int, each func(status int, body string)) []time.Duration {
	var (
		next  atomic.Int64
		mu    sync.Mutex
		wg    sync.WaitGroup
		times []time.Duration
	)
	for range clients {
		wg.Go(func() {
			for next.Add(1) <= int64(n) {
				began := time.Now()
				status, body := g.get()
				took := time.Since(began)
				mu.Lock()
				times = append(times, took)
				each(status, body)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	return times
}

func quantile(d []time.Duration, q float64) time.Duration {
	slices.Sort(d)
	return d[min(len(d)-1, int(q*float64(len(d))))]
}

// behaving runs a program.
func behaving(t testing.TB, h http.HandlerFunc) int {
	t.Helper()
	s := httptest.NewServer(h)
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// TestRetryBudget: a budget of 20% holds retries to 20% of the requests during a full outage.
func TestRetryBudget(t *testing.T) {
	var calls atomic.Int64
	down := behaving(t, func(w http.ResponseWriter, _ *http.Request) { calls.Add(1); w.WriteHeader(503) })
	g := newGuarded(t, "  retries: {attempts: 3, on: [5xx], backoff: {base: 1ms, max: 1ms}, budget: {percent: 20%, minPerSecond: 0}}\n", down)
	const n = 3000
	g.load(n, 8, func(status int, _ string) {
		if status != 503 {
			t.Errorf("status %d", status)
		}
	})
	extra := float64(calls.Load()-n) / n
	t.Logf("%d requests, %d retries: %.1f%%", n, calls.Load()-n, 100*extra)
	if extra > 0.201 || extra < 0.19 {
		t.Errorf("retries are %.1f%% of the requests, want 19%% to 20.1%%", 100*extra)
	}
}

// TestEjectionEndsTheHarm: with one of four endpoints failing half of its requests, success is 99.5% at least within 10 s.
func TestEjectionEndsTheHarm(t *testing.T) {
	var n atomic.Int64
	flaky := behaving(t, func(w http.ResponseWriter, _ *http.Request) {
		if n.Add(1)%2 == 0 {
			w.WriteHeader(500)
		}
	})
	g := newGuarded(t, "  ejection: {successRate: {below: 80%, minRequests: 10, window: 5s}, penalty: {base: 30s}}\n",
		flaky, named(t, "b"), named(t, "c"), named(t, "d"))
	began, failed := time.Now(), 0
	for time.Since(began) < 8*time.Second && failed < 1000 {
		if status, _ := g.get(); status != 200 {
			failed++
		}
		time.Sleep(2 * time.Millisecond)
	}
	var good, all int
	g.load(2000, 4, func(status int, _ string) {
		if all++; status == 200 {
			good++
		}
	})
	t.Logf("%d failures before, then %d of %d are good", failed, good, all)
	if float64(good) < 0.995*float64(all) {
		t.Errorf("%d of %d are good, want 99.5%%", good, all)
	}
}

// TestPeakEWMABeatsRoundRobin: with one slow endpoint of four its 99th percentile is half of round robin's at most.
func TestPeakEWMABeatsRoundRobin(t *testing.T) {
	slow := behaving(t, func(http.ResponseWriter, *http.Request) { time.Sleep(150 * time.Millisecond) })
	ports := []int{slow, named(t, "b"), named(t, "c"), named(t, "d")}
	p99 := func(algorithm string) time.Duration {
		g := newGuarded(t, "  loadBalancing: {algorithm: "+algorithm+"}\n", ports...)
		return quantile(g.load(3000, 4, func(int, string) {}), 0.99)
	}
	rr, ewma := p99("roundRobin"), p99("peakEWMA")
	t.Logf("p99: round robin %v, peak EWMA %v", rr, ewma)
	if rr < 2*ewma {
		t.Errorf("p99 is %v by round robin and %v by peak EWMA: not half", rr, ewma)
	}
}

// TestMaglevMovesFewKeys: when one of five endpoints leaves, 1.1/5 of the keys move at most.
func TestMaglevMovesFewKeys(t *testing.T) {
	var ports []int
	for i := range 5 {
		ports = append(ports, named(t, fmt.Sprint(i)))
	}
	g := newGuarded(t, "  loadBalancing: {algorithm: maglev, hash: [{header: x-key}]}\n", ports...)
	const keys = 5000
	where := func() []string {
		out := make([]string, keys)
		for i := range out {
			var status int
			if status, out[i] = g.get("x-key", fmt.Sprint("key-", i)); status != 200 {
				t.Fatal(status, out[i])
			}
		}
		return out
	}
	before := where()
	g.write("web.yaml", fleetService(ports[:4]...))
	eventually(t, 10*time.Second, "the endpoint has left", func() error {
		for i := range 50 {
			if _, body := g.get("x-key", fmt.Sprint("key-", i)); body == "4" {
				return fmt.Errorf("key-%d is still there", i)
			}
		}
		return nil
	})
	moved := 0
	for i, now := range where() {
		if now != before[i] {
			moved++
		}
	}
	// The keys of the endpoint that left are a fifth, give or take 4 standard deviations of a sample of this size.
	most := 1.1/5 + 4*math.Sqrt(0.2*0.8/keys)
	t.Logf("%d of %d keys moved: %.2f of 1/5", moved, keys, float64(moved)/(keys/5))
	if float64(moved) > most*keys {
		t.Errorf("%d of %d keys moved, want %.0f at most", moved, keys, most*keys)
	}
}

// TestRateLimitHolds: 100 requests in a second pass with a burst of 10, however many come.
func TestRateLimitHolds(t *testing.T) {
	g := newGuarded(t, "  rateLimits: [{name: all, requests: 100, per: 1s, burst: 10}]\n", named(t, "a"))
	passed := 0
	began := time.Now()
	for time.Since(began) < 3*time.Second {
		g.load(200, 8, func(status int, _ string) {
			switch status {
			case 200:
				passed++
			case 429:
			default:
				t.Errorf("status %d", status)
			}
		})
	}
	took := time.Since(began).Seconds()
	want := 10 + 100*took
	t.Logf("%d passed in %.2f s, %.0f are allowed", passed, took, want)
	if math.Abs(float64(passed)-want) > 0.03*want+2 {
		t.Errorf("%d passed in %.2f s, want %.0f", passed, took, want)
	}
}

// TestTimeoutsAndRetriesAtTheGateway: a stuck endpoint costs a try, not the request.
func TestTimeoutsAndRetriesAtTheGateway(t *testing.T) {
	stuck := behaving(t, func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
	})
	g := newGuarded(t, "  timeouts: {request: 2s, perTry: 100ms}\n  retries: {attempts: 2, on: [timeout]}\n", stuck, named(t, "ok"))
	for range 30 {
		if status, body := g.get(); status != 200 || body != "ok" {
			t.Fatalf("%d %q", status, body)
		}
	}
}
