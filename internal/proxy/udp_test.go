package proxy

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

func TestUDPGateway(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			program := udpProgram(t, addr, sameBytes)
			l := newLab(t)
			e, at := l.udpGateway(Options{}, udpEdge(netip.MustParseAddrPort(addr), []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program)))))
			c := udpDial(t, at)
			for _, size := range []int{0, 1, 512, 1500, 9000, 65507} {
				want := bytes.Repeat([]byte{byte(size)}, size)
				if got := askUDP(t, c, want); !bytes.Equal(got, want) {
					t.Fatalf("%d bytes came back for %d", len(got), size)
				}
			}
			if s := e.Stats(); s.Connections != 1 || s.Active != 1 {
				t.Errorf("%+v", s)
			}
			if d := udpCounts(e); d.Sent < 6 || d.Received < 6 || len(d.Dropped) != 0 {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestUDPManyClients has several loops serve many clients, each on the endpoint that it began with.
func TestUDPManyClients(t *testing.T) {
	const clients, endpoints = 200, 4
	var eps []model.Endpoint
	for i := range endpoints {
		id := fmt.Sprintf("web-%d", i)
		eps = append(eps, udpEndpoint(id, udpAt(udpProgram(t, "127.0.0.1:0", named(id)))))
	}
	svc := udpService("web", eps...)
	svc.Upstream = &model.Upstream{Balance: model.Balance{Algorithm: model.RoundRobin}}
	l := newLab(t)
	e, at := l.udpGateway(Options{Loops: 3}, udpEdge(loopback, []uint32{1}, svc))
	var conns []net.Conn
	first, shares := make([]string, clients), map[string]int{}
	for i := range clients {
		conns = append(conns, udpDial(t, at))
		first[i] = string(askUDP(t, conns[i], []byte("who?")))
		shares[first[i]]++
	}
	for i, c := range conns {
		if again := string(askUDP(t, c, []byte("who?"))); again != first[i] {
			t.Errorf("client %d was with %s, and is with %s", i, first[i], again)
		}
	}
	// Each of three loops has its own turn: it may be off by one endpoint.
	for id, n := range shares {
		if n < clients/endpoints-3 || n > clients/endpoints+3 {
			t.Errorf("%s has %d of %d clients", id, n, clients)
		}
	}
	if s := e.Stats(); s.Connections != clients {
		t.Errorf("%d sessions", s.Connections)
	}
}

// TestUDPSourceHash has the sessions of one address all go to one endpoint, and addresses to all endpoints.
func TestUDPSourceHash(t *testing.T) {
	var eps []model.Endpoint
	for i := range 3 {
		id := fmt.Sprintf("web-%d", i)
		eps = append(eps, udpEndpoint(id, udpAt(udpProgram(t, "127.0.0.1:0", named(id)))))
	}
	svc := udpService("web", eps...)
	svc.Upstream = &model.Upstream{Balance: model.Balance{Algorithm: model.Maglev, Hash: []model.HashKey{{Source: true}}}}
	l := newLab(t)
	_, at := l.udpGateway(Options{Loops: 2}, udpEdge(loopback, []uint32{1}, svc))
	used := map[string]bool{}
	for i := range 30 {
		from := &net.UDPAddr{IP: net.IPv4(127, 0, 1, byte(i+1))}
		var first string
		for j := range 3 {
			c, err := net.DialUDP("udp", from, net.UDPAddrFromAddrPort(at))
			if err != nil {
				t.Skip(err)
			}
			got := string(askUDP(t, c, nil))
			c.Close()
			if j > 0 && got != first {
				t.Errorf("%v was with %s, and is with %s", from, first, got)
			}
			first = got
		}
		used[first] = true
	}
	if len(used) != 3 {
		t.Errorf("30 addresses are with %v", used)
	}
}

// TestUDPWeights holds the shares of sessions within 5 standard deviations of a binomial distribution.
func TestUDPWeights(t *testing.T) {
	a := udpProgram(t, "127.0.0.1:0", named("a"))
	b := udpProgram(t, "127.0.0.1:0", named("b"))
	l := newLab(t)
	_, at := l.udpGateway(Options{}, udpEdge(loopback, []uint32{9, 1},
		udpService("a", udpEndpoint("a", udpAt(a))), udpService("b", udpEndpoint("b", udpAt(b)))))
	const n, share = 1000, 0.1
	got := 0
	for range n {
		c := udpDial(t, at)
		if string(askUDP(t, c, nil)) == "b" {
			got++
		}
		c.Close()
	}
	if bound := 5 * math.Sqrt(n*share*(1-share)); math.Abs(float64(got)-n*share) > bound {
		t.Errorf("%d of %d sessions went to b; %.0f +- %.0f were to", got, n, n*share, bound)
	}
}

// TestUDPIdle has a session end by the policy's time for idle connections, and its record tell of it.
func TestUDPIdle(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	log := &logBuffer{}
	l := newLab(t)
	s := udpEdge(loopback, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program))))
	s.Sockets[0].Listeners[0].Rules[0].Policy = &model.Policy{IdleTimeout: 100 * time.Millisecond}
	e, at := l.udpGateway(Options{AccessLog: log}, s)
	c := udpDial(t, at)
	askUDP(t, c, []byte("hello"))
	eventually(t, "the session ends", func() bool { return e.Stats().Connections == 0 && len(log.lines(t)) > 0 })
	line := log.lines(t)[0]
	for k, want := range map[string]any{
		"protocol": "udp", "service": "default/edge/dns", "destination": "default/web", "endpoint": "web-1",
		"route": "UDPRoute default/r rule 0", "source_address": c.LocalAddr().String(), "failure": nil,
	} {
		if line[k] != want {
			t.Errorf("%s: %v, want %v", k, line[k], want)
		}
	}
	if sent, bytes := line["request_datagrams"].(float64), line["request_bytes"].(float64); sent < 1 || bytes != 5*sent {
		t.Errorf("%v", line)
	}
	series := e.Series(0, true)
	if len(series) != 1 || series[0].Protocol != "udp" || series[0].Success < 1 || series[0].BytesSent < 5 || series[0].BytesReceived < 5 ||
		series[0].ConnectionsOpened != series[0].Success || series[0].ConnectionsClosed != series[0].Success {
		t.Errorf("%v", series)
	}
	askUDP(t, c, []byte("again"))
}

