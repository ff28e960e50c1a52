package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
)

// fiveEach is a rate-limit service by gRPC that admits five requests for each value of the first descriptor.
type fiveEach struct {
	ratelimitv3.UnimplementedRateLimitServiceServer
	mu   sync.Mutex
	seen map[string]int
}

func (s *fiveEach) ShouldRateLimit(_ context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	var key []string
	for _, e := range r.GetDescriptors()[0].GetEntries() {
		key = append(key, e.GetKey()+"="+e.GetValue())
	}
	text := r.GetDomain() + " " + strings.Join(key, " ")
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen[text]++
	out := &ratelimitv3.RateLimitResponse{
		OverallCode:          ratelimitv3.RateLimitResponse_OK,
		ResponseHeadersToAdd: []*corev3.HeaderValue{{Key: "x-counted-as", Value: text}},
	}
	if s.seen[text] > 5 {
		out.OverallCode = ratelimitv3.RateLimitResponse_OVER_LIMIT
	}
	return out, nil
}

func newFiveEach() *grpc.Server {
	server := grpc.NewServer()
	ratelimitv3.RegisterRateLimitServiceServer(server, &fiveEach{seen: map[string]int{}})
	return server
}

// limitServer serves fiveEach on a port until SIGTERM.
func limitServer(port string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		return err
	}
	stop := make(chan os.Signal, 1)
	signal.Notify(stop, syscall.SIGTERM)
	server := newFiveEach()
	go func() {
		<-stop
		server.Stop()
	}()
	return server.Serve(ln)
}

// askLimits is a policy's limit that the service ratelimit decides on, by user and by what else is said.
func askLimits(more, entries string) string {
	return fmt.Sprintf(`
  rateLimits:
  - name: users
    scope: service
    service:
      name: ratelimit
      port: 80
      domain: shop
      timeout: 10s
      descriptors: [{entries: [{key: user, header: x-user}%s]}]%s
`, entries, more)
}

// TestRateLimitServiceAtAGateway: `weft gateway -f` asks a rate-limit service; without it requests pass, or do not.
func TestRateLimitServiceAtAGateway(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	limits := newFiveEach()
	go func() { _ = limits.Serve(ln) }()
	t.Cleanup(limits.Stop)
	port := freePort(t)
	g := &guarded{
		client: &http.Client{Timeout: 20 * time.Second},
		edge: runEdge(t, port, map[string]string{
			"edge.yaml": edgeDocument(port, routeTo("web")), "web.yaml": fleetService(named(t, "web")),
			"limits.yaml": service("ratelimit", ln.Addr().(*net.TCPAddr).Port),
			"policy.yaml": policyDocument(askLimits("", "")),
		}),
	}
	t.Cleanup(g.client.CloseIdleConnections)
	for user, requests := range map[string]int{"anna": 8, "bert": 5} {
		for i := range requests {
			want := map[bool]int{true: 200, false: 429}[i < 5]
			if status, body := g.get("x-user", user); status != want {
				t.Errorf("request %d of %s: %d %q, want %d", i, user, status, body, want)
			}
		}
	}
	if status, body := g.get(); status != 200 {
		t.Errorf("a request that there is nothing to ask about: %d %q", status, body)
	}
	limits.Stop()
	if status, body := g.get("x-user", "anna"); status != 200 {
		t.Errorf("without the service: %d %q", status, body)
	}
	g.write("policy.yaml", policyDocument(askLimits("\n      failOpen: false", "")))
	eventually(t, 30*time.Second, "without the service requests are refused", func() error {
		if status, body := g.get("x-user", "anna"); status != 503 || !strings.Contains(body, `unchecked: the rate limit "users" could not be asked of default/ratelimit`) {
			return fmt.Errorf("%d %q", status, body)
		}
		return nil
	})
}

// TestRateLimitService: in the mesh the server's proxy asks, over the mesh, with the client's identity; explain says so,
// and when the service has left requests pass.
func TestRateLimitService(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	m.httpService("web", "v1")
	port := fmt.Sprint(freePort(t))
	limits := m.actor("limit-server", port, nil, "--service", "ratelimit", "--port", "80:"+port)
	m.ready("web", 1)
	m.ready("ratelimit", 1)
	m.must("apply", "--wait", "-f", m.file("policy.yaml", policyDocument(askLimits("", ", {key: from, identity: true}"))))
	load := func(requests int) string {
		script := fmt.Sprintf(`for i in $(seq %d); do curl -sS -o /dev/null -H 'x-user: anna' -w '%%{http_code} %%header{x-counted-as}\n' http://web/; done`, requests)
		r := m.once("load", "sh", "-c", script)
		if r.code != 0 {
			t.Fatal(r.stderr)
		}
		return r.stdout
	}
	const counted = "shop user=anna from=spiffe://mesh.local/ns/default/sa/load"
	want := strings.Repeat("200 "+counted+"\n", 5) + strings.Repeat("429 "+counted+"\n", 2)
	if got := load(7); got != want {
		t.Errorf("answered\n%swant\n%s", got, want)
	}
	if text := m.must("explain", "web"); !strings.Contains(text, "default/ratelimit is asked first (port 80, domain shop)") {
		t.Errorf("explain says\n%s", text)
	}
	limits.stop(syscall.SIGTERM)
	m.ready("ratelimit", 0)
	eventually(t, 30*time.Second, "requests pass without the service", func() error {
		if got := load(1); !strings.HasPrefix(got, "200") {
			return fmt.Errorf("answered %s", got)
		}
		return nil
	})
}
