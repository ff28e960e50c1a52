package proxy

import (
	"bytes"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// TestUDPHealthChecks has one of two endpoints stop to answer checks as is expected, by each kind of check: no session is
// given to it, and those it had go to the other one, until it is well again.
func TestUDPHealthChecks(t *testing.T) {
	for name, answer := range map[string]func() []byte{
		"silent": func() []byte { return nil },
		"wrong":  func() []byte { return []byte("away") },
	} {
		t.Run(name, func(t *testing.T) {
			var sick atomic.Bool
			program := func(id string, ill func() bool) model.Endpoint {
				return udpEndpoint(id, udpAt(udpProgram(t, "127.0.0.1:0", func(b []byte) []byte {
					switch {
					case !bytes.Equal(b, []byte("ping")):
						return []byte(id)
					case ill():
						return answer()
					}
					return []byte("a pong of " + id)
				})))
			}
			svc := udpService("web", program("a", sick.Load), program("b", func() bool { return false }))
			svc.Upstream = &model.Upstream{
				Balance: model.Balance{Algorithm: model.RoundRobin},
				Health: &model.HealthCheck{
					Type: model.HealthUDP, Send: []byte("ping"), Receive: []byte("pong"),
					Interval: 20 * time.Millisecond, Timeout: 20 * time.Millisecond, Healthy: 1, Unhealthy: 2,
				},
			}
			l := newLab(t)
			e, at := l.udpGateway(Options{Loops: 2}, udpEdge(loopback, []uint32{1}, svc))
			held := udpDial(t, at)
			for string(askUDP(t, held, []byte("who?"))) != "a" {
				held = udpDial(t, at)
			}
			sick.Store(true)
			eventually(t, "the session leaves the endpoint", func() bool { return string(askUDP(t, held, []byte("who?"))) == "b" })
			eventually(t, "new sessions are given to the other", func() bool {
				seen := map[string]bool{}
				for range 6 {
					c := udpDial(t, at)
					seen[string(askUDP(t, c, []byte("who?")))] = true
					c.Close()
				}
				return len(seen) == 1 && seen["b"]
			})
			if s := e.Conditions([]model.ServiceName{svc.Name}); !leftOut(s, "a", stateSick) {
				t.Errorf("what is known: %v", s)
			}
			sick.Store(false)
			eventually(t, "the endpoint is back", func() bool { return string(askUDP(t, udpDial(t, at), []byte("who?"))) == "a" })
		})
	}
}

// TestUDPHealthByTCP has endpoints for datagrams checked by connections to the same port, as load balancers do that know
// nothing of the protocol; and connections are not checked by datagrams.
func TestUDPHealthByTCP(t *testing.T) {
	well := server(t, saying("well")) // whose port takes connections
	a := udpEndpoint("a", udpAt(udpProgram(t, fmt.Sprintf("127.0.0.1:%d", well.Port()), named("a"))))
	b := udpEndpoint("b", udpAt(udpProgram(t, "127.0.0.1:0", named("b"))))
	svc := udpService("web", a, b)
	svc.Upstream = &model.Upstream{Health: &model.HealthCheck{Type: model.HealthTCP, Interval: 20 * time.Millisecond, Unhealthy: 1}}
	plain := program(t, "plain", saying("plain"))
	plain.Upstream = &model.Upstream{Health: &model.HealthCheck{Type: model.HealthUDP, Interval: 20 * time.Millisecond, Unhealthy: 1}}
	l := newLab(t)
	s := udpEdge(loopback, []uint32{1}, svc)
	s.Services = append(s.Services, plain)
	e, at := l.udpGateway(Options{}, s)
	eventually(t, "the endpoint without TCP is left out", func() bool { return leftOut(e.Conditions([]model.ServiceName{svc.Name}), "b", stateSick) })
	for range 6 {
		if got := string(askUDP(t, udpDial(t, at), []byte("who?"))); got != "a" {
			t.Errorf("a session is with %s", got)
		}
	}
	if s := e.Conditions([]model.ServiceName{plain.Name}); leftOut(s, "plain-1", stateSick) {
		t.Errorf("an endpoint for connections was asked by datagrams: %v", s)
	}
}

// leftOut reports whether the endpoint is among those that are left out, in that state.
func leftOut(pools []*discoveryv1.PoolState, id, state string) bool {
	for _, p := range pools {
		for _, x := range p.GetOut() {
			if x.GetId() == id && x.GetState() == state {
				return true
			}
		}
	}
	return false
}
