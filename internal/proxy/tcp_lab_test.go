package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// tunnelPatience bounds the tests that move more than a few bytes, on a machine that does other things too.
const tunnelPatience = time.Minute

// tunnels runs f through a gateway, a hop and a pair in front of a program of TCP.
func tunnels(t *testing.T, program netip.AddrPort, f func(t *testing.T, at netip.AddrPort)) {
	t.Helper()
	for _, shape := range []string{"gateway", "hop", "pair"} {
		t.Run(shape, func(t *testing.T) { f(t, newLab(t).shape(shape, program, model.TCP)) })
	}
}

// reset ends a connection as a program does that dies: with RST.
func reset(c *net.TCPConn) error {
	return errors.Join(c.SetLinger(0), c.Close())
}

// wasReset reports that a connection ended with RST, as the reader or the writer of its other side learns it.
func wasReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}

// drained reads to the end and returns how it came: nil for a clean one.
func drained(r io.Reader) error {
	_, err := io.Copy(io.Discard, r)
	return err
}

// flood writes until the connection takes no more, and returns why.
func flood(c *net.TCPConn) error {
	p := make([]byte, 64<<10)
	for {
		if _, err := c.Write(p); err != nil {
			return err
		}
	}
}

// greeted is a program that answers "go" with "ok" on each connection and then waits for "on", so that the way is
// known to be open and nothing is on it, and goes on as f.
func greeted(t testing.TB, f func(c *net.TCPConn, r *bufio.Reader)) netip.AddrPort {
	t.Helper()
	return rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		_ = c.SetDeadline(time.Now().Add(tunnelPatience))
		if line, err := r.ReadString('\n'); err != nil || line != "go\n" {
			return
		}
		_, _ = io.WriteString(c, "ok\n")
		if line, err := r.ReadString('\n'); err != nil || line != "on\n" {
			return
		}
		f(c, r)
	})
}

// greet makes a client's connection to such a program.
func greet(t testing.TB, at netip.AddrPort) *rawConn {
	t.Helper()
	c := dialRaw(t, at)
	_ = c.SetDeadline(time.Now().Add(tunnelPatience))
	c.send("go\n")
	if line, err := c.r.ReadString('\n'); line != "ok\n" {
		t.Fatalf("the program is not reached: %q, %v", line, err)
	}
	c.send("on\n")
	return c
}
