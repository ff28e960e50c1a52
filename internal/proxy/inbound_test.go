package proxy

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// comeIn is a pair of engines before a program that holds its answers back until release.
type comeIn struct {
	*lab
	far     *Engine
	at      netip.AddrPort
	program netip.AddrPort
	began   chan string // remote address of a request that the program has begun
	release chan struct{}
}

func newComeIn(t *testing.T) *comeIn {
	c := &comeIn{lab: newLab(t), began: make(chan string, 16), release: make(chan struct{})}
	c.program = server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.began <- r.RemoteAddr
		<-c.release
		fmt.Fprint(w, "done")
	}))
	c.far = c.run(Options{Node: "web-1", TLS: c.identity("web"), Inbound: loopback})
	near := c.run(Options{Node: "load-1", TLS: c.identity("load"), Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
	c.apply(near, &model.Snapshot{
		Workload: model.Workload{ID: "load-1", Identity: c.ca.ID("default", "load"), Service: name("load")},
		Services: []model.Service{{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: c.far.Addrs().Inbound, Identity: c.ca.ID("default", "web")}},
		}},
	})
	c.at = near.Addrs().Upstreams[0]
	return c
}

// bound gives the far proxy bounds of what comes in.
func (c *comeIn) bound(b *model.Connections, port uint16) {
	c.apply(c.far, &model.Snapshot{Workload: model.Workload{
		ID: "web-1", Identity: c.ca.ID("default", "web"), Service: name("web"),
		Inbound: []model.Inbound{{ServicePort: 80, Port: port, Protocol: model.HTTP, Connections: b}},
	}})
}

// ask makes a request; its status and flag come by the channel.
func (c *comeIn) ask() <-chan string {
	out := make(chan string, 1)
	client := h1Client(c.t)
	client.Timeout = patience
	go func() {
		resp, err := client.Get("http://" + c.at.String() + "/")
		if err != nil {
			out <- err.Error()
			return
		}
		resp.Body.Close()
		out <- fmt.Sprintf("%d %s", resp.StatusCode, resp.Header.Get(failureHeader))
	}()
	return out
}

func (c *comeIn) wait(what string, from <-chan string) string {
	c.t.Helper()
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case s := <-from:
		return s
	case <-timer.C:
		c.t.Fatalf("%s did not come", what)
		return ""
	}
}

// TestInboundRequests: as many requests as the bound allows are at the program, whoever they are from; the next is
// refused, and room that is made is given away again. A bound that changes or goes holds for what is in flight.
func TestInboundRequests(t *testing.T) {
	c := newComeIn(t)
	c.bound(&model.Connections{Requests: 2}, c.program.Port())
	first, second := c.ask(), c.ask()
	c.wait("the first", c.began)
	c.wait("the second", c.began)
	if got := c.wait("the third", c.ask()); got != "503 "+flagLimit {
		t.Errorf("beyond the bound: %s", got)
	}
	c.bound(&model.Connections{Requests: 3}, c.program.Port())
	third := c.ask()
	c.wait("the third", c.began)
	if got := c.wait("the fourth", c.ask()); got != "503 "+flagLimit {
		t.Errorf("beyond the new bound: %s", got)
	}
	c.bound(nil, c.program.Port())
	fourth := c.ask()
	c.wait("the fourth", c.began)
	close(c.release)
	for _, answer := range []<-chan string{first, second, third, fourth} {
		if got := c.wait("an answer", answer); got != "200 " {
			t.Errorf("within the bound: %s", got)
		}
	}
}

// TestInboundConnections: there are as many connections to the program as the bound allows; a request more waits for one
// of them, and another is refused, which its client's proxy hears as not passed on.
func TestInboundConnections(t *testing.T) {
	c := newComeIn(t)
	c.bound(&model.Connections{Max: 1, Pending: 1}, c.program.Port())
	first := c.ask()
	by := c.wait("the first", c.began)
	// One of these two waits, and the other is refused.
	a, b := c.ask(), c.ask()
	waits := a
	var got string
	timer := time.NewTimer(patience)
	defer timer.Stop()
	select {
	case got = <-a:
		waits = b
	case got = <-b:
	case <-timer.C:
		t.Fatal("nobody was refused")
	}
	if got != "503 "+flagRefused {
		t.Errorf("beyond the bound: %s", got)
	}
	c.release <- struct{}{}
	if again := c.wait("the one that waited", c.began); again != by {
		t.Errorf("it came by another connection, %s and not %s", again, by)
	}
	close(c.release)
	for _, answer := range []<-chan string{first, waits} {
		if got := c.wait("an answer", answer); got != "200 " {
			t.Errorf("within the bound: %s", got)
		}
	}
}

// TestProgramMoves: a Sidecar may say that the program is elsewhere, and requests go there from then on.
func TestProgramMoves(t *testing.T) {
	c := newComeIn(t)
	close(c.release)
	other := server(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "elsewhere") }))
	for _, x := range []struct {
		program netip.AddrPort
		want    string
	}{{c.program, "done"}, {other, "elsewhere"}, {c.program, "done"}} {
		c.bound(&model.Connections{Requests: 10}, x.program.Port())
		if resp, got := do(t, h1Client(t), "GET", "http://"+c.at.String()+"/", nil); resp.StatusCode != 200 || got != x.want {
			t.Errorf("%s %q, want %q", resp.Status, got, x.want)
		}
	}
}

// TestInboundSilence: a connection of bytes that is silent for as long as the bounds of what comes in allow is ended by
// the proxy beside the program, though its client's would keep it.
func TestInboundSilence(t *testing.T) {
	c := newComeIn(t)
	close(c.release)
	greeting := greeted(t, echo)
	c.apply(c.far, &model.Snapshot{Workload: model.Workload{
		ID: "web-1", Identity: c.ca.ID("default", "web"), Service: name("web"),
		Inbound: []model.Inbound{{ServicePort: 80, Port: greeting.Port(), Protocol: model.TCP, Connections: &model.Connections{TCPIdle: 100 * time.Millisecond}}},
	}})
	near := c.run(Options{Node: "load-2", TLS: c.identity("load"), Upstreams: []Upstream{{Service: name("web"), Port: 80, Listen: loopback}}})
	c.apply(near, &model.Snapshot{
		Workload: model.Workload{ID: "load-2", Identity: c.ca.ID("default", "load"), Service: name("load")},
		Services: []model.Service{{
			Name: name("web"), Ports: []model.Port{{Number: 80, Protocol: model.TCP}},
			Endpoints: []model.Endpoint{{ID: "web-1", Address: c.far.Addrs().Inbound, Identity: c.ca.ID("default", "web")}},
		}},
	})
	raw := greet(t, near.Addrs().Upstreams[0])
	if _, err := raw.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("the silent connection: %v", err)
	}
}
