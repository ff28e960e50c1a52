package proxy

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// outside is a service that leaves the mesh by the gateway default/out, with the program that answers for it.
func outside(t testing.TB, calls *atomic.Int64) model.Service {
	s := program(t, "api.outside.test", func(w http.ResponseWriter, r *http.Request) {
		calls.Add(1)
		if r.Header.Get("weft-port")+r.Header.Get("weft-source") != "" {
			t.Errorf("outside the mesh shows: %v", r.Header)
		}
		saw(w, r)
	})
	s.Upstream = &model.Upstream{Egress: &model.Egress{Gateway: name("out")}}
	s.Policy = &model.Policy{Limits: []model.RateLimit{{Name: "few", Requests: 3, Per: 1e12, Burst: 3}}}
	return s
}

// way is a client of the mesh and a gateway by which it leaves.
type way struct {
	*lab
	client, gateway *Engine
	outside         model.Service
}

func newWay(t testing.TB, calls *atomic.Int64, sockets ...model.Socket) *way {
	l := newLab(t)
	w := &way{lab: l, outside: outside(t, calls)}
	w.gateway = l.run(Options{Node: "out-1", TLS: l.identity("out"), Inbound: loopback})
	l.apply(w.gateway, &model.Snapshot{
		Workload: model.Workload{ID: "out-1", Identity: l.ca.ID("default", "out"), Service: name("out"), Egress: true},
		Services: []model.Service{w.outside}, Sockets: sockets,
	})
	w.client = l.run(Options{
		Node: "load-1", TLS: l.identity("load"), HTTPProxy: loopback,
		Upstreams: []Upstream{{Service: w.outside.Name, Port: 80, Listen: loopback}, {Service: name("out"), Port: 80, Listen: loopback}},
	})
	return w
}

// apply gives the client a configuration with the gateway's endpoints.
func (w *way) call(gateway ...model.Endpoint) {
	w.apply(w.client, &model.Snapshot{
		Workload: model.Workload{ID: "load-1", Identity: w.ca.ID("default", "load"), Service: name("load")},
		Services: []model.Service{w.outside, {Name: name("out"), Endpoints: gateway}},
	})
}

func (w *way) proxy() model.Endpoint {
	return model.Endpoint{ID: "out-1", Address: w.gateway.Addrs().Inbound, Identity: w.ca.ID("default", "out")}
}

// TestEgress: requests for a service leave by the gateway that its policy names, which counts its rate limits; without
// a proxy of the gateway, or with one that is not who it should be, nothing leaves.
func TestEgress(t *testing.T) {
	var calls atomic.Int64
	w := newWay(t, &calls)
	at := w.client.Addrs().Upstreams[0]
	w.call()
	resp, body := ask(t, at, "GET", "/x", "")
	if resp.StatusCode != 503 || resp.Header.Get(failureHeader) != flagNoEgress || !strings.Contains(body, "default/out") {
		t.Errorf("without the gateway: %d %s", resp.StatusCode, body)
	}
	impostor := w.proxy()
	impostor.Identity = w.ca.ID("default", "another")
	w.call(impostor)
	if resp, body = ask(t, at, "GET", "/x", ""); resp.StatusCode != 503 || !strings.Contains(body, "by the egress gateway default/out") {
		t.Errorf("a gateway that is somebody else: %d %s", resp.StatusCode, body)
	}
	plain := w.proxy()
	plain.Plain = true
	w.call(plain)
	if resp, body = ask(t, at, "GET", "/x", ""); resp.Header.Get(failureHeader) != flagNoEgress {
		t.Errorf("a gateway without identity: %d %s", resp.StatusCode, body)
	}
	if n := calls.Load(); n != 0 {
		t.Fatalf("%d requests left without the gateway", n)
	}
	w.call(w.proxy())
	for i, want := range []int{200, 200, 200, 429} {
		if resp, body = ask(t, at, "POST", "/x?y", "content", "host", "api.outside.test"); resp.StatusCode != want {
			t.Errorf("request %d: %d %s", i, resp.StatusCode, body)
		}
		if want == 200 && body != "POST api.outside.test/x?y content" {
			t.Errorf("outside came %q", body)
		}
	}
}

// TestEgressOfOthers: a gateway takes for others only what leaves by it.
func TestEgressOfOthers(t *testing.T) {
	var calls atomic.Int64
	w := newWay(t, &calls)
	w.apply(w.gateway, &model.Snapshot{
		Workload: model.Workload{ID: "out-1", Identity: w.ca.ID("default", "out"), Service: name("out"), Egress: true},
	})
	w.call(w.proxy())
	resp, body := ask(t, w.client.Addrs().Upstreams[0], "GET", "/", "")
	if resp.StatusCode != 503 || !strings.Contains(body, "not_served_here") || calls.Load() != 0 {
		t.Errorf("a service that does not leave here: %d %s", resp.StatusCode, body)
	}
}

// TestMeshSocket: listeners of a gateway for clients of the mesh choose by host, and no port is opened for them.
func TestMeshSocket(t *testing.T) {
	var calls atomic.Int64
	rule := model.Rule{
		Ref:      model.RuleRef{Kind: "VirtualService", Namespace: "default", Name: "out"},
		Backends: []model.Backend{{Service: name("api.outside.test"), Port: 80, Weight: 1}},
	}
	w := newWay(t, &calls, model.Socket{
		Address: loopback, Mesh: true, Kind: model.SocketHTTP,
		Listeners: []model.Listener{{Name: "default/out/http", Hostname: "api.outside.test", Rules: []model.Rule{rule}}},
	})
	if open := w.gateway.Sockets(); len(open) != 0 {
		t.Errorf("ports are open: %v", open)
	}
	w.call(w.proxy())
	at := w.client.Addrs().Upstreams[1]
	if resp, body := ask(t, at, "GET", "/a", "", "host", "api.outside.test"); resp.StatusCode != 503 {
		t.Errorf("another port than the socket's: %d %s", resp.StatusCode, body)
	}
	socket := model.Socket{Mesh: true, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "default/out/http", Hostname: "api.outside.test", Rules: []model.Rule{rule}}}}
	socket.Address = localAddr(80)
	w.apply(w.gateway, &model.Snapshot{
		Workload: model.Workload{ID: "out-1", Identity: w.ca.ID("default", "out"), Service: name("out"), Egress: true},
		Services: []model.Service{w.outside}, Sockets: []model.Socket{socket},
	})
	if resp, body := ask(t, at, "GET", "/a", "", "host", "api.outside.test"); resp.StatusCode != 200 || !strings.HasPrefix(body, "GET api.outside.test/a") {
		t.Errorf("by its host: %d %s", resp.StatusCode, body)
	}
	if resp, body := ask(t, at, "GET", "/a", "", "host", "other.test"); resp.StatusCode != 404 {
		t.Errorf("another host: %d %s", resp.StatusCode, body)
	}
}
