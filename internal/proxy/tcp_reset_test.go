package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// ending is one way for a tunnel to break. Each side returns how its connection ended; that of the side that did
// not break it counts.
type ending struct {
	name    string
	program func(c *net.TCPConn, r *bufio.Reader) error
	client  func(c *net.TCPConn, r *bufio.Reader) error
}

// TestTCPResetByTheProgram: a client must not take what it has for the whole when its program broke off
// (RFC 9293, section 3.10.7: RST is an error of the connection, not its end).
func TestTCPResetByTheProgram(t *testing.T) {
	for _, e := range []ending{
		{
			"idle",
			func(c *net.TCPConn, _ *bufio.Reader) error { return reset(c) },
			func(_ *net.TCPConn, r *bufio.Reader) error { return drained(r) },
		},
		{
			"while the client sends",
			func(c *net.TCPConn, r *bufio.Reader) error {
				_, _ = io.CopyN(io.Discard, r, 1<<20)
				return reset(c)
			},
			func(c *net.TCPConn, _ *bufio.Reader) error { return flood(c) },
		},
		{
			"while it sends itself",
			func(c *net.TCPConn, _ *bufio.Reader) error {
				_, _ = c.Write(make([]byte, 1<<20))
				return reset(c)
			},
			func(_ *net.TCPConn, r *bufio.Reader) error { return drained(r) },
		},
		{
			"after the client's end",
			func(c *net.TCPConn, r *bufio.Reader) error {
				_ = drained(r)
				return reset(c)
			},
			func(c *net.TCPConn, r *bufio.Reader) error {
				_ = c.CloseWrite()
				return drained(r)
			},
		},
		{
			"closing what it has not read",
			func(c *net.TCPConn, _ *bufio.Reader) error {
				_, _ = c.Read(make([]byte, 1)) // the rest of the piece is unread: the kernel resets
				return c.Close()
			},
			func(c *net.TCPConn, r *bufio.Reader) error {
				if _, err := c.Write(make([]byte, 1<<20)); err != nil {
					return err
				}
				return drained(r)
			},
		},
	} {
		t.Run(e.name, func(t *testing.T) {
			program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) { _ = e.program(c, r) })
			tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
				c := greet(t, at)
				if err := e.client(c.TCPConn, c.r); !wasReset(err) {
					t.Errorf("the client sees %v, want a reset", err)
				}
			})
		})
	}
}

// TestTCPResetByTheClient is the same the other way: a program must not take what it has for the whole.
func TestTCPResetByTheClient(t *testing.T) {
	for _, e := range []ending{
		{
			"idle",
			func(_ *net.TCPConn, r *bufio.Reader) error { return drained(r) },
			func(c *net.TCPConn, _ *bufio.Reader) error { return reset(c) },
		},
		{
			"while the program sends",
			func(c *net.TCPConn, _ *bufio.Reader) error { return flood(c) },
			func(c *net.TCPConn, r *bufio.Reader) error {
				_, _ = io.CopyN(io.Discard, r, 1<<20)
				return reset(c)
			},
		},
		{
			"while it sends itself",
			func(_ *net.TCPConn, r *bufio.Reader) error { return drained(r) },
			func(c *net.TCPConn, _ *bufio.Reader) error {
				_, _ = c.Write(make([]byte, 1<<20))
				return reset(c)
			},
		},
		{
			"after the program's end",
			func(c *net.TCPConn, r *bufio.Reader) error {
				_ = c.CloseWrite()
				return drained(r)
			},
			func(c *net.TCPConn, r *bufio.Reader) error {
				_ = drained(r)
				return reset(c)
			},
		},
	} {
		t.Run(e.name, func(t *testing.T) {
			ends := make(chan error, 1)
			program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
				_, _ = io.WriteString(c, "up\n") // so that nothing of the client's is on the way when it breaks
				ends <- e.program(c, r)
			})
			tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
				c := greet(t, at)
				if line, err := c.r.ReadString('\n'); line != "up\n" {
					t.Fatalf("%q, %v", line, err)
				}
				if err := e.client(c.TCPConn, c.r); err != nil {
					t.Fatal(err)
				}
				select {
				case err := <-ends:
					if !wasReset(err) {
						t.Errorf("the program sees %v, want a reset", err)
					}
				case <-time.After(tunnelPatience):
					t.Fatal("the program is told nothing")
				}
			})
		})
	}
}

// TestTCPResetAfterTheEnd has a side that has ended its half break the other too, while its peer is silent: nobody
// reads from it any more, and the tunnel must end all the same.
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
