//go:build linux

package loop

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func echo(c *Conn) {
	defer c.Close()
	buf := c.Loop().Get(LargeBuffer)
	defer c.Loop().Put(buf)
	for {
		n, err := c.Read(buf)
		if err != nil {
			return
		}
		if _, err := c.Write(buf[:n]); err != nil {
			return
		}
	}
}

func TestEcho(t *testing.T) {
	l := start(t)
	c := dial(t, serve(t, l, echo))
	body := bytes.Repeat([]byte("weft "), 1<<20)
	go func() {
		_, _ = c.Write(body)
		_ = c.CloseWrite()
	}()
	got, err := io.ReadAll(c)
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes, %v", len(got), err)
	}
}

func TestThousandConnections(t *testing.T) {
	l := start(t)
	addr := serve(t, l, echo)
	const many = 1000
	conns := make([]*net.TCPConn, many)
	for i := range conns {
		conns[i] = dial(t, addr)
	}
	for round := range 3 {
		for i, c := range conns {
			if _, err := c.Write([]byte{byte(i), byte(round)}); err != nil {
				t.Fatal(err)
			}
		}
		for i, c := range conns {
			var b [2]byte
			if _, err := io.ReadFull(c, b[:]); err != nil || b != [2]byte{byte(i), byte(round)} {
				t.Fatalf("connection %d: %v, %v", i, b, err)
			}
		}
	}
}

// The peer's last bytes and its end in one segment: the short read must not hide the end.
func TestEndInTheSameSegment(t *testing.T) {
	l := start(t)
	got := make(chan []byte, 1)
	addr := serve(t, l, func(c *Conn) {
		defer c.Close()
		var all []byte
		buf := make([]byte, 4096)
		for {
			n, err := c.Read(buf)
			all = append(all, buf[:n]...)
			if err != nil {
				if err != io.EOF {
					t.Error(err)
				}
				_, _ = c.Write([]byte("bye")) // half-closed: the other way still works
				got <- all
				return
			}
		}
	})
	for i := range 50 {
		c := dial(t, addr)
		raw, _ := c.SyscallConn()
		_ = raw.Control(func(fd uintptr) {
			_ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_CORK, 1) // FIN goes with the data
		})
		_, _ = c.Write([]byte("hello"))
		_ = c.CloseWrite()
		select {
		case all := <-got:
			if string(all) != "hello" {
				t.Fatalf("round %d: %q", i, all)
			}
		case <-time.After(patience):
			t.Fatalf("round %d: the end was never seen", i)
		}
		if back, err := io.ReadAll(c); err != nil || string(back) != "bye" {
			t.Fatalf("%q, %v", back, err)
		}
	}
}

func reset(c *net.TCPConn) {
	_ = c.SetLinger(0)
	_ = c.Close()
}

func TestResetIsAnError(t *testing.T) {
	l := start(t)
	errs := make(chan error, 1)
	addr := serve(t, l, func(c *Conn) {
		defer c.Close()
		_, err := c.Read(make([]byte, 10))
		errs <- err
	})
	reset(dial(t, addr))
	select {
	case err := <-errs:
		if !errors.Is(err, unix.ECONNRESET) {
			t.Fatal(err)
		}
	case <-time.After(patience):
		t.Fatal("the reader was not told")
	}
}

func TestAbortResetsThePeer(t *testing.T) {
	l := start(t)
	c := dial(t, serve(t, l, func(c *Conn) {
		_, _ = c.Read(make([]byte, 1)) // an abort before would fail the dial
		c.Abort()
		c.Abort()
	}))
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, unix.ECONNRESET) {
		t.Fatal(err)
	}
}

func TestOnHangup(t *testing.T) {
	for _, when := range []string{"after", "before"} {
		l := start(t)
		told, ready := make(chan struct{}), make(chan struct{})
		addr := serve(t, l, func(c *Conn) {
			if when == "before" { // the connection has broken by the time somebody cares
				_ = c.WaitReadable()
				for !c.Broken() {
					c.readable = false
					_ = c.WaitReadable()
				}
			}
			c.OnHangup(func() { _ = c.Close(); close(told) })
			close(ready)
		})
		c := dial(t, addr)
		if when == "after" {
			wait(t, "the connection", ready)
		}
		reset(c)
		wait(t, when, told)
	}
}

