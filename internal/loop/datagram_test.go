//go:build linux

package loop

import (
	"bytes"
	"errors"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"
)

// echoing answers what its socket gets.
type echoing struct {
	d     *Datagrams
	peers map[Peer]int
	errs  []error
}

func (e *echoing) Datagram(b []byte, from Peer) {
	if e.peers == nil {
		e.peers = map[Peer]int{}
	}
	e.peers[from]++
	e.d.SendTo(b, from)
}

func (e *echoing) DatagramError(err error) { e.errs = append(e.errs, err) }

// told hands what its socket gets to a channel.
type told struct {
	got chan []byte
	err chan error
}

func newTold() *told { return &told{make(chan []byte, 64), make(chan error, 64)} }

func (w *told) Datagram(b []byte, _ Peer) { w.got <- bytes.Clone(b) }
func (w *told) DatagramError(err error)   { w.err <- err }

// echoOn listens at addr with n loops that echo.
func echoOn(t *testing.T, addr string, n int) (netip.AddrPort, []*Loop, []*echoing) {
	t.Helper()
	ln, err := ListenDatagrams(netip.MustParseAddrPort(addr), n)
	lacking(t, err)
	var loops []*Loop
	var handlers []*echoing
	for i := range n {
		l, h := start(t), &echoing{}
		l.Call(func() {
			if h.d, err = l.TakeDatagrams(ln, i, h); err != nil {
				t.Error(err)
			}
		})
		loops, handlers = append(loops, l), append(handlers, h)
	}
	t.Cleanup(func() {
		for i, l := range loops {
			l.Call(handlers[i].d.Close)
		}
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
	})
	return ln.Addr(), loops, handlers
}

// lacking skips a test on a system without IPv6; any other error fails it.
func lacking(t *testing.T, err error) {
	t.Helper()
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.Is(err, syscall.EAFNOSUPPORT):
		t.Skip(err)
	case err != nil:
		t.Fatal(err)
	}
}

func udpClient(t *testing.T, to string) net.Conn {
	t.Helper()
	c, err := net.Dial("udp", to)
	lacking(t, err)
	t.Cleanup(func() { c.Close() })
	_ = c.SetDeadline(time.Now().Add(30 * time.Second))
	return c
}

func roundTrip(t *testing.T, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, MaxDatagram+1)
	n, err := c.Read(got)
	if err != nil || !bytes.Equal(got[:n], b) {
		t.Fatalf("%d bytes came back for %d: %v", n, len(b), err)
	}
}

func TestDatagramEcho(t *testing.T) {
	for _, addr := range []string{"127.0.0.1:0", "[::1]:0"} {
		t.Run(addr, func(t *testing.T) {
			at, _, _ := echoOn(t, addr, 1)
			c := udpClient(t, at.String())
			for _, size := range []int{0, 1, 100, 1500, 9000, MaxDatagram} {
				roundTrip(t, c, bytes.Repeat([]byte{byte(size)}, size))
			}
		})
	}
}

// TestDatagramWildcard has answers come from the address that was asked: a connected client takes no others.
func TestDatagramWildcard(t *testing.T) {
	for addr, clients := range map[string][]string{"0.0.0.0:0": {"127.0.0.1", "127.0.0.7"}, "[::]:0": {"::1", "127.0.0.1"}} {
		t.Run(addr, func(t *testing.T) {
			at, loops, handlers := echoOn(t, addr, 1)
			for _, ip := range clients {
				c := udpClient(t, netip.AddrPortFrom(netip.MustParseAddr(ip), at.Port()).String())
				roundTrip(t, c, []byte("whose?"))
			}
			loops[0].Call(func() {
				for p := range handlers[0].peers {
					if !p.Local.IsValid() || p.Addr.Addr().Is4In6() {
						t.Errorf("peer %v", p)
					}
				}
			})
		})
	}
}

// TestDatagramLoops has the datagrams of a client all come to one loop, and clients to all loops.
func TestDatagramLoops(t *testing.T) {
	at, loops, handlers := echoOn(t, "127.0.0.1:0", 3)
	const clients = 60
	for range clients {
		c := udpClient(t, at.String())
		for range 5 {
			roundTrip(t, c, []byte("x"))
		}
	}
	seen := map[Peer]bool{}
	for i, l := range loops {
		l.Call(func() {
			if len(handlers[i].peers) == 0 {
				t.Errorf("loop %d has no client", i)
			}
			for p, n := range handlers[i].peers {
				if seen[p] || n != 5 {
					t.Errorf("%v: %d datagrams on one of its loops", p, n)
				}
				seen[p] = true
			}
		})
	}
	if len(seen) != clients {
		t.Errorf("%d clients", len(seen))
	}
}

func TestDatagramAddressTaken(t *testing.T) {
	at, _, _ := echoOn(t, "127.0.0.1:0", 2)
	if ln, err := ListenDatagrams(at, 2); err == nil {
		ln.Close()
		t.Fatal("the address was shared")
	} else if !errors.Is(err, syscall.EADDRINUSE) {
		t.Fatal(err)
	}
}

func TestDatagramDial(t *testing.T) {
	at, _, _ := echoOn(t, "127.0.0.1:0", 1)
	l, h := start(t), newTold()
	var d *Datagrams
	var err error
	l.Call(func() {
		if d, err = l.DialDatagrams(at, h); err == nil {
			err = d.Send([]byte("hello"))
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	if got := <-h.got; string(got) != "hello" {
		t.Fatalf("%q", got)
	}
	l.Call(func() {
		d.Close()
		d.Close()
		if err := d.Send(nil); !errors.Is(err, net.ErrClosed) {
			t.Errorf("closed: %v", err)
		}
	})
}

// TestDatagramPortUnreachable has a connected socket told that there is no such port.
func TestDatagramPortUnreachable(t *testing.T) {
	gone, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	at := gone.LocalAddr().(*net.UDPAddr).AddrPort()
	gone.Close()
	l, h := start(t), newTold()
	l.Call(func() {
		d, err := l.DialDatagrams(at, h)
		if err == nil {
			err = d.Send([]byte("anybody?"))
		}
		if err != nil {
			t.Error(err)
		}
	})
	select {
	case err := <-h.err:
		if !errors.Is(err, syscall.ECONNREFUSED) {
			t.Fatal(err)
		}
	case <-time.After(30 * time.Second):
		t.Fatal("nobody said that there is no such port")
	}
}

// TestDatagramLoopEnds has a loop close its sockets with it.
func TestDatagramLoopEnds(t *testing.T) {
	ln, err := ListenDatagrams(netip.MustParseAddrPort("127.0.0.1:0"), 1)
	if err != nil {
		t.Fatal(err)
	}
	l, h := start(t), newTold()
	l.Call(func() {
		if _, err := l.TakeDatagrams(ln, 0, h); err != nil {
			t.Error(err)
		}
		if _, err := l.DialDatagrams(ln.Addr(), h); err != nil {
			t.Error(err)
		}
	})
	l.Stop()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	end := time.Now().Add(30 * time.Second)
	for {
		again, err := ListenDatagrams(ln.Addr(), 1)
		if err == nil {
			again.Close()
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the address is still taken: %v", err)
		}
		time.Sleep(time.Millisecond)
	}
}
