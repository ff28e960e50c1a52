package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/identity/identitytest"
	"github.com/weft-mesh/weft/internal/model"
)

// buffer is a bytes.Buffer for several goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// eventually polls until ok holds.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); !ok(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("never happened: %s", what)
		}
	}
}

func TestStrangersAreRefusedWithAReason(t *testing.T) {
	l := newLab(t)
	var log buffer
	e := l.run(Options{TLS: l.identity("web"), Inbound: loopback, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	at := e.Addrs().Inbound.String()

	t.Run("plaintext", func(t *testing.T) {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		_ = c.SetDeadline(time.Now().Add(30 * time.Second))
		_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: web\r\n\r\n")
		got, _ := io.ReadAll(c)
		if bytes.Contains(got, []byte("HTTP")) {
			t.Fatalf("answered %q", got)
		}
		eventually(t, "reason=plaintext in the log", func() bool { return strings.Contains(log.String(), "plaintext") })
	})
	t.Run("another mesh", func(t *testing.T) {
		foreign := identitytest.NewCA(t, "other.test")
		src := foreign.Source(t, foreign.ID("default", "load"))
		cfg := src.ClientConfig(model.Identity{}).Clone()
		cfg.InsecureSkipVerify, cfg.VerifyConnection, cfg.VerifyPeerCertificate = true, nil, nil
		c, err := tls.Dial("tcp", at, cfg)
		if err == nil {
			_, err = c.Read(make([]byte, 1)) // TLS 1.3: the refusal comes with the first read
			c.Close()
		}
		if err == nil {
			t.Fatal("a foreign certificate was accepted")
		}
		eventually(t, "the foreign trust domain in the log", func() bool { return strings.Contains(log.String(), "other.test") })
	})
	if s := e.Stats(); s.Refused != 2 {
		t.Errorf("%d refused, want 2", s.Refused)
	}
}

func TestServerIdentityIsChecked(t *testing.T) {
	l := newLab(t)
	p := l.pair(server(t, app()), model.HTTP)
	s := *p.client.workers[0].config.snapshot
	svc := s.Services[0]
	svc.Endpoints = []model.Endpoint{{ID: "web-1", Address: p.server.Addrs().Inbound, Identity: l.ca.ID("default", "somebody-else")}}
	s.Services = []model.Service{svc}
	l.apply(p.client, &s)
	resp, body := do(t, h1Client(t), "GET", "http://"+p.at.String()+"/echo", nil)
	if resp.StatusCode != 503 || !strings.Contains(body, "somebody-else") {
		t.Fatalf("%s %q", resp.Status, body)
	}
}

// TestDeadEndpointIsLeftOut has one of two endpoints refuse connections: no request may fail.
func TestDeadEndpointIsLeftOut(t *testing.T) {
	l := newLab(t)
	backend := server(t, app())
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := addrOf(t, dead)
	dead.Close()
	at, e := l.hop(backend, model.HTTP)
	l.apply(e, &model.Snapshot{Services: []model.Service{{
		Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
		Endpoints: []model.Endpoint{{ID: "a", Address: backend, Plain: true}, {ID: "b", Address: gone, Plain: true}},
	}}})
	c := h1Client(t)
	for i := range 200 {
		if resp, _ := do(t, c, "POST", "http://"+at.String()+"/echo", strings.NewReader("again")); resp.StatusCode != 200 {
			t.Fatalf("request %d: %s", i, resp.Status)
		}
	}
}

// TestDeadProgramIsLeftOut is the same through the mesh: the endpoint's proxy lives, its program does not.
func TestDeadProgramIsLeftOut(t *testing.T) {
	l := newLab(t)
	p := l.pair(server(t, app()), model.HTTP)
	broken := l.run(Options{Node: "web-2", TLS: l.identity("web"), Inbound: loopback})
	l.apply(broken, &model.Snapshot{Workload: model.Workload{
		ID: "web-2", Service: name("web"), Inbound: []model.Inbound{{ServicePort: 80, Port: 1, Protocol: model.HTTP}},
	}})
	s := *p.client.workers[0].config.snapshot
	svc := s.Services[0]
	svc.Endpoints = append(svc.Endpoints[:1:1], model.Endpoint{ID: "web-2", Address: broken.Addrs().Inbound, Identity: l.ca.ID("default", "web")})
	s.Services = []model.Service{svc}
	l.apply(p.client, &s)
	c := h1Client(t)
	for i := range 100 {
		resp, body := do(t, c, "POST", "http://"+p.at.String()+"/echo", strings.NewReader("again"))
		if resp.StatusCode != 200 {
			t.Fatalf("request %d: %s %s", i, resp.Status, body)
		}
	}
}

// TestSwapsLoseNothing moves all traffic back and forth under load.
func TestSwapsLoseNothing(t *testing.T) {
	l := newLab(t)
	say := func(s string) netip.AddrPort {
		return server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, s) }))
	}
	one, two := say("one"), say("two")
	at, e := l.hop(one, model.HTTP)
	snapshot := func(backend string) *model.Snapshot {
		svc := func(n string, at netip.AddrPort) model.Service {
			return model.Service{
				Name: name(n), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
				Endpoints: []model.Endpoint{{ID: n, Address: at, Plain: true}},
			}
		}
		web := svc("web", one)
		web.Rules = []model.Rule{{Backends: []model.Backend{{Service: name(backend), Weight: 1}}}}
		return &model.Snapshot{Services: []model.Service{svc("one", one), svc("two", two), web}}
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	var lost, served atomic.Int64
	for range 8 {
		wg.Go(func() {
			c := h1Client(t)
			for ctx.Err() == nil {
				resp, err := c.Get("http://" + at.String() + "/")
				if err != nil {
					lost.Add(1)
					continue
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
				if resp.StatusCode != 200 {
					lost.Add(1)
				}
				served.Add(1)
			}
		})
	}
	c := h1Client(t)
	for i := range 100 {
		want := [...]string{"one", "two"}[i%2]
		l.apply(e, snapshot(want))
		if _, got := do(t, c, "GET", "http://"+at.String()+"/", nil); got != want {
			t.Fatalf("after the swap to %s the answer is from %s", want, got)
		}
	}
	stop()
	wg.Wait()
	if lost.Load() > 0 || served.Load() == 0 {
		t.Fatalf("%d of %d requests lost", lost.Load(), served.Load())
	}
}

func TestDrainFinishesWhatIsInFlight(t *testing.T) {
	l := newLab(t)
	release := make(chan struct{})
	arrived := make(chan struct{})
	p := l.pair(server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		close(arrived)
		<-release
		_, _ = io.WriteString(w, "done")
	})), model.HTTP)
	answer := make(chan string, 1)
	go func() {
		resp, err := http.Get("http://" + p.at.String() + "/")
		if err != nil {
			answer <- err.Error()
			return
		}
		defer resp.Body.Close()
		b, _ := io.ReadAll(resp.Body)
		answer <- string(b)
	}()
	<-arrived
	drained := make(chan error, 1)
	go func() {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		drained <- p.server.Drain(ctx)
	}()
	eventually(t, "draining", func() (draining bool) {
		w := p.server.workers[0]
		w.loop.Call(func() { draining = w.draining })
		return draining
	})
	select {
	case err := <-drained:
		t.Fatalf("drained with a request in flight: %v", err)
	default:
	}
	close(release)
	if got := <-answer; got != "done" {
		t.Fatalf("the request in flight got %q", got)
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestUpgradeThroughThePair(t *testing.T) {
	l := newLab(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				r := bufio.NewReader(c)
				req, err := http.ReadRequest(r)
				if err != nil {
					return
				}
				if req.Header.Get("Upgrade") != "websocket" || req.Header.Get("Sec-WebSocket-Key") == "" {
					_, _ = io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
					return
				}
				_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n")
				_, _ = io.Copy(c, r)
			}()
		}
	}()
	for _, shape := range []string{"hop", "pair"} {
		t.Run(shape, func(t *testing.T) {
			var at netip.AddrPort
			if shape == "hop" {
				at, _ = l.hop(addrOf(t, ln), model.HTTP)
			} else {
				at = l.pair(addrOf(t, ln), model.HTTP).at
			}
			c, err := net.Dial("tcp", at.String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(30 * time.Second))
			_, _ = io.WriteString(c, "GET /chat HTTP/1.1\r\nHost: web\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n")
			r := bufio.NewReader(c)
			resp, err := http.ReadResponse(r, nil)
			if err != nil || resp.StatusCode != 101 || resp.Header.Get("Sec-WebSocket-Accept") != "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
				t.Fatalf("%v %v", resp, err)
			}
			for i := range 10 {
				want := fmt.Sprintf("frame %d", i)
				_, _ = io.WriteString(c, want)
				got := make([]byte, len(want))
				if _, err := io.ReadFull(r, got); err != nil || string(got) != want {
					t.Fatalf("got %q, %v", got, err)
				}
			}
		})
	}
}

