package proxy

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"
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
