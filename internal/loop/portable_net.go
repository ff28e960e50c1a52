//go:build !linux || weft_goroutines

package loop

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Network makes connections for a loop. Its connections may lack CloseWrite, SetLinger and a descriptor:
// CloseWrite then fails with errors.ErrUnsupported, and Abort is Close.
type Network interface {
	// Dial connects to addr. It may block, and ends when ctx does. It is called from many goroutines.
	Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error)
}

// system is the network of the operating system.
type system struct{}

func (system) Dial(ctx context.Context, addr netip.AddrPort) (net.Conn, error) {
	d := net.Dialer{KeepAlive: -1} // see Conn.KeepAlive
	return d.DialContext(ctx, "tcp", netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()).String())
}

// Dial connects to addr, parking the current task until it stands, fails, or timeout has passed.
func (l *Loop) Dial(addr netip.AddrPort, timeout time.Duration) (*Conn, error) {
	if l.ended || l.dials == nil {
		return nil, fmt.Errorf("connect %v: the event loop does not run: %w", addr, net.ErrClosed)
	}
	ctx, cancel := context.WithCancel(l.dials)
	defer cancel()
	task, done, late := l.current, false, false
	var nc net.Conn
	var err error
	l.io.Go(func() {
		n, e := l.network.Dial(ctx, addr)
		l.deliver(event{f: func() { nc, err, done = n, e, true; l.Wake(task) }})
	})
	var timer Timer
	l.AfterFunc(&timer, timeout, func() { late = true; cancel() })
	for !done {
		l.Park()
	}
	timer.Stop()
	if err != nil {
		if late {
			err = fmt.Errorf("no answer within %v: %w", timeout, os.ErrDeadlineExceeded)
		}
		return nil, fmt.Errorf("connect %v: %w", addr, err)
	}
	c, err := l.adopt(nc)
	if err != nil {
		_ = nc.Close()
		return nil, fmt.Errorf("connect %v: %w", addr, err)
	}
	return c, nil
}

// Listener is a listening socket that several loops may accept from. Its one goroutine lives from the first
// Accept until nobody accepts any more, at the latest until Close.
type Listener struct {
	nl   net.Listener
	addr netip.AddrPort
	room chan struct{} // a token for each connection that waits for its loop
	quit chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex
	takers  []*taker
	turn    int
	running bool
	closed  bool
}

// taker is one loop that accepts from a listener.
type taker struct {
	l       *Loop
	ln      *Listener
	f       func(*Conn)
	stopped bool // the loop's
}

// acceptAhead bounds the connections that have been accepted and not yet handed to their loops.
const acceptAhead = 64

// Listen binds and listens. Port 0 takes a free one: see Addr.
func Listen(addr netip.AddrPort) (*Listener, error) {
	network := "tcp"
	addr = netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
	if addr.Addr().Is4() {
		network = "tcp4" // 0.0.0.0 would stand for IPv6 as well
	}
	nl, err := net.ListenTCP(network, net.TCPAddrFromAddrPort(addr))
	if err != nil {
		return nil, fmt.Errorf("listen %v: %w", addr, err)
	}
	return ListenOn(nl), nil
}

// ListenOn makes a Listener of nl, which it owns from now on. Tests give it one of a fake network. If nl has
// no SetDeadline, its goroutine stays in nl.Accept until Close even when nobody accepts any more.
func ListenOn(nl net.Listener) *Listener {
	return &Listener{nl: nl, addr: addrPort(nl.Addr()), room: make(chan struct{}, acceptAhead), quit: make(chan struct{})}
}

// Addr returns the address it listens on.
func (ln *Listener) Addr() netip.AddrPort { return ln.addr }

// Close closes the socket and waits for the goroutine. The loops that accept from it should have been told first
// (the function that Accept returns).
func (ln *Listener) Close() error {
	ln.mu.Lock()
	if ln.closed {
		ln.mu.Unlock()
		return nil
	}
	ln.closed = true
	close(ln.quit)
	ln.mu.Unlock()
	err := ln.nl.Close()
	ln.work.Wait()
	return err
}