// TestUDPFullTable has a datagram of a new client dropped while all sessions are at work, and take the place of the
// one that is idle longest otherwise.
func TestUDPFullTable(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	l := newLab(t)
	e, at := l.udpGateway(Options{MaxSessions: 2}, udpEdge(loopback, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program)))))
	a, b, late := udpDial(t, at), udpDial(t, at), udpDial(t, at)
	askUDP(t, a, []byte("a"))
	askUDP(t, b, []byte("b"))
	if _, err := late.Write([]byte("late")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "a session is refused or evicted", func() bool {
		d := udpCounts(e)
		return d.Dropped[flagTableFull]+d.Evicted > 0
	})
	askUDP(t, late, []byte("late")) // comes to be when the others have been idle for a second
	if d, s := udpCounts(e), e.Stats(); d.Evicted == 0 || s.Connections != 2 {
		t.Errorf("%+v, %d sessions", d, s.Connections)
	}
}

// TestUDPPortUnreachable has a session to a dead endpoint end, the next one go to another, and the dead one ejected.
func TestUDPPortUnreachable(t *testing.T) {
	dead := udpProgram(t, "127.0.0.1:0", sameBytes)
	at0 := udpAt(dead)
	dead.Close()
	alive := udpProgram(t, "127.0.0.1:0", named("alive"))
	svc := udpService("web", udpEndpoint("dead", at0), udpEndpoint("alive", udpAt(alive)))
	svc.Upstream = &model.Upstream{
		Balance:  model.Balance{Algorithm: model.RoundRobin},
		Ejection: &model.Ejection{Consecutive5xx: 1, Base: time.Hour, MaxShare: 1},
	}
	log := &logBuffer{}
	l := newLab(t)
	e, at := l.udpGateway(Options{AccessLog: log}, udpEdge(loopback, []uint32{1}, svc))
	for i := range 10 {
		c := udpDial(t, at)
		if i < 2 { // one of them is dealt to the dead endpoint: nothing is lost
			_ = c.SetReadDeadline(time.Now().Add(udpPatience))
			if _, err := c.Write([]byte("once")); err != nil {
				t.Fatal(err)
			}
			if n, err := c.Read(make([]byte, 64)); err != nil || n != len("alive") {
				t.Fatal(n, err)
			}
			continue
		}
		if got := string(askUDP(t, c, nil)); got != "alive" {
			t.Fatalf("%q answered", got)
		}
		c.Close()
	}
	failed := 0
	for _, line := range log.lines(t) {
		if line["endpoint"] == "dead" && line["failure"] == flagConnect {
			failed++
		}
	}
	if failed != 1 {
		t.Errorf("%d sessions failed at the dead endpoint; after the first it is to be left out", failed)
	}
	var failures uint64
	for _, s := range e.Series(0, true) {
		failures += s.Failure
	}
	if failures != 1 {
		t.Errorf("%d failures are counted", failures)
	}
}

