package proxy

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"
)

// stuff writes until nothing is taken for a while, and returns how much was: what the sockets and the proxies
// between hold. It gives up at most.
func stuff(c *net.TCPConn, most int64) (n int64, err error) {
	piece := make([]byte, 64<<10)
	for n < most {
		_ = c.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		m, err := c.Write(piece)
		n += int64(m)
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
	return n, errors.New("the writer is never held up")
}

// TestTCPBackPressure has readers stop: what waits for them stays in the sockets of both ends and, within a small
// bound, in the proxy; and nothing of it is lost when they go on.
func TestTCPBackPressure(t *testing.T) {
	const (
		connections = 8
		most        = 512 << 20 // what one connection may hold: more than any kernel's buffers
		perTunnel   = 768 << 10 // in the heap: two windows, two queues and what is in hand
		slack       = 4 << 20
	)
	for _, direction := range []string{"to the program", "to the client"} {
		t.Run(direction, func(t *testing.T) {
			for _, shape := range []string{"gateway", "hop", "pair"} {
				t.Run(shape, func(t *testing.T) {
					release := make(chan struct{})
					counts := make(chan int64, connections) // of the program: taken, or sent
					program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
						if direction == "to the client" {
							n, err := stuff(c, most)
							if err != nil {
								t.Error(err)
							}
							counts <- n
							_ = c.CloseWrite()
							_ = drained(r)
							return
						}
						<-release
						n, _ := io.Copy(io.Discard, r)
						counts <- n
					})
					at := newLab(t).shape(shape, program, "tcp")
					before := heap()
					clients := make([]*rawConn, connections)
					for i := range clients {
						clients[i] = greet(t, at)
					}
					var wg sync.WaitGroup
					sent, got := make([]int64, connections), make([]int64, connections)
					if direction == "to the program" {
						for i, c := range clients {
							wg.Go(func() {
								var err error
								if sent[i], err = stuff(c.TCPConn, most); err != nil {
									t.Error(err)
								}
								_ = c.CloseWrite()
							})
						}
						wg.Wait()
					} else {
						for i := range sent {
							sent[i] = <-counts
						}
					}
					if grown := heap() - before; grown > connections*perTunnel+slack {
						t.Errorf("%d KiB in use for %d tunnels whose readers stand still", grown>>10, connections)
					} else {
						t.Logf("%d KiB in use for %d tunnels, %d MiB on their way", grown>>10, connections, total(sent)>>20)
					}
					close(release)
					if direction == "to the program" {
						for i := range got {
							got[i] = <-counts
						}
					} else {
						for i, c := range clients {
							got[i], _ = io.Copy(io.Discard, c.r)
							_ = c.CloseWrite()
						}
					}
					if total(got) != total(sent) {
						t.Errorf("%d bytes came of %d", total(got), total(sent))
					}
				})
			}
		})
	}
}

func total(n []int64) (sum int64) {
	for _, v := range n {
		sum += v
	}
	return sum
}

// TestTCPStillServesOthers has the loop of a tunnel that stands still serve another.
func TestTCPStillServesOthers(t *testing.T) {
	hold := make(chan struct{})
	program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
		line, _ := r.ReadString('\n')
		if line == "stop\n" {
			<-hold
			return
		}
		_, _ = io.WriteString(c, line)
	})
	defer close(hold)
	tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
		stopped := greet(t, at)
		stopped.send("stop\n")
		if _, err := stuff(stopped.TCPConn, 512<<20); err != nil {
			t.Fatal(err)
		}
		other := greet(t, at)
		other.send("hello\n")
		if line, err := other.r.ReadString('\n'); line != "hello\n" {
			t.Errorf("another tunnel: %q, %v", line, err)
		}
	})
}
