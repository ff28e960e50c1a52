package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// introducing is a program that says its name to whoever connects.
func introducing(t *testing.T, who string) netip.AddrPort {
	return rawProgram(t, func(c *net.TCPConn, _ *bufio.Reader) { fmt.Fprint(c, who) })
}

// addressed are rules for connections, of a service or, without a layer, of a listener: from 127.0.0.9 to a, those to 198.51.100.0/24 or 127.0.0.6 to b.
func addressed(layer model.Layer) []model.Rule {
	rule := func(to string, m model.MoreMatch) model.Rule {
		return model.Rule{
			Ref: model.RuleRef{Kind: "VirtualService", Namespace: "default", Name: to}, Layer: layer, Matches: []model.Match{{More: &m}},
			Backends: []model.Backend{{Service: name(to), Port: 7000, Weight: 1}},
		}
	}
	prefix := netip.MustParsePrefix
	return []model.Rule{
		rule("a", model.MoreMatch{Source: &model.SourceMatch{Labels: map[string]string{"app": "nobody"}}}),
		rule("a", model.MoreMatch{Addresses: &model.AddressMatch{Sources: []netip.Prefix{prefix("127.0.0.9/32")}}}),
		rule("b", model.MoreMatch{Addresses: &model.AddressMatch{Destinations: []netip.Prefix{prefix("198.51.100.0/24"), prefix("127.0.0.6/32")}}}),
	}
}

func addressedServices(t *testing.T) []model.Service {
	service := func(n string) model.Service {
		return model.Service{
			Name: name(n), Ports: []model.Port{{Number: 7000, Protocol: model.TCP}},
			Endpoints: []model.Endpoint{{ID: n + "-1", Address: introducing(t, n), Plain: true}},
		}
	}
	return []model.Service{service("a"), service("b"), service("front"), service("far")}
}

// heard connects from an address and returns what is said.
func heard(t *testing.T, from string, to netip.AddrPort) string {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.DialContext(t.Context(), "tcp", to.String())
	if wasReset(err) {
		return "" // the reset may be here before connect has returned
	}
	if err != nil {
		t.Fatal(err)
	}
	raw := &rawConn{t: t, TCPConn: c.(*net.TCPConn), r: bufio.NewReader(c)}
	defer raw.Close()
	_ = c.SetDeadline(time.Now().Add(patience))
	got, _ := io.ReadAll(raw.r)
	return string(got)
}

// TestConnectionsByAddress has connections of programs go by their addresses: the program's own, and that of the service
// it calls. A rule for other clients takes none of them.
func TestConnectionsByAddress(t *testing.T) {
	l := newLab(t)
	e := l.run(Options{Node: "load-1", Upstreams: []Upstream{
		{Service: name("front"), Port: 7000, Listen: loopback}, {Service: name("far"), Port: 7000, Listen: loopback},
	}})
	services := addressedServices(t)
	for i := range services[2:] {
		s := &services[2+i]
		s.Rules, s.Ordered, s.VIP = addressed(model.Bytes), true, netip.MustParseAddr([]string{"198.51.100.7", "203.0.113.7"}[i])
	}
	l.apply(e, &model.Snapshot{Workload: model.Workload{ID: "load-1", Service: name("load")}, Services: services})
	front, far := e.Addrs().Upstreams[0], e.Addrs().Upstreams[1]
	for _, x := range []struct {
		from string
		to   netip.AddrPort
		want string
	}{{"127.0.0.9", front, "a"}, {"127.0.0.1", front, "b"}, {"127.0.0.9", far, "a"}, {"127.0.0.1", far, "far"}} {
		if got := heard(t, x.from, x.to); got != x.want {
			t.Errorf("from %s to %s: %q, want %q", x.from, x.to, got, x.want)
		}
	}
}

// TestGatewayByAddress has a gateway's connections go by the addresses of the client and of the gateway that it connects
// to; what no rule is for is closed.
func TestGatewayByAddress(t *testing.T) {
	l := newLab(t)
	rules := addressed("")
	socket := func(at string) model.Socket {
		return model.Socket{Address: netip.MustParseAddrPort(at), Kind: model.SocketTCP, Listeners: []model.Listener{{Name: "tcp", Rules: rules, Ordered: true}}}
	}
	e, first := l.gateway(&model.Snapshot{
		Workload: model.Workload{ID: "edge", Service: name("edge")},
		Services: addressedServices(t), Sockets: []model.Socket{socket("127.0.0.1:0"), socket("127.0.0.6:0")},
	}, 2)
	at := []netip.AddrPort{first, e.Sockets()[netip.MustParseAddrPort("127.0.0.6:0")]}
	for _, x := range []struct {
		from string
		to   netip.AddrPort
		want string
	}{{"127.0.0.9", at[0], "a"}, {"127.0.0.1", at[0], ""}, {"127.0.0.1", at[1], "b"}, {"127.0.0.9", at[1], "a"}} {
		if got := heard(t, x.from, x.to); got != x.want {
			t.Errorf("from %s to %s: %q, want %q", x.from, x.to, got, x.want)
		}
	}
}

// TestServerNamesByAddress has a rule for a server name that asks for an address which the program does not call: the
// next rule for the name takes the connection.
func TestServerNamesByAddress(t *testing.T) {
	l := newLab(t)
	e := l.run(Options{Node: "load-1", Upstreams: []Upstream{{Service: name("front"), Port: 7000, Listen: loopback}}})
	services := addressedServices(t)
	front := &services[2]
	front.Ordered, front.VIP = true, netip.MustParseAddr("203.0.113.7")
	for i, to := range []string{"a", "b"} {
		r := addressed(model.ServerNames)[2]
		r.Hosts, r.Backends = []string{"x.example"}, []model.Backend{{Service: name(to), Port: 7000, Weight: 1}}
		if i == 1 {
			r.Matches = nil
		}
		front.Rules = append(front.Rules, r)
	}
	says := func() string {
		raw := dialRaw(t, e.Addrs().Upstreams[0])
		raw.send(hello(t, "x.example"))
		got, _ := io.ReadAll(raw.r)
		return string(got)
	}
	snap := &model.Snapshot{Workload: model.Workload{ID: "load-1", Service: name("load")}, Services: services}
	l.apply(e, snap)
	if got := says(); got != "b" {
		t.Errorf("to another address: %q", got)
	}
	moved := *snap // the first is the engine's
	moved.Services = slices.Clone(services)
	moved.Services[2].VIP = netip.MustParseAddr("198.51.100.7")
	l.apply(e, &moved)
	if got := says(); got != "a" {
		t.Errorf("to the rule's address: %q", got)
	}
}
