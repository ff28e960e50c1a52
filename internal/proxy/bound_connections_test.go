package proxy

import (
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestMaxConnections fills the bound on connections: the next is refused, counted and logged with its reason, those
// that are there are served, and room that is made is given away again.
func TestMaxConnections(t *testing.T) {
	const most = 3
	for _, kind := range []model.SocketKind{model.SocketHTTP, model.SocketTCP} {
		t.Run(string(kind), func(t *testing.T) {
			l := newLab(t)
			protocol, backend := model.HTTP, server(t, app())
			if kind == model.SocketTCP {
				protocol, backend = model.TCP, greeted(t, echo)
			}
			var log buffer
			e := l.run(Options{Node: "gateway", MaxConnections: most, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			l.apply(e, edgeOf(backend, protocol, model.Socket{
				Address: loopback, Kind: kind, Listeners: []model.Listener{{Name: "edge", Rules: toWeb()}},
			}))
			at := e.Sockets()[loopback]
			open := make([]*rawConn, most)
			for i := range open {
				open[i] = opened(t, at, kind)
			}
			if err := knock(at); !wasReset(err) {
				t.Errorf("a connection beyond the bound: %v", err)
			}
			if s := e.Stats(); s.Refused != 1 || s.Connections != most {
				t.Errorf("%d refused, %d open", s.Refused, s.Connections)
			}
			if !strings.Contains(log.String(), "reason="+flagOverload) || !strings.Contains(log.String(), "too many connections") {
				t.Errorf("the log says %q", log.String())
			}
			for _, c := range open {
				served(c, kind)
			}
			_ = open[0].Close()
			eventually(t, "the connection is counted out", func() bool { return e.Stats().Connections == most-1 })
			served(opened(t, at, kind), kind)
		})
	}
}

// knock makes a connection and returns how it ended; the reset may be here before connect has returned.
func knock(at netip.AddrPort) error {
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	return drained(c)
}

// opened is a connection that has been served once.
func opened(t *testing.T, at netip.AddrPort, kind model.SocketKind) *rawConn {
	t.Helper()
	if kind == model.SocketTCP {
		return greet(t, at)
	}
	c := dialRaw(t, at)
	served(c, kind)
	return c
}

func served(c *rawConn, kind model.SocketKind) {
	c.t.Helper()
	if kind == model.SocketTCP {
		c.send("hello\n")
		if line, err := c.r.ReadString('\n'); line != "hello\n" {
			c.t.Errorf("%q, %v", line, err)
		}
		return
	}
	c.send("POST /echo HTTP/1.1\r\nHost: web\r\nContent-Length: 5\r\n\r\nhello")
	if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != "hello" {
		c.t.Errorf("%s %q", resp.Status, got)
	}
}

// TestMaxConnectionsOfTheMesh is the same for peers: one refused leaves the connection that is there alone.
func TestMaxConnectionsOfTheMesh(t *testing.T) {
	l := newLab(t)
	backend := server(t, app())
	far := l.run(Options{Node: "web-1", TLS: l.identity("web"), Inbound: loopback, MaxConnections: 1})
	l.apply(far, &model.Snapshot{Workload: model.Workload{
		ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"),
		Inbound: []model.Inbound{{ServicePort: 80, Port: backend.Port(), Protocol: model.HTTP}},
	}})
	near := func(account string) netip.AddrPort {
		e := l.run(Options{Node: account, TLS: l.identity(account), Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
		l.apply(e, &model.Snapshot{
			Workload: model.Workload{ID: account, Identity: l.ca.ID("default", account), Service: name(account)},
			Services: []model.Service{{
				Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
				Endpoints: []model.Endpoint{{ID: "web-1", Address: far.Addrs().Inbound, Identity: l.ca.ID("default", "web")}},
			}},
		})
		return e.Addrs().Upstreams[0]
	}
	first, second := near("one"), near("two")
	ask := func(at netip.AddrPort) (int, string) {
		resp, _ := do(t, h1Client(t), "POST", "http://"+at.String()+"/echo", strings.NewReader("x"))
		return resp.StatusCode, resp.Header.Get(failureHeader)
	}
	if status, flag := ask(first); status != 200 {
		t.Fatal(status, flag)
	}
	if status, flag := ask(second); status != 503 || flag != flagConnect {
		t.Errorf("beyond the bound: %d %s", status, flag)
	}
	if s := far.Stats(); s.Refused == 0 || s.Connections != 1 {
		t.Errorf("%d refused, %d open", s.Refused, s.Connections)
	}
	if status, flag := ask(first); status != 200 {
		t.Errorf("the peer that is connected: %d %s", status, flag)
	}
}
