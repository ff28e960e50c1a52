package proxy

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"testing"
	"time"

	corev3 "github.com/envoyproxy/go-control-plane/envoy/config/core/v3"
	ratelimitv3 "github.com/envoyproxy/go-control-plane/envoy/service/ratelimit/v3"
	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/weft-mesh/weft/internal/model"
)

// limitServer is a real rate-limit service. It answers what decide says, and remembers what it was asked.
type limitServer struct {
	ratelimitv3.UnimplementedRateLimitServiceServer
	at     netip.AddrPort
	decide func(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error)

	mu    sync.Mutex
	asked []string // domain, descriptors, hits
	ctx   metadata.MD
}

func (s *limitServer) ShouldRateLimit(ctx context.Context, r *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	text := r.GetDomain()
	for _, d := range r.GetDescriptors() {
		for i, e := range d.GetEntries() {
			text += fmt.Sprintf("%s%s=%s", map[bool]string{true: " ", false: "&"}[i == 0], e.GetKey(), e.GetValue())
		}
	}
	s.mu.Lock()
	s.asked = append(s.asked, fmt.Sprintf("%s x%d", text, r.GetHitsAddend()))
	s.ctx, _ = metadata.FromIncomingContext(ctx)
	s.mu.Unlock()
	return s.decide(ctx, r)
}

// questions are what was asked since the last call, sorted: those about one request are asked at once.
func (s *limitServer) questions() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := s.asked
	s.asked = nil
	slices.Sort(out)
	return out
}

func newLimitServer(t testing.TB, decide func(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error)) *limitServer {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s, server := &limitServer{at: addrOf(t, ln), decide: decide}, grpc.NewServer()
	ratelimitv3.RegisterRateLimitServiceServer(server, s)
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(ln) })
	t.Cleanup(func() { server.Stop(); wg.Wait() })
	return s
}

// service is the server as a service outside the mesh.
func (s *limitServer) service() model.Service { return limitServiceAt(s.at) }

func limitServiceAt(at netip.AddrPort) model.Service {
	return model.Service{
		Name: name("limits"), Ports: []model.Port{{Number: 8081, Protocol: model.GRPC}},
		Endpoints: []model.Endpoint{{ID: "limits-1", Address: at, Plain: true, Protocol: model.GRPC}},
	}
}

// says answers every question alike.
func says(r *ratelimitv3.RateLimitResponse) func(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
	return func(context.Context, *ratelimitv3.RateLimitRequest) (*ratelimitv3.RateLimitResponse, error) {
		return r, nil
	}
}

func header(name, value string) *corev3.HeaderValue {
	return &corev3.HeaderValue{Key: name, Value: value}
}

const (
	codeOK   = ratelimitv3.RateLimitResponse_OK
	codeOver = ratelimitv3.RateLimitResponse_OVER_LIMIT
)

// patient is a limit whose service has all the time that a busy machine may take.
func patient(l model.LimitService) model.RateLimit {
	l.Service, l.Port, l.Domain = name("limits"), 8081, "shop"
	if l.Timeout == 0 {
		l.Timeout = 20 * time.Second
	}
	if l.Descriptors == nil {
		l.Descriptors = []model.LimitDescriptor{{Entries: []model.LimitEntry{{Key: "generic_key", Value: "all"}}}}
	}
	return model.RateLimit{Name: "api", Service: &l}
}

// limitedEdge is a gateway whose requests to web are under the limits.
func limitedEdge(t *testing.T, limits []model.RateLimit, policy model.Policy, services ...model.Service) (*Engine, netip.AddrPort) {
	t.Helper()
	policy.Limits = limits
	return newLab(t).gateway(&model.Snapshot{Services: services, Sockets: []model.Socket{{
		Address: loopback, Kind: model.SocketHTTP,
		Listeners: []model.Listener{{Name: "edge", Rules: []model.Rule{{Policy: &policy, Backends: to("web")}}}},
	}}}, 1)
}