func TestAccessLogAndSeries(t *testing.T) {
	l := newLab(t)
	var log buffer
	backend := server(t, app())
	e := l.run(Options{Node: "hop", AccessLog: &log, Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
	l.apply(e, &model.Snapshot{
		Workload: model.Workload{ID: "load-1", Service: name("load")},
		Services: []model.Service{{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
			Rules: []model.Rule{{
				Ref:      model.RuleRef{Kind: "HTTPRoute", Namespace: "default", Name: "web", File: "web.yaml", Line: 9},
				Matches:  []model.Match{{Path: model.PathMatch{Type: model.Prefix, Value: "/echo"}}},
				Backends: []model.Backend{{Service: name("web"), Weight: 1}},
			}},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: backend, Plain: true, Labels: map[string]string{"version": "v1"}}},
		}},
	})
	c := h1Client(t)
	url := "http://" + e.Addrs().Upstreams[0].String()
	_, _ = do(t, c, "POST", url+"/echo?q=1", strings.NewReader("four"))
	if resp, _ := do(t, c, "GET", url+"/elsewhere", nil); resp.StatusCode != 404 || resp.Header.Get(failureHeader) != flagNoRoute {
		t.Fatalf("%s %v", resp.Status, resp.Header)
	}
	eventually(t, "two lines in the access log", func() bool { return strings.Count(log.String(), "\n") == 2 })
	var line map[string]any
	if err := json.Unmarshal([]byte(strings.SplitN(log.String(), "\n", 2)[0]), &line); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]any{
		"status": 200.0, "method": "POST", "service": "default/web", "endpoint": "web-1", "source": "default/load",
		"request_bytes": 4.0, "route": "HTTPRoute default/web rule 0 (web.yaml:9)",
	} {
		if line[k] != want {
			t.Errorf("%s is %v, want %v", k, line[k], want)
		}
	}
	series := e.Series(0, true)
	if len(series) != 2 {
		t.Fatalf("%d series: %v", len(series), series)
	}
	if again := e.Series(0, false); len(again) != 2 {
		t.Fatalf("changed: %d", len(again))
	}
	if again := e.Series(0, false); len(again) != 0 {
		t.Fatalf("changed again: %d", len(again))
	}
}
