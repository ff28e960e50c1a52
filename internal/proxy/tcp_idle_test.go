package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// echo says every line again.
func echo(c *net.TCPConn, r *bufio.Reader) {
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		_, _ = io.WriteString(c, line)
	}
}

// TestTCPIdle has a tunnel outlive the bounds on idleness that HTTP connections have, through real sweeps: what a
// program's own protocol is silent for is not ours to judge. An idle HTTP connection beside it shows that the
// sweep has come.
func TestTCPIdle(t *testing.T) {
	if testing.Short() {
		t.Skipf("takes %v", sweepEvery)
	}
	t.Parallel()
	program, web := greeted(t, echo), server(t, app())
	ports := []model.Port{{Number: 80, Protocol: model.HTTP}, {Number: 81, Protocol: model.TCP}}
	endpoints := []model.Endpoint{
		{ID: "web-1", Address: web, Plain: true, Ports: []uint16{80}},
		{ID: "web-2", Address: program, Plain: true, Ports: []uint16{81}},
	}
	upstreams := func() []Upstream {
		return []Upstream{
			{Service: name("web"), Port: 80, Listen: loopback},
			{Service: name("web"), Port: 81, Listen: loopback},
		}
	}
	outlive := func(t *testing.T, http, tcp netip.AddrPort) {
		tunnel, idle := greet(t, tcp), dialRaw(t, http)
		_ = idle.SetDeadline(time.Now().Add(3 * sweepEvery))
		idle.send("GET /echo HTTP/1.1\r\nHost: web\r\n\r\n")
		if resp, _ := idle.answer("GET"); resp.StatusCode != 200 {
			t.Fatal(resp.Status)
		}
		if n, err := idle.r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
			t.Fatalf("the idle connection of HTTP is not swept: %d, %v", n, err)
		}
		tunnel.send("still there?\n")
		if line, err := tunnel.r.ReadString('\n'); line != "still there?\n" {
			t.Errorf("the idle tunnel: %q, %v", line, err)
		}
	}
	t.Run("hop", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		e := l.run(Options{Node: "hop", IdleTimeout: time.Millisecond, Upstreams: upstreams()})
		l.apply(e, &model.Snapshot{Services: []model.Service{{Name: name("web"), Ports: ports, Endpoints: endpoints}}})
		outlive(t, e.Addrs().Upstreams[0], e.Addrs().Upstreams[1])
	})
	t.Run("pair", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		far := l.run(Options{Node: "web-1", TLS: l.identity("web"), Inbound: loopback, IdleTimeout: time.Millisecond})
		l.apply(far, &model.Snapshot{Workload: model.Workload{
			ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"),
			Inbound: []model.Inbound{
				{ServicePort: 80, Port: web.Port(), Protocol: model.HTTP},
				{ServicePort: 81, Port: program.Port(), Protocol: model.TCP},
			},
		}})
		near := l.run(Options{Node: "load-1", TLS: l.identity("load"), IdleTimeout: time.Millisecond, Upstreams: upstreams()})
		l.apply(near, &model.Snapshot{
			Workload: model.Workload{ID: "load-1", Identity: l.ca.ID("default", "load"), Service: name("load")},
			Services: []model.Service{{Name: name("web"), Ports: ports, Endpoints: []model.Endpoint{{
				ID: "web-1", Address: far.Addrs().Inbound, Identity: l.ca.ID("default", "web"),
			}}}},
		})
		outlive(t, near.Addrs().Upstreams[0], near.Addrs().Upstreams[1])
	})
	t.Run("gateway", func(t *testing.T) {
		t.Parallel()
		l := newLab(t)
		e := l.run(Options{Node: "gateway", IdleTimeout: time.Millisecond})
		other := netip.MustParseAddrPort("127.0.0.2:0")
		rules := toWeb()
		rules[0].Backends[0].Port = 81
		l.apply(e, &model.Snapshot{
			Services: []model.Service{{Name: name("web"), Ports: ports, Endpoints: endpoints}},
			Sockets: []model.Socket{
				{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: toWeb()}}},
				{Address: other, Kind: model.SocketTCP, Listeners: []model.Listener{{Name: "tcp", Rules: rules}}},
			},
		})
		outlive(t, e.Sockets()[loopback], e.Sockets()[other])
	})
}

// TestTCPOutlivesTimeouts: the timeouts of a policy bound requests and their answers. A tunnel, once it stands, is
// neither.
func TestTCPOutlivesTimeouts(t *testing.T) {
	const short = 100 * time.Millisecond
	l := newLab(t)
	at, e := l.hop(greeted(t, echo), model.TCP)
	s := *e.workers[0].config.snapshot
	svc := s.Services[0]
	svc.Policy = &model.Policy{Timeout: short, BackendTimeout: short}
	s.Services = []model.Service{svc}
	l.apply(e, &s)
	c := greet(t, at)
	_ = c.SetReadDeadline(time.Now().Add(3 * short))
	var late net.Error
	if _, err := c.r.ReadByte(); !errors.As(err, &late) || !late.Timeout() {
		t.Fatalf("the silent tunnel ends: %v", err)
	}
	_ = c.SetDeadline(time.Now().Add(patience))
	c.send("still there?\n")
	if line, err := c.r.ReadString('\n'); line != "still there?\n" {
		t.Errorf("%q, %v", line, err)
	}
}
