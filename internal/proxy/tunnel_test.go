package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// forwardProxy carries bytes to a program, by CONNECT and POST, for those who name the target.
func forwardProxy(t testing.TB, target string, program netip.AddrPort, asked *atomic.Int64) netip.AddrPort {
	t.Helper()
	return server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked.Add(1)
		if r.Method != "CONNECT" && r.Method != "POST" || r.Host != target || len(r.Header.Get(headerPort)+r.Header.Get(headerSource)) > 0 {
			http.Error(w, fmt.Sprintf("%s %s %v", r.Method, r.Host, r.Header), http.StatusProxyAuthRequired)
			return
		}
		up, err := net.Dial("tcp", program.String())
		if err != nil {
			http.Error(w, "", http.StatusBadGateway)
			return
		}
		defer up.Close()
		stream := http.NewResponseController(w)
		var in io.Reader = r.Body
		var out io.Writer = w
		if r.Method == "CONNECT" && r.ProtoMajor == 1 {
			c, rw, err := stream.Hijack()
			if err != nil {
				return
			}
			defer c.Close()
			_, _ = io.WriteString(c, "HTTP/1.1 200 Connection established\r\n\r\n")
			in, out = rw, c
		} else {
			_ = stream.EnableFullDuplex()
			w.WriteHeader(200)
			_ = stream.Flush()
			out = flushing{w, stream}
		}
		go func() { _, _ = io.Copy(up, in); _ = up.(*net.TCPConn).CloseWrite() }()
		_, _ = io.Copy(out, up)
	}))
}

// wantsReset makes a connection that is to be reset before a byte comes, which may be before it is there.
func wantsReset(t testing.TB, at netip.AddrPort) {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	var b []byte
	if err == nil {
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(patience))
		b, err = io.ReadAll(c)
	}
	if !wasReset(err) || len(b) > 0 {
		t.Errorf("%q, %v; want a reset", b, err)
	}
}

type flushing struct {
	w http.ResponseWriter
	c *http.ResponseController
}

func (f flushing) Write(p []byte) (int, error) {
	n, err := f.w.Write(p)
	if err == nil {
		err = f.c.Flush()
	}
	return n, err
}

// TestTunnelsByForwardProxies carries connections of bytes by CONNECT and by POST, over both versions of HTTP, through a
// forward proxy, from beside a program and from an egress gateway, and goes to another forward proxy where one refuses.
func TestTunnelsByForwardProxies(t *testing.T) {
	const target = "db.example:5432"
	tunnel := func(port uint16, post bool) *model.Upstream {
		return &model.Upstream{Tunnel: &model.Tunnel{Host: "db.example", Port: port, Post: post}, Balance: model.Balance{Algorithm: model.RoundRobin}}
	}
	proxies := func(asked *atomic.Int64, program netip.AddrPort, protocol model.Protocol, up *model.Upstream, targets ...string) model.Service {
		s := model.Service{Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.TCP}}, Upstream: up}
		for i, target := range targets {
			s.Endpoints = append(s.Endpoints, model.Endpoint{
				ID: fmt.Sprintf("proxy-%d", i), Address: forwardProxy(t, target, program, asked), Plain: true, Protocol: protocol,
			})
		}
		return s
	}
	hop := func(l *lab, s model.Service) netip.AddrPort {
		e := l.run(Options{Node: "hop", Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
		l.apply(e, &model.Snapshot{Services: []model.Service{s}})
		return e.Addrs().Upstreams[0]
	}
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		for _, post := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, POST %v", protocol, post), func(t *testing.T) {
				var asked atomic.Int64
				program := greeted(t, echo)
				at := hop(newLab(t), proxies(&asked, program, protocol, tunnel(5432, post), target))
				for range 2 {
					c := greet(t, at)
					big := strings.Repeat("x", 100_000) + "\n"
					go c.send(big)
					if line, err := c.r.ReadString('\n'); line != big {
						t.Fatalf("%d of %d bytes come back: %v", len(line), len(big), err)
					}
					if err := c.CloseWrite(); err != nil {
						t.Fatal(err)
					}
					if rest, err := io.ReadAll(c.r); err != nil || len(rest) > 0 {
						t.Errorf("at the end: %q, %v", rest, err)
					}
				}
				if asked.Load() != 2 {
					t.Errorf("the forward proxy was asked %d times for 2 connections", asked.Load())
				}
			})
		}
	}
	t.Run("by an egress gateway", func(t *testing.T) {
		var asked, calls atomic.Int64
		w := newWay(t, &calls)
		s := proxies(&asked, greeted(t, echo), model.HTTP, tunnel(5432, false), target)
		s.Name, s.Upstream.Egress = w.outside.Name, w.outside.Upstream.Egress
		w.outside = s
		w.apply(w.gateway, &model.Snapshot{
			Workload: model.Workload{ID: "out-1", Identity: w.ca.ID("default", "out"), Service: name("out"), Egress: true}, Services: []model.Service{s},
		})
		w.call(w.proxy())
		c := greet(t, w.client.Addrs().Upstreams[0])
		c.send("through both\n")
		if line, err := c.r.ReadString('\n'); line != "through both\n" || asked.Load() != 1 {
			t.Errorf("%q, %v after %d questions", line, err, asked.Load())
		}
	})
	t.Run("refused by one", func(t *testing.T) {
		var asked atomic.Int64
		program := greeted(t, echo)
		at := hop(newLab(t), proxies(&asked, program, model.HTTP, tunnel(5432, false), "other.example:1", target))
		for range 4 {
			greet(t, at)
		}
		if n := asked.Load(); n < 5 || n > 8 {
			t.Errorf("%d questions for 4 connections, want those that were refused besides", n)
		}
	})
	t.Run("refused by all", func(t *testing.T) {
		var asked atomic.Int64
		at := hop(newLab(t), proxies(&asked, greeted(t, echo), model.HTTP, tunnel(1, false), target))
		wantsReset(t, at)
		if asked.Load() == 0 {
			t.Error("the forward proxy was not asked")
		}
	})
	t.Run("no answer", func(t *testing.T) {
		silent := rawProgram(t, func(c *net.TCPConn, _ *bufio.Reader) { _, _ = io.Copy(io.Discard, c) })
		up := tunnel(5432, false)
		up.Connections.ConnectTimeout = 300 * time.Millisecond
		at := hop(newLab(t), model.Service{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.TCP}}, Upstream: up,
			Endpoints: []model.Endpoint{{ID: "proxy", Address: silent, Plain: true, Protocol: model.HTTP}},
		})
		wantsReset(t, at)
	})
}