func TestOnHangupCanBeTakenBack(t *testing.T) {
	l := manual(t)
	c, far := pair(t, l)
	unix.Close(far)
	_, _ = l.waitInHand(0)
	l.dispatch(&l.events[0])
	c.OnHangup(func() { t.Error("told") })
	c.OnHangup(nil)
	l.endTurn()
}

func TestOnReadable(t *testing.T) {
	l := start(t)
	got := make(chan string, 4)
	addr := serve(t, l, func(c *Conn) {
		var next func()
		next = func() {
			b := make([]byte, 16)
			n, err := c.Read(b)
			if err != nil {
				_ = c.Close()
				close(got)
				return
			}
			got <- string(b[:n])
			c.OnReadable(next)
		}
		c.OnReadable(func() { t.Error("was taken back") })
		if !c.CancelReadable() || c.CancelReadable() {
			t.Error("CancelReadable")
		}
		c.OnReadable(next)
	})
	c := dial(t, addr)
	for _, s := range []string{"a", "b"} {
		_, _ = c.Write([]byte(s))
		if g := <-got; g != s {
			t.Fatalf("%q, want %q", g, s)
		}
	}
	_ = c.Close()
	if s, open := <-got; open {
		t.Fatalf("%q after the end", s)
	}
}

func TestDeadlines(t *testing.T) {
	l := start(t)
	late := make(chan struct{})
	addr := serve(t, l, func(c *Conn) {
		_ = c.SetReadDeadline(l.Now().Add(-time.Second))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("past: %v", err)
		}
		begin := time.Now()
		_ = c.SetDeadline(l.Now().Add(40 * time.Millisecond))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) < 40*time.Millisecond-Tick {
			t.Errorf("reading: %v after %v", err, time.Since(begin))
		}
		n, err := c.Write(make([]byte, 64<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) || n == 0 || n == 64<<20 {
			t.Errorf("writing: %d, %v", n, err)
		}
		_ = c.SetDeadline(time.Time{}) // it works on
		close(late)
		if n, err := c.Read(make([]byte, 1)); n != 1 || err != nil {
			t.Errorf("after: %d, %v", n, err)
		}
		_ = c.Close()
	})
	c := dial(t, addr)
	wait(t, "the deadlines", late) // nothing is read before
	_, _ = c.Write([]byte("x"))
	_, _ = io.Copy(io.Discard, c)
}

func TestCloseWakesWhoeverIsParked(t *testing.T) {
	l := start(t)
	done := make(chan struct{})
	addr := serve(t, l, func(c *Conn) {
		l.Go(func() {
			_, err := c.Write(make([]byte, 64<<20))
			if !errors.Is(err, net.ErrClosed) {
				t.Errorf("writer: %v", err)
			}
			close(done)
		})
		var timer Timer
		l.AfterFunc(&timer, Tick, func() { _ = c.Close(); _ = c.Close() })
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, net.ErrClosed) {
			t.Errorf("reader: %v", err)
		}
		if err := c.CloseWrite(); !errors.Is(err, net.ErrClosed) {
			t.Errorf("CloseWrite: %v", err)
		}
	})
	dial(t, addr)
	wait(t, "the writer", done)
}

func TestDeferredWrites(t *testing.T) {
	l := start(t)
	body := bytes.Repeat([]byte("0123456789abcdef"), 1<<20)
	drained := make(chan struct{})
	addr := serve(t, l, func(c *Conn) {
		c.SetDeferred(func() { close(drained) })
		for p := body; len(p) > 0; p = p[1<<20:] {
			if n, err := c.Write(p[:1<<20]); n != 1<<20 || err != nil {
				t.Error(n, err)
			}
		}
		if c.Backlog() == 0 {
			t.Error("16 MB went to a peer that does not read")
		}
		// The end comes after what was kept back, not before.
		if err := c.CloseWrite(); err != nil {
			t.Error(err)
		}
	})
	got, err := io.ReadAll(dial(t, addr))
	if err != nil || !bytes.Equal(got, body) {
		t.Fatalf("%d bytes of %d, %v", len(got), len(body), err)
	}
	wait(t, "drained", drained)
}

