//go:build !linux || weft_goroutines

package loop

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// pipes is a network of one listener, whose connections are net.Pipe: no buffer, no half-close, no address.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
}

func newPipes() *pipes { return &pipes{make(chan net.Conn), make(chan struct{})} }

func (p *pipes) Dial(ctx context.Context, _ netip.AddrPort) (net.Conn, error) {
	near, far := net.Pipe()
	select {
	case p.incoming <- far:
		return near, nil
	case <-p.closed:
		return nil, syscall.ECONNREFUSED
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return net.TCPAddrFromAddrPort(pipeAddr) }

var pipeAddr = netip.MustParseAddrPort("192.0.2.1:80")

// onPipes runs f as a task of a loop on a fake network in virtual time, where server serves. The bubble fails
// if anything outlives it.
func onPipes(t *testing.T, server func(*Conn), f func(*Loop)) {
	synctest.Test(t, func(t *testing.T) {
		p := newPipes()
		l, err := NewOn(p)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Run(t.Context()) }()
		ln := ListenOn(p)
		done := make(chan struct{})
		l.Post(func() {
			if server != nil {
				if _, err := l.Accept(ln, func(c *Conn) { l.Go(func() { server(c) }) }); err != nil {
					t.Error(err)
				}
			}
			l.Go(func() { defer close(done); f(l) })
		})
		<-done
		if err := ln.Close(); err != nil {
			t.Error(err)
		}
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func connect(t *testing.T, l *Loop) *Conn {
	c, err := l.Dial(pipeAddr, time.Second)
	if err != nil {
		t.Error(err)
		panic(err)
	}
	return c
}

func TestFakeNetwork(t *testing.T) {
	body := bytes.Repeat([]byte("weft"), 1<<16)
	server := func(c *Conn) {
		defer c.Close()
		buf := make([]byte, 1000)
		for {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			if err := c.Writev(buf[:n/2], buf[n/2:n]); err != nil {
				t.Error(err)
				return
			}
		}
	}
	onPipes(t, server, func(l *Loop) {
		c := connect(t, l)
		defer c.Close()
		if ln := c.FD(); ln != -1 || c.Remote().IsValid() {
			t.Errorf("a pipe has descriptor %d, address %v", ln, c.Remote())
		}
		l.Go(func() {
			if n, err := c.Write(body); n != len(body) || err != nil {
				t.Error(n, err)
			}
		})
		got := make([]byte, len(body))
		if _, err := io.ReadFull(c, got); err != nil || !bytes.Equal(got, body) {
			t.Error("the echo differs:", err)
		}
		if err := c.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
			t.Error(err)
		}
	})
}

// In virtual time a deadline is exact to a Tick, and an hour's wait costs nothing.
func TestVirtualDeadlines(t *testing.T) {
	silent := func(c *Conn) { _ = c.WaitReadable(); _, _ = c.Read(make([]byte, 1)) }
	onPipes(t, silent, func(l *Loop) {
		c := connect(t, l)
		defer c.Close()
		within := func(what string, d time.Duration, f func() error) {
			begin := time.Now()
			err := f()
			if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < d-Tick || took > d+2*Tick {
				t.Errorf("%s: %v after %v, want %v", what, err, took, d)
			}
		}
		within("read", time.Hour, func() error {
			_ = c.SetReadDeadline(l.Now().Add(time.Hour))
			_, err := c.Read(make([]byte, 1))
			return err
		})
		_, _ = c.Write([]byte("xy")) // the server takes no more than its reader's buffer
		within("write", time.Minute, func() error {
			_ = c.SetWriteDeadline(l.Now().Add(time.Minute))
			n, err := c.Write(make([]byte, 1<<20))
			if n >= 1<<20 {
				t.Errorf("%d bytes went to a peer that does not read", n)
			}
			return err
		})
		if _, err := c.Write([]byte("x")); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a write after its deadline: %v", err)
		}
	})
	onPipes(t, nil, func(l *Loop) { // nobody accepts
		begin := time.Now()
		_, err := l.Dial(pipeAddr, time.Minute)
		if took := time.Since(begin); !errors.Is(err, os.ErrDeadlineExceeded) || took < time.Minute-Tick || took > time.Minute+2*Tick {
			t.Errorf("%v after %v", err, took)
		}
		if !strings.Contains(err.Error(), pipeAddr.String()) {
			t.Errorf("%q does not say where to", err)
		}
	})
}

// A write that its deadline ended leaves the connection usable once the deadline is taken back.
func TestWriteAfterALateOne(t *testing.T) {
	got := 0
	slow := func(c *Conn) {
		var pause Timer
		me := c.Loop().Current()
		woken := false
		c.Loop().AfterFunc(&pause, 10*time.Second, func() { woken = true; c.Loop().Wake(me) })
		for !woken {
			c.Loop().Park()
		}
		buf := make([]byte, 1<<16)
		for {
			n, err := c.Read(buf)
			got += n
			if err != nil {
				return
			}
		}
	}
	onPipes(t, slow, func(l *Loop) {
		c := connect(t, l)
		_ = c.SetWriteDeadline(l.Now().Add(time.Second))
		n, err := c.Write(make([]byte, 1<<20))
		if !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Error(err)
		}
		_ = c.SetWriteDeadline(time.Time{})
		again, err := c.Write(make([]byte, 1<<20))
		if again != 1<<20 || err != nil {
			t.Error(again, err)
		}
		c.Close()
		me, due := l.Current(), false
		var t1 Timer
		l.AfterFunc(&t1, time.Second, func() { due = true; l.Wake(me) })
		for !due {
			l.Park()
		}
		if got != n+again {
			t.Errorf("%d bytes arrived of %d", got, n+again)
		}
	})
}