// TestUDPChange has sessions end whose endpoint goes, and others stay.
func TestUDPChange(t *testing.T) {
	a := udpEndpoint("a", udpAt(udpProgram(t, "127.0.0.1:0", named("a"))))
	b := udpEndpoint("b", udpAt(udpProgram(t, "127.0.0.1:0", named("b"))))
	l := newLab(t)
	e, at := l.udpGateway(Options{Loops: 2}, udpEdge(loopback, []uint32{1}, udpService("web", a, b)))
	conns := map[string]net.Conn{}
	for len(conns) < 2 {
		c := udpDial(t, at)
		conns[string(askUDP(t, c, nil))] = c
	}
	before := e.Stats().Connections
	l.apply(e, udpEdge(loopback, []uint32{1}, udpService("web", b)))
	if after := e.Stats().Connections; after >= before || after == 0 {
		t.Errorf("%d sessions before, %d after", before, after)
	}
	for was, c := range conns {
		if got := string(askUDP(t, c, nil)); got != "b" {
			t.Errorf("the client of %s is with %s", was, got)
		}
	}
	// Another backend: sessions of the one before end, though its endpoint is still there.
	l.apply(e, udpEdge(loopback, []uint32{0, 1}, udpService("web", b), udpService("other", a)))
	if n := e.Stats().Connections; n != 0 {
		t.Errorf("%d sessions", n)
	}
	if got := string(askUDP(t, conns["b"], nil)); got != "a" {
		t.Errorf("the client is with %s", got)
	}
	l.apply(e, &model.Snapshot{})
	if n := e.Stats().Connections; n != 0 || len(e.DatagramSockets()) != 0 {
		t.Errorf("%d sessions without a listener", n)
	}
}

// TestUDPDropReasons has every datagram that is not passed on counted by its reason.
func TestUDPDropReasons(t *testing.T) {
	mesh := model.Endpoint{ID: "behind", Address: loopback, Identity: model.Identity{Namespace: "default", Account: "web"}}
	for reason, s := range map[string]*model.Snapshot{
		flagNoRoute:     {Sockets: []model.Socket{{Address: loopback, Kind: model.SocketUDP, Listeners: []model.Listener{{Name: "default/edge/dns"}}}}},
		flagBadBackend:  udpEdge(loopback, []uint32{0}, udpService("web")),
		flagNoEndpoints: udpEdge(loopback, []uint32{1}, udpService("web", mesh)),
	} {
		t.Run(reason, func(t *testing.T) {
			l := newLab(t)
			e, at := l.udpGateway(Options{}, s)
			c := udpDial(t, at)
			if _, err := c.Write([]byte("x")); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the datagram is counted", func() bool { return udpCounts(e).Dropped[reason] == 1 })
		})
	}
}

