//go:build linux && !weft_goroutines

package proxy

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestTCPResetAfterTheEnd has a side that has ended its half break the other too, while its peer is silent: nobody
// reads from it any more, and the tunnel must end all the same. Without epoll nobody would tell of it.
func TestTCPResetAfterTheEnd(t *testing.T) {
	for _, shape := range []string{"gateway", "hop", "pair"} {
		for _, side := range []string{"program", "client"} {
			t.Run(shape+"-"+side, func(t *testing.T) {
				breaks := make(chan struct{})
				program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
					if side == "client" {
						<-breaks
						return
					}
					_ = c.CloseWrite()
					<-breaks
					_ = reset(c)
				})
				l := newLab(t)
				at, engines := l.engines(shape, program)
				c := greet(t, at)
				if side == "client" {
					_ = c.CloseWrite()
					defer close(breaks)
					_ = reset(c.TCPConn)
				} else {
					if err := drained(c.r); err != nil {
						t.Fatal(err)
					}
					close(breaks)
				}
				for i, e := range engines {
					eventually(t, fmt.Sprintf("engine %d has no tunnel", i), func() bool { return e.Stats().Active == 0 })
				}
			})
		}
	}
}

// engines is shape for TCP, with the engines that make it.
func (l *lab) engines(shape string, program netip.AddrPort) (netip.AddrPort, []*Engine) {
	l.t.Helper()
	switch shape {
	case "hop":
		at, e := l.hop(program, model.TCP)
		return at, []*Engine{e}
	case "pair":
		p := l.pair(program, model.TCP)
		return p.at, []*Engine{p.client, p.server}
	}
	e, at := l.gateway(edgeOf(program, model.TCP, model.Socket{
		Address: loopback, Kind: model.SocketTCP, Listeners: []model.Listener{{Name: "edge", Rules: toWeb()}},
	}), 1)
	return at, []*Engine{e}
}
