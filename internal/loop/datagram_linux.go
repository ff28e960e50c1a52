//go:build linux && !weft_goroutines

package loop

import (
	"fmt"
	"net"
	"net/netip"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// receiveBuffer is what is asked for each UDP socket that listens: bursts wait there while the loop does other things.
// The system may give less (net.core.rmem_max).
const receiveBuffer = 4 << 20

// DatagramListener is an address that UDP datagrams come in by: a socket for each of several loops. The kernel deals
// datagrams to them by a hash of both ends (SO_REUSEPORT), so that those of one client all come to one loop as long
// as no socket is closed.
type DatagramListener struct {
	fds      []int // -1: taken by a loop
	addr     netip.AddrPort
	wildcard bool
}

// ListenDatagrams binds a UDP socket for each of n loops. Port 0 takes a free one: see Addr.
func ListenDatagrams(addr netip.AddrPort, n int) (*DatagramListener, error) {
	ln := &DatagramListener{addr: addr, wildcard: addr.Addr().Unmap().IsUnspecified()}
	for i := range n {
		fd, err := bindDatagrams(ln.addr, ln.wildcard, i == 0)
		if err != nil {
			_ = ln.Close()
			return nil, fmt.Errorf("listen udp %v: %w", addr, err)
		}
		ln.fds = append(ln.fds, fd)
		if i == 0 {
			ln.addr = sockaddr(unix.Getsockname(fd))
		}
	}
	return ln, nil
}

// bindDatagrams makes one socket. The first binds without SO_REUSEPORT, so that an address another program holds is
// an error rather than shared with it, and takes the option afterwards, so that the others can join.
func bindDatagrams(addr netip.AddrPort, wildcard, first bool) (int, error) {
	family, sa := family(addr)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	option := func(level, name, value int) {
		if err == nil {
			err = unix.SetsockoptInt(fd, level, name, value)
		}
	}
	if wildcard && family == unix.AF_INET {
		option(unix.IPPROTO_IP, unix.IP_PKTINFO, 1)
	} else if wildcard {
		option(unix.IPPROTO_IPV6, unix.IPV6_RECVPKTINFO, 1)
	}
	if !first {
		option(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err == nil {
		err = unix.Bind(fd, sa)
	}
	if first {
		option(unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, receiveBuffer) // best effort
	return fd, nil
}

// Addr returns the address it listens on.
func (ln *DatagramListener) Addr() netip.AddrPort { return ln.addr }

// Close closes the sockets that no loop has taken; the others belong to their loops.
func (ln *DatagramListener) Close() error {
	for i, fd := range ln.fds {
		if fd >= 0 {
			unix.Close(fd)
			ln.fds[i] = -1
		}
	}
	return nil
}

// Datagrams is a UDP socket of one loop.
type Datagrams struct {
	c        *Conn // its place in the loop
	h        Handler
	v6       bool
	wildcard bool
	out      *outgoing // nil: connected
	unsent   uint64
}

// TakeDatagrams makes socket i of a listener the loop's, which hands what comes in to h. It must run on the loop, and
// once for each i.
func (l *Loop) TakeDatagrams(ln *DatagramListener, i int, h Handler) (*Datagrams, error) {
	d := &Datagrams{h: h, v6: !ln.addr.Addr().Unmap().Is4(), wildcard: ln.wildcard}
	d.out = newOutgoing()
	if err := l.watchDatagrams(d, ln.fds[i]); err != nil {
		return nil, fmt.Errorf("listen udp %v: %w", ln.addr, err)
	}
	ln.fds[i] = -1
	return d, nil
}

// DialDatagrams makes a socket that exchanges datagrams with addr alone. It costs a descriptor and does not park.
func (l *Loop) DialDatagrams(addr netip.AddrPort, h Handler) (*Datagrams, error) {
	family, sa := family(addr)
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("connect udp %v: %w", addr, err)
	}
	d := &Datagrams{h: h}
	if err = unix.Connect(fd, sa); err == nil {
		err = l.watchDatagrams(d, fd)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("connect udp %v: %w", addr, err)
	}
	return d, nil
}

// watchDatagrams is level-triggered: what a batch leaves is reported again.
func (l *Loop) watchDatagrams(d *Datagrams, fd int) error {
	c, err := l.add(fd, unix.EPOLLIN)
	if err != nil {
		return err
	}
	if l.incoming == nil {
		l.incoming = newIncoming()
	}
	d.c, c.accept = c, d.readable
	return nil
}

// batches bounds how often a socket is read for one event, so that a flood of datagrams does not starve the rest.
const batches = 4

// readable takes in what is there.
func (d *Datagrams) readable() {
	in := d.c.loop.incoming
	for range batches {
		n, err := in.receive(d.c.fd, d.out != nil)
		if err == unix.EAGAIN || err == unix.EINTR {
			return
		}
		if err != nil {
			d.h.DatagramError(os.NewSyscallError("recvmmsg", err))
			return
		}
		for i := range n {
			if d.c.closed {
				return
			}
			if m := &in.messages[i]; m.header.Flags&unix.MSG_TRUNC != 0 || m.n > MaxDatagram {
				d.h.DatagramError(ErrCut)
				continue
			}
			d.h.Datagram(in.buffers[i][:in.messages[i].n], in.peer(i, d))
		}
		if n < inBatch || d.c.closed {
			return
		}
	}
}

// Send sends a datagram by a connected socket.
func (d *Datagrams) Send(b []byte) error {
	if d.c.closed {
		return net.ErrClosed
	}
	_, _, e := unix.RawSyscall6(unix.SYS_SENDTO, uintptr(d.c.fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)), unix.MSG_NOSIGNAL, 0, 0)
	switch e {
	case 0:
		return nil
	case unix.EAGAIN, unix.ENOBUFS:
		return ErrFull
	}
	return e
}

// SendTo sends a datagram to a peer by a socket that listens, at the end of the turn at the latest: what is sent in a
// turn leaves in few system calls. b may be used again at once. What cannot be sent is counted: see Unsent.
func (d *Datagrams) SendTo(b []byte, to Peer) {
	if d.c.closed {
		return
	}
	if !d.out.fits(len(b)) {
		d.send()
	}
	if d.out.count == 0 && !d.out.asked {
		d.out.asked = true
		d.c.loop.OnFlush(d)
	}
	d.out.add(b, &to, d.v6)
}

// Flush sends what SendTo has gathered.
func (d *Datagrams) Flush() {
	d.out.asked = false
	d.send()
}

func (d *Datagrams) send() {
	if !d.c.closed {
		d.unsent += d.out.send(d.c.fd)
	}
	d.out.count, d.out.used = 0, 0
}

// Unsent is how many datagrams of SendTo the system did not take.
func (d *Datagrams) Unsent() uint64 { return d.unsent }

// Closed reports whether the socket was closed, or its loop has ended.
func (d *Datagrams) Closed() bool { return d.c.closed }

// Local returns the local address.
func (d *Datagrams) Local() netip.AddrPort { return d.c.Local() }

// Close closes the socket, sending what SendTo has gathered. Closing twice is harmless.
func (d *Datagrams) Close() {
	if d.out != nil {
		d.send()
	}
	_ = d.c.Close()
}