// TestUDPDrain has what is under way finish, and new clients not served.
func TestUDPDrain(t *testing.T) {
	held := make(chan struct{})
	program := udpProgram(t, "127.0.0.1:0", func(b []byte) []byte {
		if string(b) == "slow" {
			select {
			case <-held:
			case <-t.Context().Done():
			}
		}
		return b
	})
	l := newLab(t)
	e, at := l.udpGateway(Options{}, udpEdge(loopback, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program)))))
	c := udpDial(t, at)
	askUDP(t, c, []byte("hello"))
	if _, err := c.Write([]byte("slow")); err != nil {
		t.Fatal(err)
	}
	sent := udpCounts(e).Sent
	eventually(t, "the datagram is passed on", func() bool { return udpCounts(e).Sent > sent || udpCounts(e).Sent >= 2 })
	ctx, cancel := context.WithTimeout(t.Context(), udpPatience)
	defer cancel()
	drained := make(chan error, 1)
	go func() { drained <- e.Drain(ctx) }()
	eventually(t, "a new client is turned away", func() bool {
		_, _ = udpDial(t, at).Write([]byte("late")) // one that came before goes on as long as it sends, as this does:
		_, _ = c.Write([]byte("hello"))
		return udpCounts(e).Dropped[flagDraining] > 0
	})
	close(held)
	_ = c.SetReadDeadline(time.Now().Add(udpPatience))
	buf := make([]byte, 16)
	for {
		n, err := c.Read(buf)
		if err != nil {
			t.Fatal(err)
		}
		if string(buf[:n]) == "slow" {
			break
		}
	}
	if err := <-drained; err != nil {
		t.Fatal(err)
	}
}

// TestUDPBesideTCP has both on one port.
func TestUDPBesideTCP(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := addrOf(t, free)
	free.Close()
	s := udpEdge(at, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program))))
	s.Sockets = append(s.Sockets, model.Socket{Address: at, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "default/edge/http"}}})
	l := newLab(t)
	e, _ := l.udpGateway(Options{}, s)
	askUDP(t, udpDial(t, at), []byte("hello"))
	if e.Sockets()[at] != at || e.DatagramSockets()[at] != at {
		t.Errorf("%v, %v", e.Sockets(), e.DatagramSockets())
	}
	if resp, _ := do(t, h1Client(t), "GET", "http://"+at.String()+"/", nil); resp.StatusCode != 404 {
		t.Errorf("status %d", resp.StatusCode)
	}
}

// TestUDPAddressTaken has a snapshot refused whose address another program holds.
func TestUDPAddressTaken(t *testing.T) {
	taken := udpAt(udpProgram(t, "127.0.0.1:0", sameBytes))
	e := newLab(t).run(Options{})
	if err := e.Apply(udpEdge(taken, nil)); err == nil {
		t.Fatal("it was taken")
	}
}

// TestUDPEnd has the sessions that are there when the engine ends tell of themselves.
func TestUDPEnd(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	log := &logBuffer{}
	e, err := New(Options{Node: "edge", AccessLog: log, Loops: 2})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- e.Run(ctx) }()
	newLab(t).apply(e, udpEdge(loopback, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program)))))
	at := e.DatagramSockets()[loopback]
	const clients = 8
	for range clients {
		askUDP(t, udpDial(t, at), []byte("hello"))
	}
	cancel()
	if err := <-ended; err != nil {
		t.Fatal(err)
	}
	if lines := log.lines(t); len(lines) != clients {
		t.Errorf("%d of %d sessions are in the log", len(lines), clients)
	}
}

// TestUDPBounds has a service's bound on connections hold for sessions.
func TestUDPBounds(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	svc := udpService("web", udpEndpoint("web-1", udpAt(program)))
	svc.Upstream = &model.Upstream{Connections: model.Connections{Max: 1}}
	l := newLab(t)
	e, at := l.udpGateway(Options{}, udpEdge(loopback, []uint32{1}, svc))
	askUDP(t, udpDial(t, at), nil)
	if _, err := udpDial(t, at).Write(nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the datagram of a second client is dropped", func() bool { return udpCounts(e).Dropped[flagLimit] == 1 })
}

// TestUDPWildcard has answers come from the address that the client asked, on a socket of all addresses.
func TestUDPWildcard(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	everywhere := netip.MustParseAddrPort("0.0.0.0:0")
	l := newLab(t)
	_, at := l.udpGateway(Options{}, udpEdge(everywhere, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program)))))
	for _, ip := range []string{"127.0.0.1", "127.0.0.9"} {
		askUDP(t, udpDial(t, netip.AddrPortFrom(netip.MustParseAddr(ip), at.Port())), []byte("hello"))
	}
}