// What a deferred write has kept back still goes out when the connection is closed at once: a socket would
// have taken it.
func TestCloseAfterADeferredWrite(t *testing.T) {
	body := bytes.Repeat([]byte("bye "), 10<<10)
	server := func(c *Conn) {
		c.SetDeferred(nil)
		for p := body; len(p) > 0; p = p[4<<10:] {
			if _, err := c.Write(p[:4<<10]); err != nil {
				t.Error(err)
			}
		}
		if c.Backlog() != len(body) {
			t.Errorf("%d bytes kept back, want %d", c.Backlog(), len(body))
		}
		_ = c.Close()
	}
	onPipes(t, server, func(l *Loop) {
		c := connect(t, l)
		defer c.Close()
		if got, err := io.ReadAll(c); err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes of %d, %v", len(got), len(body), err)
		}
	})
}

// The peer that never reads cannot keep a closed connection for longer than lastWords, nor the loop from ending.
func TestCloseBeforeAPeerThatDoesNotRead(t *testing.T) {
	onPipes(t, nil, func(l *Loop) {
		near, far := net.Pipe()
		defer far.Close()
		c, err := l.adopt(near)
		if err != nil {
			t.Error(err)
			return
		}
		c.SetDeferred(nil)
		_, _ = c.Write([]byte("nobody reads this"))
		_ = c.Close()
	})
}

// Only one task or callback runs at a time, whatever the goroutines beneath do.
func TestOneAtATime(t *testing.T) {
	running, switches := 0, 0
	alone := func(f func()) {
		running++
		if running != 1 {
			t.Error("two at a time")
		}
		f()
		switches++
		running--
	}
	server := func(c *Conn) {
		buf := make([]byte, 64)
		for {
			n, err := c.Read(buf)
			if err != nil {
				_ = c.Close()
				return
			}
			alone(func() {})
			if _, err := c.Write(buf[:n]); err != nil {
				return
			}
		}
	}
	onPipes(t, server, func(l *Loop) {
		const clients, rounds = 20, 50
		me, left := l.Current(), clients
		for range clients {
			l.Go(func() {
				defer func() { left--; l.Wake(me) }()
				c := connect(t, l)
				defer c.Close()
				buf := make([]byte, 64)
				for range rounds {
					_, _ = c.Write([]byte("ping"))
					if _, err := io.ReadFull(c, buf[:4]); err != nil {
						t.Error(err)
						return
					}
					alone(func() {})
				}
			})
		}
		for left > 0 {
			l.Park()
		}
		if switches != 2*clients*rounds {
			t.Errorf("%d steps", switches)
		}
	})
}

// A hundred loops' worth of listeners come and go: each connection reaches somebody who accepts.
func TestAcceptComesAndGoes(t *testing.T) {
	ln, err := Listen(netip.MustParseAddrPort("127.0.0.1:0"))
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- l.Run(t.Context()) }()
	defer func() {
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}()
	for round := range 50 {
		accepted := make(chan struct{}, 1)
		var stop func()
		l.Call(func() {
			var err error
			if stop, err = l.Accept(ln, func(c *Conn) { _ = c.Close(); accepted <- struct{}{} }); err != nil {
				t.Error(err)
			}
		})
		c, err := net.Dial("tcp", ln.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		select {
		case <-accepted:
		case <-time.After(10 * time.Second):
			t.Fatalf("round %d: not accepted", round)
		}
		_ = c.Close()
		l.Call(func() { stop(); stop() })
	}
	ln.work.Wait() // nobody accepts: the goroutine goes, and what comes now waits in the queue
	c, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	accepted := make(chan struct{}, 1)
	l.Call(func() {
		if _, err := l.Accept(ln, func(c *Conn) { _ = c.Close(); accepted <- struct{}{} }); err != nil {
			t.Error(err)
		}
	})
	select {
	case <-accepted:
	case <-time.After(10 * time.Second):
		t.Fatal("the connection that waited was not accepted")
	}
	l.Call(func() {
		for tk := range l.takers {
			tk.stop()
		}
	})
}

// broken fails a few times, as a listener does when descriptors have run out.
type broken struct {
	*pipes
	fail, calls int
}

func (b *broken) Accept() (net.Conn, error) {
	if b.calls++; b.calls <= b.fail {
		return nil, syscall.EMFILE
	}
	return b.pipes.Accept()
}

func TestAcceptRestsWithoutDescriptors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := &broken{pipes: newPipes(), fail: 5}
		l, err := NewOn(b)
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- l.Run(t.Context()) }()
		ln, begin := ListenOn(b), time.Now()
		served := make(chan time.Duration, 1)
		l.Call(func() {
			if _, err := l.Accept(ln, func(c *Conn) { _ = c.Close(); served <- time.Since(begin) }); err != nil {
				t.Error(err)
			}
			l.Go(func() {
				if c, err := l.Dial(pipeAddr, time.Minute); err == nil {
					_ = c.Close()
				}
			})
		})
		if took := <-served; took != 500*time.Millisecond {
			t.Errorf("accepted after %v, want 5 pauses of 100 ms", took)
		}
		_ = ln.Close()
		_ = ln.Close()
		l.Stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
