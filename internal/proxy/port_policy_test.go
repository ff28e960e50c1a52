package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// twoPorts is rules that send /81 to port 81 of the service web, and the rest to port 80.
func twoPorts() []model.Rule {
	other := to("web")
	other[0].Port = 81
	return []model.Rule{
		{Matches: []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/81"}}}, Backends: other},
		{Backends: to("web")},
	}
}

// withPort gives a service a second port, 81, of which p is said.
func withPort(s model.Service, p model.PortUpstream) model.Service {
	p.Port = 81
	s.Ports = append(s.Ports, model.Port{Number: 81})
	up := model.Upstream{}
	if s.Upstream != nil {
		up = *s.Upstream
	}
	up.Ports = []model.PortUpstream{p}
	s.Upstream = &up
	return s
}

// TestPortsHaveTheirOwnPolicies gives one port of a service its own balancing, ejection and bounds, for the service and
// for a subset, and wants the other port to go on as it did.
func TestPortsHaveTheirOwnPolicies(t *testing.T) {
	t.Run("balancing", func(t *testing.T) {
		up := &model.Upstream{Balance: model.Balance{Algorithm: model.Maglev, Hash: []model.HashKey{{Header: "x-user"}}}}
		s := withPort(fleet(t, 4, up), model.PortUpstream{Balance: model.Balance{Algorithm: model.RoundRobin}})
		c := newClient(t, newLab(t).edge(twoPorts(), s))
		seen := map[string]map[string]int{"/80": {}, "/81": {}}
		for range 20 {
			for path, of := range seen {
				_, body, _ := c.get(path, "x-user", "jason")
				of[body]++
			}
		}
		if len(seen["/80"]) != 1 {
			t.Errorf("port 80 hashes, and sent one client to %v", seen["/80"])
		}
		for i := range 4 {
			if seen["/81"][fmt.Sprint(i)] != 5 {
				t.Fatalf("port 81 takes turns, and was sent to %v", seen["/81"])
			}
		}
	})
	t.Run("ejection", func(t *testing.T) {
		bad := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }
		s := withPort(program(t, "web", saying("good"), bad), model.PortUpstream{
			Ejection: &model.Ejection{Consecutive5xx: 2, Base: time.Hour, Max: time.Hour},
		})
		s.Upstream.Balance = model.Balance{Algorithm: model.RoundRobin}
		c := newClient(t, newLab(t).edge(twoPorts(), s))
		failed := map[string]int{}
		for range 20 {
			for _, path := range []string{"/80", "/81"} {
				if code, _, _ := c.get(path); code == 500 {
					failed[path]++
				}
			}
		}
		if failed["/80"] != 10 || failed["/81"] != 2 {
			t.Errorf("failed: %v, want 10 of port 80, and of port 81 the 2 that eject", failed)
		}
	})
	for what, subset := range map[string]map[string]string{"bounds": nil, "bounds of a subset": {"version": "v1"}} {
		t.Run(what, func(t *testing.T) {
			var waiting sync.WaitGroup
			begun, release := make(chan string, 8), make(chan struct{})
			s := program(t, "web", func(_ http.ResponseWriter, r *http.Request) {
				begun <- r.URL.Path
				<-release
			})
			bound := model.PortUpstream{Only: true, Connections: model.Connections{Requests: 1}}
			rules := twoPorts()
			if len(subset) == 0 {
				s = withPort(s, bound)
			} else {
				of := withPort(s, bound)
				s.Ports = of.Ports
				for i := range rules {
					rules[i].Backends[0].Subset, rules[i].Backends[0].Upstream = subset, of.Upstream
				}
			}
			c := newClient(t, newLab(t).edge(rules, s))
			for _, path := range []string{"/81", "/80", "/80"} {
				waiting.Go(func() { c.get(path) })
				if at := <-begun; at != path {
					t.Errorf("%s has begun, want %s", at, path)
				}
			}
			if code, body, h := c.get("/81"); code != 503 || h.Get(failureHeader) != flagLimit {
				t.Errorf("the second request to port 81: %d %q %v", code, body, h)
			}
			close(release)
			waiting.Wait()
		})
	}
}

// counting passes connections on to an address and counts them.
func counting(t testing.TB, to netip.AddrPort) (at netip.AddrPort, count *atomic.Int64) {
	t.Helper()
	count = new(atomic.Int64)
	return rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		count.Add(1)
		up, err := net.Dial("tcp", to.String())
		if err != nil {
			return
		}
		defer up.Close()
		done := make(chan struct{})
		go func() {
			defer close(done)
			_, _ = io.Copy(up, r)
			_ = up.(*net.TCPConn).CloseWrite()
		}()
		_, _ = io.Copy(c, up)
		_ = c.Close()
		<-done
	}), count
}

