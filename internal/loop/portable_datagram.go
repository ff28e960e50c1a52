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

// datagramsAhead bounds the datagrams that have been read and not yet handed to their loops, for each socket: with
// more, its goroutine waits, and the system drops.
const datagramsAhead = 256

// DatagramListener is an address that UDP datagrams come in by, for several loops. Its one goroutine deals them by a
// hash of who sent them, so that those of one client all come to one loop.
type DatagramListener struct {
	pc   packetConn
	addr netip.AddrPort
	room chan struct{} // a token for each datagram that waits for its loop
	quit chan struct{}
	work sync.WaitGroup

	mu      sync.Mutex
	parts   []*Datagrams
	running bool
	closed  bool
}

// packetConn is a socket that tells the address that a datagram was sent to, and sends from one.
type packetConn interface {
	read(b []byte) (n int, from Peer, err error)
	write(b []byte, to Peer) error
	Close() error
	LocalAddr() net.Addr
}

// ListenDatagrams binds a UDP socket for n loops. Port 0 takes a free one: see Addr.
func ListenDatagrams(addr netip.AddrPort, n int) (*DatagramListener, error) {
	pc, err := listenPackets(netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()))
	if err != nil {
		return nil, fmt.Errorf("listen udp %v: %w", addr, err)
	}
	return &DatagramListener{
		pc: pc, addr: addrPort(pc.LocalAddr()), parts: make([]*Datagrams, n),
		room: make(chan struct{}, datagramsAhead), quit: make(chan struct{}),
	}, nil
}

// Addr returns the address it listens on.
func (ln *DatagramListener) Addr() netip.AddrPort { return ln.addr }

// Close closes the socket, unless loops have taken parts of it: then it is closed with the last of them.
func (ln *DatagramListener) Close() error {
	if !ln.end() {
		return nil
	}
	err := ln.pc.Close()
	ln.work.Wait() // it waits for no loop
	return err
}

// end reports whether the socket is to be closed now.
func (ln *DatagramListener) end() bool {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	for _, d := range ln.parts {
		if d != nil && !d.gone {
			return false
		}
	}
	if ln.closed {
		return false
	}
	ln.closed = true
	close(ln.quit)
	return true
}

// Datagrams is a UDP socket of one loop, or its part of one.
type Datagrams struct {
	loop   *Loop
	h      Handler
	ln     *DatagramListener // nil: connected
	nc     net.Conn          // connected
	room   chan struct{}     // of nc
	quit   chan struct{}     // of nc
	closed bool
	gone   bool // under the lock of ln: takes no datagrams any more
	unsent uint64
}

// TakeDatagrams makes part i of a listener the loop's, which hands what comes in to h. It must run on the loop, and
// once for each i.
func (l *Loop) TakeDatagrams(ln *DatagramListener, i int, h Handler) (*Datagrams, error) {
	if l.ended {
		return nil, errEnded(net.ErrClosed)
	}
	d := &Datagrams{loop: l, h: h, ln: ln}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if ln.closed {
		return nil, fmt.Errorf("listen udp %v: %w", ln.addr, net.ErrClosed)
	}
	ln.parts[i] = d
	l.datagrams[d] = struct{}{}
	if !ln.running {
		ln.running = true
		ln.work.Go(ln.read)
	}
	return d, nil
}

// read reads datagrams and deals them out.
func (ln *DatagramListener) read() {
	for {
		select {
		case ln.room <- struct{}{}:
		case <-ln.quit:
			return
		}
		buf := make([]byte, MaxDatagram+1)
		n, from, err := ln.pc.read(buf)
		if err != nil {
			<-ln.room
			if errors.Is(err, net.ErrClosed) || !pause(ln.quit) {
				return
			}
			continue
		}
		d := ln.partOf(from)
		own := append([]byte(nil), buf[:n]...)
		if d == nil || !d.loop.Post(func() { <-ln.room; d.arrived(own, from, nil) }) {
			<-ln.room
		}
	}
}

