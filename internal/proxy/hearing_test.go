package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// TestSilentClientsThatSpeakHTTPAfterAll: a connection that is silent for longer than anybody waits is carried to the
// server, and served as requests when its client makes some: they have IDs, which TCP has no place for.
func TestSilentClientsThatSpeakHTTPAfterAll(t *testing.T) {
	for _, shape := range []string{"hop", "pair"} {
		for name, first := range map[string][]string{
			"at once":     {"GET /a HTTP/1.1\r\nHost: web\r\n\r\n"},
			"in pieces":   {"G", "E", "T /a HT", "TP/1.1\r\nHost: web\r\n\r\n"},
			"with a body": {"POST /a HTTP/1.1\r\nHost: web\r\nContent-Length: 100\r\n\r\n" + strings.Repeat("x", 100)},
		} {
			t.Run(shape+" "+name, func(t *testing.T) {
				accepted := make(chan struct{}, 8)
				program := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
					accepted <- struct{}{}
					answerIDs(c, r)
				})
				l := newLab(t)
				c := dialRaw(t, l.shape(shape, program, model.Auto))
				<-accepted // it has been carried there
				for i, piece := range first {
					if i > 0 {
						time.Sleep(2 * detectWait) // a slow client
					}
					c.send(piece)
				}
				if resp, body := c.answer("GET"); resp.StatusCode != 200 || len(body) < 16 {
					t.Errorf("the first request: %s %q", resp.Status, body)
				}
				<-accepted
				c.send("GET /b HTTP/1.1\r\nHost: web\r\n\r\n")
				if resp, body := c.answer("GET"); resp.StatusCode != 200 || len(body) < 16 {
					t.Errorf("the second request: %s %q", resp.Status, body)
				}
			})
		}
	}
}

// TestAGivenUpConnectionIsNobodysFailure: the proxy beside the program counts the connection that was made for a silent client
// and given up when the client made requests, and a client that leaves within an answer, as no failures.
func TestAGivenUpConnectionIsNobodysFailure(t *testing.T) {
	accepted := make(chan struct{}, 8)
	program := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		accepted <- struct{}{}
		for {
			head, err := readHead(r)
			switch {
			case err != nil:
				return
			case strings.HasPrefix(head, "GET /half "):
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1")
			default:
				fmt.Fprint(c, "HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1")
			}
		}
	})
	p := newLab(t).pair(program, model.Auto)
	c := dialRaw(t, p.at)
	<-accepted
	c.send("GET /a HTTP/1.1\r\nHost: web\r\n\r\n")
	if resp, body := c.answer("GET"); resp.StatusCode != 200 || body != "1" {
		t.Fatalf("%s %q", resp.Status, body)
	}
	c.send("GET /half HTTP/1.1\r\nHost: web\r\n\r\n")
	if head, err := readHead(c.r); err != nil || !strings.HasPrefix(head, "HTTP/1.1 200 ") {
		t.Fatalf("%q %v", head, err)
	}
	if err := reset(c.TCPConn); err != nil {
		t.Fatal(err)
	}
	for side, want := range map[*Engine]uint64{p.client: 2, p.server: 3} {
		eventually(t, fmt.Sprintf("%d records are closed", want), func() bool {
			return inAll(side, (*discoveryv1.Series).GetSuccess)+inAll(side, (*discoveryv1.Series).GetFailure) == want
		})
		if n := inAll(side, (*discoveryv1.Series).GetFailure); n != 0 {
			t.Errorf("%d failures are counted: %v", n, side.Series(0, true))
		}
	}
}

// inAll adds up a figure of all series.
func inAll(e *Engine, of func(*discoveryv1.Series) uint64) (n uint64) {
	for _, s := range e.Series(0, true) {
		n += of(s)
	}
	return n
}

// answerIDs answers requests with their IDs.
func answerIDs(c *net.TCPConn, r *bufio.Reader) {
	for {
		head, err := readHead(r)
		if err != nil {
			return
		}
		id := ""
		for line := range strings.SplitSeq(head, "\r\n") {
			if name, value, _ := strings.Cut(line, ": "); strings.EqualFold(name, "x-request-id") {
				id = value
			}
		}
		if strings.HasPrefix(head, "POST") {
			_, _ = io.CopyN(io.Discard, r, 100)
		}
		fmt.Fprintf(c, "HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(id), id)
	}
}

// TestSilentClientsOfServersThatSpeakFirst: the port is remembered, and who speaks HTTP there at once, or at last, is
// still served so; other bytes go through.
func TestSilentClientsOfServersThatSpeakFirst(t *testing.T) {
	for _, shape := range []string{"hop", "pair"} {
		t.Run(shape, func(t *testing.T) {
			program := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
				// Long enough for what a test sends at once.
				_ = c.SetReadDeadline(time.Now().Add(time.Second))
				if b, err := r.Peek(1); err == nil && b[0] == 'G' {
					_ = c.SetReadDeadline(time.Now().Add(patience))
					answerIDs(c, r)
					return
				}
				_ = c.SetReadDeadline(time.Now().Add(patience))
				fmt.Fprint(c, "220 ready\r\n")
				_, _ = io.Copy(c, r)
			})
			l := newLab(t)
			at, e := netip.AddrPort{}, (*Engine)(nil)
			if at, e = l.hop(program, model.Auto); shape == "pair" {
				p := l.pair(program, model.Auto)
				at, e = p.at, p.client
			}
			for range 2 {
				c := dialRaw(t, at)
				if line, err := c.r.ReadString('\n'); err != nil || line != "220 ready\r\n" {
					t.Fatalf("the greeting: %q, %v", line, err)
				}
				c.send("GET /no HTTP/1.1\r\n") // part of the program's own protocol by now
				if line, err := c.r.ReadString('\n'); err != nil || line != "GET /no HTTP/1.1\r\n" {
					t.Errorf("the echo: %q, %v", line, err)
				}
			}
			remembered := false
			w := e.workers[0]
			w.loop.Call(func() { remembered = w.spoken[portKey{service: name("web"), port: 80}] })
			if !remembered {
				t.Error("the port is not remembered")
			}
			c := dialRaw(t, at)
			c.send("GET / HTTP/1.1\r\nHost: web\r\n\r\n")
			if resp, body := c.answer("GET"); resp.StatusCode != 200 || len(body) < 16 {
				t.Errorf("a request on such a port: %s %q", resp.Status, body)
			}
		})
	}
}