// Accept hands new connections to f, on the loop and outside any task. Several loops may accept from one
// listener; each connection goes to one. The function returned stops it.
func (l *Loop) Accept(ln *Listener, f func(*Conn)) (stop func(), err error) {
	if l.ended {
		return nil, errEnded(net.ErrClosed)
	}
	t := &taker{l: l, ln: ln, f: f}
	if err := ln.add(t); err != nil {
		return nil, fmt.Errorf("listen %v: %w", ln.addr, err)
	}
	l.takers[t] = struct{}{}
	return t.stop, nil
}

// stop runs on the taker's loop.
func (t *taker) stop() {
	if !t.stopped {
		t.stopped = true
		delete(t.l.takers, t)
		t.ln.remove(t)
	}
}

func (ln *Listener) add(t *taker) error {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		return net.ErrClosed
	}
	ln.takers = append(ln.takers, t)
	ln.setDeadline(time.Time{})
	if !ln.running {
		ln.running = true
		ln.work.Go(ln.accept)
	}
	return nil
}

func (ln *Listener) remove(t *taker) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for i, other := range ln.takers {
		if other == t {
			ln.takers = append(ln.takers[:i], ln.takers[i+1:]...)
			break
		}
	}
	if len(ln.takers) == 0 {
		ln.setDeadline(time.Unix(1, 0)) // lets the goroutine go; what waits in the queue stays there
	}
}

func (ln *Listener) setDeadline(t time.Time) {
	if s, ok := ln.nl.(interface{ SetDeadline(time.Time) error }); ok {
		_ = s.SetDeadline(t)
	}
}

// accept takes connections and deals them out in turn.
func (ln *Listener) accept() {
	for {
		select {
		case ln.room <- struct{}{}:
		case <-ln.quit:
			return
		}
		nc, err := ln.nl.Accept()
		if err == nil {
			ln.deal(nc)
			continue
		}
		<-ln.room
		if ln.over() || !ln.rest(err) {
			return
		}
	}
}

// over reports whether the goroutine has nobody to work for, and is gone then as far as add is concerned.
func (ln *Listener) over() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	ln.running = len(ln.takers) > 0 && !ln.closed
	return !ln.running
}

// rest keeps the goroutine quiet for a moment when descriptors have run out, and reports whether to go on.
func (ln *Listener) rest(err error) bool {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return true // somebody came again
	}
	const pause = 100 * time.Millisecond
	t := time.NewTimer(pause)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ln.quit:
		return false
	}
}

// deal gives nc to the next loop that takes it.
func (ln *Listener) deal(nc net.Conn) {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for range ln.takers {
		t := ln.takers[ln.turn%len(ln.takers)]
		ln.turn++
		if t.l.Post(func() { t.take(nc) }) {
			return
		}
	}
	<-ln.room
	_ = nc.Close()
}

// take hands nc to the taker, on its loop.
func (t *taker) take(nc net.Conn) {
	<-t.ln.room
	if t.stopped {
		_ = nc.Close()
		return
	}
	c, err := t.l.adopt(nc)
	if err != nil {
		_ = nc.Close()
		return
	}
	t.f(c)
}

// KeepAlive has the kernel find out that a silent peer is gone: probes after 60 s, every 15 s, 4 of them.
func (c *Conn) KeepAlive() { c.KeepAliveWith(60*time.Second, 15*time.Second, 4) }

// KeepAliveWith is KeepAlive with other figures; those that are 0 are the system's.
func (c *Conn) KeepAliveWith(idle, interval time.Duration, probes int) {
	if s, ok := c.nc.(interface {
		SetKeepAliveConfig(net.KeepAliveConfig) error
	}); ok {
		_ = s.SetKeepAliveConfig(net.KeepAliveConfig{
			Enable: true, Idle: orSystem(idle), Interval: orSystem(interval), Count: int(orSystem(time.Duration(probes))),
		}) // best effort
	}
}

// orSystem makes 0 what net.KeepAliveConfig takes for the system's own.
func orSystem(d time.Duration) time.Duration {
	if d == 0 {
		return -1
	}
	return d
}