// partOf returns whose a peer's datagrams are; nil: nobody's.
func (ln *DatagramListener) partOf(from Peer) *Datagrams {
	ln.mu.Lock()
	defer ln.mu.Unlock()
	return ln.parts[from.hash()%uint32(len(ln.parts))]
}

// hash spreads peers over the loops here: FNV-1a over address and port.
func (p *Peer) hash() uint32 {
	h := uint32(2166136261)
	ip := p.Addr.Addr().As16()
	for _, b := range ip {
		h = (h ^ uint32(b)) * 16777619
	}
	port := uint32(p.Addr.Port())
	return ((h^port>>8)*16777619 ^ port&0xff) * 16777619
}

// pause waits a moment after an error of the system, which may come again at once, and reports whether to go on.
func pause(quit <-chan struct{}) bool {
	t := time.NewTimer(10 * time.Millisecond)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-quit:
		return false
	}
}

// DialDatagrams makes a socket that exchanges datagrams with addr alone. It costs a descriptor and a goroutine, and
// does not park.
func (l *Loop) DialDatagrams(addr netip.AddrPort, h Handler) (*Datagrams, error) {
	if l.ended || l.dials == nil {
		return nil, fmt.Errorf("connect udp %v: the event loop does not run: %w", addr, net.ErrClosed)
	}
	var dialer net.Dialer
	nc, err := dialer.DialContext(context.WithoutCancel(l.dials), "udp", netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port()).String())
	if err != nil {
		return nil, fmt.Errorf("connect udp %v: %w", addr, err)
	}
	d := &Datagrams{loop: l, h: h, nc: nc, room: make(chan struct{}, datagramsAhead), quit: make(chan struct{})}
	l.datagrams[d] = struct{}{}
	l.io.Go(d.read)
	return d, nil
}

// read reads what comes in by a connected socket.
func (d *Datagrams) read() {
	buf := make([]byte, MaxDatagram+1)
	for {
		select {
		case d.room <- struct{}{}:
		case <-d.quit:
			return
		}
		n, err := d.nc.Read(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		own := append([]byte(nil), buf[:n]...)
		if !d.loop.Post(func() { <-d.room; d.arrived(own, Peer{}, err) }) {
			return
		}
		if err != nil && !pause(d.quit) {
			return
		}
	}
}

// arrived takes what a goroutine has read.
func (d *Datagrams) arrived(b []byte, from Peer, err error) {
	switch {
	case d.closed:
	case err != nil:
		d.h.DatagramError(err)
	case len(b) > MaxDatagram:
		d.h.DatagramError(ErrCut)
	default:
		d.h.Datagram(b, from)
	}
}

// Send sends a datagram by a connected socket. It may block for a moment where the system has no room.
func (d *Datagrams) Send(b []byte) error {
	if d.closed {
		return net.ErrClosed
	}
	_, err := d.nc.Write(b)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return ErrFull
	}
	return err
}

// SendTo sends a datagram to a peer by a socket that listens. b may be used again at once. What cannot be sent is
// counted: see Unsent.
func (d *Datagrams) SendTo(b []byte, to Peer) {
	if !d.closed && d.ln.pc.write(b, to) != nil {
		d.unsent++
	}
}

// Unsent is how many datagrams of SendTo the system did not take.
func (d *Datagrams) Unsent() uint64 { return d.unsent }

// Closed reports whether the socket was closed, or its loop has ended.
func (d *Datagrams) Closed() bool { return d.closed }

// Local returns the local address.
func (d *Datagrams) Local() netip.AddrPort {
	if d.ln != nil {
		return d.ln.addr
	}
	return addrPort(d.nc.LocalAddr())
}

// Close closes the socket, or the loop's part of it. Closing twice is harmless.
func (d *Datagrams) Close() {
	if d.closed {
		return
	}
	d.closed = true
	delete(d.loop.datagrams, d)
	if d.ln == nil {
		close(d.quit)
		_ = d.nc.Close()
		return
	}
	d.ln.mu.Lock()
	d.gone = true
	d.ln.mu.Unlock()
	_ = d.ln.Close()
}
