package proxy

import (
	"bufio"
	"errors"
	"fmt"
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
							wg.Go(func() {
								got[i], _ = io.Copy(io.Discard, c.r)
								_ = c.CloseWrite()
							})
						}
						wg.Wait()
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

// TestTCPStillServesOthers has tunnels stand still, in one direction or the other: they must not hold up another one
// that shares their loop, and between two proxies their connection.
func TestTCPStillServesOthers(t *testing.T) {
	const most = 512 << 20
	for _, stopped := range []int{1, 16} {
		for _, direction := range []string{"to the program", "to the client"} {
			t.Run(fmt.Sprintf("%d %s", stopped, direction), func(t *testing.T) {
				hold, stuffed := make(chan struct{}), make(chan struct{}, stopped)
				program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
					switch line, _ := r.ReadString('\n'); line {
					case "stop\n":
						<-hold
					case "send\n":
						_, _ = stuff(c, most)
						stuffed <- struct{}{}
						<-hold
					default:
						_, _ = io.WriteString(c, line)
					}
				})
				defer close(hold)
				tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
					var wg sync.WaitGroup
					for range stopped {
						c := greet(t, at)
						if direction == "to the client" {
							c.send("send\n")
							continue
						}
						c.send("stop\n")
						wg.Go(func() { _, _ = stuff(c.TCPConn, most) })
					}
					if wg.Wait(); direction == "to the client" {
						for range stopped {
							within(t, tunnelPatience, "all stand still", stuffed)
						}
					}
					other := dialRaw(t, at)
					other.send("go\n")
					if line, err := other.r.ReadString('\n'); line != "ok\n" {
						t.Fatalf("another tunnel: %q, %v", line, err)
					}
					other.send("on\nhello\n")
					if line, err := other.r.ReadString('\n'); line != "hello\n" {
						t.Errorf("another tunnel: %q, %v", line, err)
					}
				})
			})
		}
	}
}