// TestPortsHaveTheirOwnConnections has connections for one port, or of a subset, carry one request each, and others as many
// as come: to programs, and between two proxies, which else share one connection for all ports.
func TestPortsHaveTheirOwnConnections(t *testing.T) {
	once := model.PortUpstream{Connections: model.Connections{PerConnection: 1, ConnectTimeout: 20 * time.Second}}
	t.Run("programs", func(t *testing.T) {
		s := withPort(program(t, "web", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) }), once)
		c := newClient(t, newLab(t).edge(twoPorts(), s))
		seen := map[string]map[string]bool{"/80": {}, "/81": {}}
		for range 5 {
			for path, of := range seen {
				_, from, _ := c.get(path)
				of[from] = true
			}
		}
		if len(seen["/80"]) != 1 || len(seen["/81"]) != 5 {
			t.Errorf("connections: %v", seen)
		}
	})
	t.Run("a subset", func(t *testing.T) {
		s := program(t, "web", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.RemoteAddr) })
		rules := twoPorts()
		rules[0].Backends[0].Port = 80
		rules[0].Backends[0].Subset = map[string]string{"version": "v1"}
		rules[0].Backends[0].Upstream = &model.Upstream{Connections: once.Connections}
		c := newClient(t, newLab(t).edge(rules, s))
		seen := map[string]map[string]bool{"/80": {}, "/81": {}}
		for range 5 {
			for path, of := range seen {
				_, from, _ := c.get(path)
				of[from] = true
			}
		}
		if len(seen["/80"]) != 1 || len(seen["/81"]) != 5 {
			t.Errorf("connections of all, and of the subset: %v", seen)
		}
	})
	t.Run("proxies", func(t *testing.T) {
		l := newLab(t)
		program := server(t, saying("ok"))
		beside := l.run(Options{Node: "web-1", TLS: l.identity("web"), Inbound: loopback})
		l.apply(beside, &model.Snapshot{Workload: model.Workload{
			ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"), Inbound: []model.Inbound{
				{ServicePort: 80, Port: program.Port(), Protocol: model.HTTP}, {ServicePort: 81, Port: program.Port(), Protocol: model.HTTP},
			},
		}})
		relay, count := counting(t, beside.Addrs().Inbound)
		client := l.run(Options{Node: "load-1", TLS: l.identity("load"), Upstreams: []Upstream{
			{Service: name("web"), Port: 80, Listen: loopback}, {Service: name("web"), Port: 81, Listen: loopback},
		}})
		s := withPort(model.Service{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: relay, Identity: l.ca.ID("default", "web")}},
		}, once)
		l.apply(client, &model.Snapshot{
			Workload: model.Workload{ID: "load-1", Identity: l.ca.ID("default", "load"), Service: name("load")}, Services: []model.Service{s},
		})
		for i, want := range []int64{1, 6} {
			c := newClient(t, client.Addrs().Upstreams[i])
			for range 5 {
				if code, body, _ := c.get("/"); code != 200 || body != "ok" {
					t.Fatalf("%d %q", code, body)
				}
			}
			if n := count.Load(); n != want {
				t.Errorf("%d connections after 5 requests to port %d, want %d", n, 80+i, want)
			}
		}
	})
}

// TestTCPConnectionsEnd ends connections of bytes that are silent for too long, or too old, as the policy of their port
// says, and not those of another port.
func TestTCPConnectionsEnd(t *testing.T) {
	for what, bounds := range map[string]model.Connections{"silent": {TCPIdle: 2 * time.Second}, "old": {MaxAge: 2 * time.Second}} {
		t.Run(what, func(t *testing.T) {
			program := greeted(t, echo)
			s := withPort(model.Service{
				Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.TCP}},
				Endpoints: []model.Endpoint{{ID: "web-1", Address: program, Plain: true}},
			}, model.PortUpstream{Connections: bounds})
			s.Ports[1].Protocol = model.TCP
			l := newLab(t)
			e := l.run(Options{Node: "hop", Upstreams: []Upstream{
				{Service: name("web"), Port: 80, Listen: loopback}, {Service: name("web"), Port: 81, Listen: loopback},
			}})
			l.apply(e, &model.Snapshot{Services: []model.Service{s}})
			lasting, ended := greet(t, e.Addrs().Upstreams[0]), greet(t, e.Addrs().Upstreams[1])
			if _, err := ended.r.ReadByte(); err == nil || strings.Contains(err.Error(), "timeout") {
				t.Errorf("the connection that has become %s does not end: %v", what, err)
			}
			lasting.send("still there?\n")
			if line, err := lasting.r.ReadString('\n'); line != "still there?\n" {
				t.Errorf("the connection to the other port: %q, %v", line, err)
			}
		})
	}
}
