package proxy

import (
	"bytes"
	"encoding/json"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// udpProgram answers datagrams with what f makes of them; nil is no answer.
func udpProgram(t testing.TB, addr string, f func([]byte) []byte) *net.UDPConn {
	t.Helper()
	a, err := net.ResolveUDPAddr("udp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c, err := net.ListenUDP("udp", a)
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		t.Skip(err) // no IPv6 here
	case err != nil:
		t.Fatal(err)
	}
	_ = c.SetReadBuffer(4 << 20)
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 65536)
		for {
			n, from, err := c.ReadFromUDPAddrPort(buf)
			if errors.Is(err, net.ErrClosed) {
				return
			}
			if err != nil {
				continue // what was sent before came back as unreachable
			}
			if answer := f(buf[:n]); answer != nil {
				_, _ = c.WriteToUDPAddrPort(answer, from)
			}
		}
	}()
	t.Cleanup(func() { c.Close(); <-done })
	return c
}

func sameBytes(b []byte) []byte { return b }

// named answers everything with its name.
func named(name string) func([]byte) []byte {
	return func([]byte) []byte { return []byte(name) }
}

func udpAt(c *net.UDPConn) netip.AddrPort { return c.LocalAddr().(*net.UDPAddr).AddrPort() }

// udpEndpoint is one outside the mesh.
func udpEndpoint(id string, at netip.AddrPort) model.Endpoint {
	return model.Endpoint{ID: id, Address: at, Plain: true, Protocol: model.UDP, Ports: []uint16{53}}
}

// udpEdge is a snapshot with a UDP listener at addr that leads to services by weight.
func udpEdge(addr netip.AddrPort, weights []uint32, services ...model.Service) *model.Snapshot {
	r := model.Rule{Ref: model.RuleRef{Kind: "UDPRoute", Namespace: "default", Name: "r"}}
	for i, s := range services {
		r.Backends = append(r.Backends, model.Backend{Service: s.Name, Port: 53, Weight: weights[i]})
	}
	return &model.Snapshot{Services: services, Sockets: []model.Socket{{
		Address: addr, Kind: model.SocketUDP, Listeners: []model.Listener{{Name: "default/edge/dns", Rules: []model.Rule{r}}},
	}}}
}

func udpService(n string, eps ...model.Endpoint) model.Service {
	return model.Service{Name: name(n), Ports: []model.Port{{Number: 53, Protocol: model.UDP}}, Endpoints: eps}
}

// udpGateway runs a snapshot of udpEdge and returns where it listens.
func (l *lab) udpGateway(o Options, s *model.Snapshot) (*Engine, netip.AddrPort) {
	l.t.Helper()
	o.Node = "edge"
	e := l.run(o)
	l.apply(e, s)
	return e, e.DatagramSockets()[s.Sockets[0].Address]
}

const udpPatience = 30 * time.Second

func udpDial(t testing.TB, at netip.AddrPort) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// askUDP sends b until an answer comes back: datagrams may be lost.
func askUDP(t testing.TB, c net.Conn, b []byte) []byte {
	t.Helper()
	buf := make([]byte, 65536)
	for end := time.Now().Add(udpPatience); time.Now().Before(end); {
		if _, err := c.Write(b); err != nil {
			t.Fatal(err)
		}
		_ = c.SetReadDeadline(time.Now().Add(3 * time.Second))
		n, err := c.Read(buf)
		if err == nil {
			return buf[:n]
		}
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Fatal(err)
		}
	}
	t.Fatal("no answer")
	return nil
}

// udpCounts adds up the counts of a listener.
func udpCounts(e *Engine) *telemetry.Datagrams {
	sum := &telemetry.Datagrams{}
	for _, loop := range e.Datagrams() {
		for _, d := range loop {
			sum.Sent += d.Sent
			sum.Received += d.Received
			sum.Evicted += d.Evicted
			for reason, n := range d.Dropped {
				sum.DropN(reason, n)
			}
		}
	}
	return sum
}

// logBuffer is an access log that a test reads.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) lines(t testing.TB) (out []map[string]any) {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.b.Bytes()) {
		m := map[string]any{}
		if err := json.Unmarshal(line, &m); err != nil {
			t.Fatal(err)
		}
		out = append(out, m)
	}
	return out
}