func TestWritev(t *testing.T) {
	l := start(t)
	for _, sizes := range [][2]int{{0, 5}, {5, 0}, {5, 5}, {8 << 20, 5}, {5, 8 << 20}, {4 << 20, 4 << 20}} {
		a, b := bytes.Repeat([]byte("a"), sizes[0]), bytes.Repeat([]byte("b"), sizes[1])
		addr := serve(t, l, func(c *Conn) {
			defer c.Close()
			for range 2 {
				if err := c.Writev(a, b); err != nil {
					t.Error(err)
				}
			}
		})
		got, err := io.ReadAll(dial(t, addr))
		if one := append(a, b...); err != nil || !bytes.Equal(got, append(one, one...)) {
			t.Fatalf("%v: %d bytes, %v", sizes, len(got), err)
		}
	}
}

func TestDial(t *testing.T) {
	l := start(t)
	addr := serve(t, l, echo)
	v6, err := net.Listen("tcp", "[::1]:0")
	if err != nil {
		t.Log("without IPv6:", err)
	} else {
		defer v6.Close()
	}
	task(t, l, func() {
		c, err := l.Dial(addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		if c.Remote() != addr || c.LocalAddr().String() == c.RemoteAddr().String() || c.Loop() != l {
			t.Errorf("addresses %v %v", c.Local(), c.Remote())
		}
		c.KeepAlive()
		if v, err := unix.GetsockoptInt(c.FD(), unix.IPPROTO_TCP, unix.TCP_KEEPIDLE); v != 60 || err != nil {
			t.Error(v, err)
		}
		if _, err := c.Write([]byte("x")); err != nil {
			t.Error(err)
		}
		if n, err := c.Read(make([]byte, 2)); n != 1 || err != nil {
			t.Error(n, err)
		}
		if v6 != nil {
			c6, err := l.Dial(v6.Addr().(*net.TCPAddr).AddrPort(), patience)
			if err != nil {
				t.Error(err)
				return
			}
			_ = c6.Close()
		}
	})
}

func TestDialRefused(t *testing.T) {
	l := start(t)
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Listen(ln.Addr()); !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("the port was taken twice: %v", err)
	}
	_ = ln.Close()
	task(t, l, func() {
		if _, err := l.Dial(ln.Addr(), patience); !errors.Is(err, unix.ECONNREFUSED) {
			t.Error(err)
		}
	})
}

func TestDialTimesOut(t *testing.T) {
	l := start(t)
	// A listener whose queue is full takes no more: SYNs go unanswered.
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	addr := sockaddr(unix.Getsockname(fd))
	task(t, l, func() {
		for range 5 {
			begin := time.Now()
			c, err := l.Dial(addr, 50*time.Millisecond)
			if err == nil {
				defer c.Close()
				continue
			}
			if !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(begin) < 50*time.Millisecond-Tick {
				t.Errorf("%v after %v", err, time.Since(begin))
			}
			return
		}
		t.Error("the full listener took five connections")
	})
}

func TestManyDial(t *testing.T) {
	l := start(t)
	addr := serve(t, l, echo)
	var wg sync.WaitGroup
	for range 200 {
		wg.Add(1)
		l.Post(func() {
			l.Go(func() {
				defer wg.Done()
				c, err := l.Dial(addr, patience)
				if err != nil {
					t.Error(err)
					return
				}
				defer c.Close()
				_, _ = c.Write([]byte("abc"))
				if err := readFull(c, make([]byte, 3)); err != nil {
					t.Error(err)
				}
			})
		})
	}
	wg.Wait()
}

func readFull(c *Conn, b []byte) error { _, err := io.ReadFull(c, b); return err }
