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

// stalling passes connections on to an address. Once stalled, those that are open pass nothing more in either direction,
// and stay open.
type stalling struct {
	at      netip.AddrPort
	conns   atomic.Int64
	sent    atomic.Int64 // bytes of clients
	mu      sync.Mutex
	stopped chan struct{} // closed by stall; connections after it have another
}

func newStalling(t testing.TB, to netip.AddrPort) *stalling {
	s := &stalling{stopped: make(chan struct{})}
	s.at = rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		s.conns.Add(1)
		s.mu.Lock()
		stopped := s.stopped
		s.mu.Unlock()
		up, err := net.Dial("tcp", to.String())
		if err != nil {
			return
		}
		defer up.Close()
		var wg sync.WaitGroup
		wg.Go(func() { copyUntil(up, r, stopped, &s.sent); _ = up.(*net.TCPConn).CloseWrite() })
		copyUntil(c, up, stopped, nil)
		_ = c.Close()
		wg.Wait()
	})
	return s
}

func copyUntil(to io.Writer, from io.Reader, stopped <-chan struct{}, count *atomic.Int64) {
	buf := make([]byte, 4096)
	for {
		n, err := from.Read(buf)
		select {
		case <-stopped:
			n = 0
		default:
		}
		if count != nil {
			count.Add(int64(n))
		}
		if n > 0 {
			_, _ = to.Write(buf[:n])
		}
		if err != nil {
			return
		}
	}
}

func (s *stalling) stall() {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(s.stopped)
	s.stopped = make(chan struct{})
}

// TestHTTP2KeepAlive has connections of HTTP/2 live through many PINGs, and end when their server does not answer one:
// what waits on them is tried again on another. Without PINGs it would wait for as long as its client does.
func TestHTTP2KeepAlive(t *testing.T) {
	up := &model.Upstream{Connections: model.Connections{Ping: &model.Ping{Interval: 200 * time.Millisecond, Timeout: 2 * time.Second}}}
	again := &model.Policy{Retry: &model.Retry{Attempts: 2, On: []model.RetryOn{model.RetryReset}, Backoff: time.Millisecond, MaxBackoff: time.Millisecond}}
	for _, shape := range []string{"program", "proxy"} {
		t.Run(shape, func(t *testing.T) {
			l := newLab(t)
			program := server(t, saying("ok"))
			s := model.Service{
				Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP2}}, Upstream: up, Policy: again,
				Endpoints: []model.Endpoint{{ID: "web-1", Plain: true, Protocol: model.HTTP2}},
			}
			if shape == "proxy" {
				beside := l.run(Options{Node: "web-1", TLS: l.identity("web"), Inbound: loopback})
				l.apply(beside, &model.Snapshot{Workload: model.Workload{
					ID: "web-1", Identity: l.ca.ID("default", "web"), Service: name("web"),
					Inbound: []model.Inbound{{ServicePort: 80, Port: program.Port(), Protocol: model.HTTP}},
				}})
				program = beside.Addrs().Inbound
				s.Endpoints[0] = model.Endpoint{ID: "web-1", Identity: l.ca.ID("default", "web")}
			}
			relay := newStalling(t, program)
			s.Endpoints[0].Address = relay.at
			client := l.run(Options{Node: "load-1", TLS: l.identity("load"), Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
			l.apply(client, &model.Snapshot{
				Workload: model.Workload{ID: "load-1", Identity: l.ca.ID("default", "load"), Service: name("load")}, Services: []model.Service{s},
			})
			c := newClient(t, client.Addrs().Upstreams[0])
			get := func(conns int64) {
				t.Helper()
				if code, body, _ := c.get("/"); code != 200 || body != "ok" || relay.conns.Load() != conns {
					t.Fatalf("%d %q, %d connections, want %d", code, body, relay.conns.Load(), conns)
				}
			}
			get(1)
			const pings = 5
			for until, deadline := relay.sent.Load()+pings*17, time.Now().Add(patience); relay.sent.Load() < until; time.Sleep(10 * time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("no PINGs come")
				}
			}
			get(1)
			relay.stall()
			get(2)
		})
	}
}

// TestClientProtocol reaches a server that speaks both versions by that of the client, whatever its port declares.
func TestClientProtocol(t *testing.T) {
	for _, declared := range []model.Protocol{model.HTTP, model.HTTP2} {
		for _, asClient := range []bool{false, true} {
			s := program(t, "web", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, r.ProtoMajor) })
			s.Endpoints[0].Protocol = declared
			s.Upstream = &model.Upstream{Connections: model.Connections{ClientProtocol: asClient}}
			at := newLab(t).edge(toAll(), s)
			for _, http2 := range []bool{false, true} {
				resp, err := versionClient(t, http2).Get("http://" + at.String() + "/")
				if err != nil {
					t.Fatal(err)
				}
				body, err := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				want := map[bool]string{false: "1", true: "2"}[asClient && http2 || !asClient && declared == model.HTTP2]
				if string(body) != want || err != nil {
					t.Errorf("declared %s, as the client %v, by HTTP/2 %v: the server is reached by version %s, want %s; %v", declared, asClient, http2, body, want, err)
				}
			}
		}
	}
}

// versionClient speaks one version of HTTP, without TLS.
func versionClient(t testing.TB, http2 bool) *http.Client {
	tr := &http.Transport{Protocols: new(http.Protocols)}
	tr.Protocols.SetHTTP1(!http2)
	tr.Protocols.SetUnencryptedHTTP2(http2)
	t.Cleanup(tr.CloseIdleConnections)
	return &http.Client{Transport: tr, Timeout: 20 * time.Second}
}

// TestFaultsThatReset resets the streams of some requests by the error that the fault names; connections of HTTP/1.1 are
// cut, without an answer.
func TestFaultsThatReset(t *testing.T) {
	cut := []model.Match{{Headers: []model.ValueMatch{{Name: "x-cut", Value: "yes"}}}}
	policy := &model.Policy{Faults: []model.Fault{{Matches: cut, Reset: 0xc, AbortShare: 1}}}
	at := newLab(t).edge([]model.Rule{{Policy: policy, Backends: to("web")}}, program(t, "web", saying("ok")))
	for _, http2 := range []bool{true, false} {
		c := versionClient(t, http2)
		for _, fault := range []string{"no", "yes", "no"} {
			req, err := http.NewRequestWithContext(t.Context(), "POST", "http://"+at.String()+"/", strings.NewReader("content"))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("x-cut", fault)
			resp, err := c.Do(req)
			if err == nil {
				_ = resp.Body.Close()
			}
			switch {
			case fault == "no" && (err != nil || resp.StatusCode != 200):
				t.Errorf("HTTP/2 %v, without a fault: %v", http2, err)
			case fault == "yes" && err == nil:
				t.Errorf("HTTP/2 %v: answered %d", http2, resp.StatusCode)
			case fault == "yes" && http2 && !strings.Contains(err.Error(), "INADEQUATE_SECURITY"):
				t.Errorf("the stream is not reset by the error of the fault: %v", err)
			}
		}
	}
}
