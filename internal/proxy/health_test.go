package proxy

import (
	"net"
	"net/http"
	"net/netip"
	"sync/atomic"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/health"
	healthv1 "google.golang.org/grpc/health/grpc_health_v1"

	"github.com/weft-mesh/weft/internal/model"
)

// TestHealthChecksOverHTTP has one of two endpoints say that it is not well, and later that it is.
func TestHealthChecksOverHTTP(t *testing.T) {
	var sick atomic.Bool
	sick.Store(true)
	s := program(t, "web", saying("well"), func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/healthz" && sick.Load() {
			w.WriteHeader(500)
		}
		_, _ = w.Write([]byte("sick"))
	})
	s.Upstream = &model.Upstream{Health: &model.HealthCheck{
		Type: model.HealthHTTP, Path: "/healthz", Interval: 20 * time.Millisecond, Healthy: 2, Unhealthy: 2,
	}}
	c := newClient(t, newLab(t).edge(toAll(), s))
	only := func(n int) bool {
		seen := map[string]bool{}
		for range 30 {
			_, body, _ := c.get("/")
			seen[body] = true
		}
		return len(seen) == n
	}
	eventually(t, "the sick endpoint is left out", func() bool { return only(1) })
	sick.Store(false)
	eventually(t, "it is back", func() bool { return only(2) })
}

func TestHealthChecksOfOtherKinds(t *testing.T) {
	srv, h := grpc.NewServer(), health.NewServer()
	healthv1.RegisterHealthServer(srv, h)
	h.SetServingStatus("db", healthv1.HealthCheckResponse_NOT_SERVING)
	at := server(t, srv)
	s := model.Service{
		Name: name("db"), Ports: []model.Port{{Number: 80, Protocol: model.GRPC}},
		Endpoints: []model.Endpoint{{ID: "db-1", Address: at, Plain: true, Protocol: model.GRPC}},
		Upstream:  &model.Upstream{Health: &model.HealthCheck{Type: model.HealthGRPC, Service: "db", Interval: 20 * time.Millisecond}},
	}
	gone := model.Service{
		Name: name("gone"), Ports: []model.Port{{Number: 80}},
		Endpoints: []model.Endpoint{{ID: "gone-1", Address: nobody(t), Plain: true}},
		Upstream:  &model.Upstream{Health: &model.HealthCheck{Type: model.HealthTCP, Interval: 20 * time.Millisecond, Unhealthy: 1}},
	}
	e, _ := newLab(t).gateway(&model.Snapshot{Services: []model.Service{s, gone}, Sockets: []model.Socket{{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge"}},
	}}}, 2)
	sick := func(id string, want bool) func() bool {
		return func() bool {
			n := 0
			for _, w := range e.workers {
				w.loop.Call(func() {
					for _, ep := range w.endpoints {
						if ep.model.ID == id && ep.sick == want {
							n++
						}
					}
				})
			}
			return n == len(e.workers) // all of them know
		}
	}
	eventually(t, "gRPC says that it does not serve", sick("db-1", true))
	eventually(t, "nobody listens", sick("gone-1", true))
	h.SetServingStatus("db", healthv1.HealthCheckResponse_SERVING)
	eventually(t, "gRPC says that it serves", sick("db-1", false))
}

// nobody is an address where nobody listens, and nobody will before the test ends: the client's own end of a
// connection.
func nobody(t testing.TB) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = c.Close(), ln.Close() })
	return c.LocalAddr().(*net.TCPAddr).AddrPort()
}
