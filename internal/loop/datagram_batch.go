//go:build linux && !weft_goroutines

package loop

import (
	"encoding/binary"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

const (
	inBatch  = 32        // datagrams of one recvmmsg; their buffers are 2 MiB of address space for each loop
	outBatch = 64        // datagrams of one sendmmsg
	outRoom  = 128 << 10 // bytes of content that wait for it
)

// message is struct mmsghdr (recvmmsg(2)).
type message struct {
	header unix.Msghdr
	n      uint32 // bytes of content
}

// control is room for one control message of either kind, aligned as the kernel wants it.
type control struct {
	header unix.Cmsghdr
	data   [unix.SizeofInet6Pktinfo]byte
	_      [8]byte
}

// incoming is where all UDP sockets of a loop read into: what is read is handled before the next is. Its structures
// are made once and never move.
type incoming struct {
	named, connected inbox
	messages         *[inBatch]message // of the last receive
	vectors          [inBatch]unix.Iovec
	names            [inBatch]unix.RawSockaddrInet6 // large enough for either family
	controls         [inBatch]control
	buffers          [inBatch][]byte
}

// inbox is messages to read into. The kernel writes lengths into those that it fills.
type inbox struct {
	messages [inBatch]message
	filled   int // by the last receive
}

func newIncoming() *incoming {
	in := &incoming{}
	for i := range in.buffers {
		in.buffers[i] = make([]byte, MaxDatagram+1)
		in.vectors[i].Base = &in.buffers[i][0]
		in.vectors[i].SetLen(MaxDatagram + 1)
		for _, s := range []*inbox{&in.named, &in.connected} {
			s.messages[i].header.Iov = &in.vectors[i]
			s.messages[i].header.SetIovlen(1)
		}
		h := &in.named.messages[i].header
		h.Name, h.Control = (*byte)(unsafe.Pointer(&in.names[i])), (*byte)(unsafe.Pointer(&in.controls[i]))
	}
	in.named.filled = inBatch
	return in
}

// receive reads up to inBatch datagrams. named asks for where they come from, which connected sockets know.
func (in *incoming) receive(fd int, named bool) (int, error) {
	s := &in.connected
	if named {
		s = &in.named
		for i := range s.filled {
			h := &s.messages[i].header
			h.Namelen = unix.SizeofSockaddrInet6
			h.SetControllen(int(unsafe.Sizeof(in.controls[i])))
		}
	}
	in.messages, s.filled = &s.messages, 0
	r, _, e := unix.RawSyscall6(unix.SYS_RECVMMSG, uintptr(fd), uintptr(unsafe.Pointer(&s.messages[0])), inBatch, unix.MSG_DONTWAIT, 0, 0)
	if e != 0 {
		return 0, e
	}
	s.filled = int(r)
	return s.filled, nil
}

// peer returns the other end of datagram i.
func (in *incoming) peer(i int, d *Datagrams) Peer {
	if d.out == nil {
		return Peer{}
	}
	name := &in.names[i]
	p := Peer{}
	if name.Family == unix.AF_INET {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(name))
		p.Addr = netip.AddrPortFrom(netip.AddrFrom4(name.Addr), swapped(name.Port))
	} else {
		p.Addr = netip.AddrPortFrom(netip.AddrFrom16(name.Addr).Unmap(), swapped(name.Port))
		p.Zone = name.Scope_id
	}
	if d.wildcard && in.messages[i].header.Controllen >= unix.SizeofCmsghdr {
		p.Local = in.controls[i].local()
	}
	return p
}

// local is the address that a datagram was sent to, as an answer has to name it.
func (c *control) local() netip.Addr {
	switch {
	case c.header.Level == unix.IPPROTO_IP && c.header.Type == unix.IP_PKTINFO:
		return netip.AddrFrom4((*unix.Inet4Pktinfo)(unsafe.Pointer(&c.data)).Spec_dst)
	case c.header.Level == unix.IPPROTO_IPV6 && c.header.Type == unix.IPV6_PKTINFO:
		return netip.AddrFrom16((*unix.Inet6Pktinfo)(unsafe.Pointer(&c.data)).Addr).Unmap()
	}
	return netip.Addr{}
}

// swapped turns a port from the order of the network to the machine's, and back.
func swapped(port uint16) uint16 {
	var b [2]byte
	binary.NativeEndian.PutUint16(b[:], port)
	return binary.BigEndian.Uint16(b[:])
}

// outgoing gathers the datagrams that a listening socket sends in one turn.
type outgoing struct {
	messages [outBatch]message
	vectors  [outBatch]unix.Iovec
	names    [outBatch]unix.RawSockaddrInet6
	controls [outBatch]control
	content  []byte
	count    int
	used     int  // bytes of content
	asked    bool // for Flush
}

func newOutgoing() *outgoing {
	o := &outgoing{content: make([]byte, outRoom)}
	for i := range o.messages {
		o.messages[i].header.Iov = &o.vectors[i]
		o.messages[i].header.SetIovlen(1)
		o.messages[i].header.Name = (*byte)(unsafe.Pointer(&o.names[i]))
	}
	return o
}

func (o *outgoing) fits(n int) bool { return o.count < outBatch && o.used+n <= len(o.content) }

// add gathers one. It fits.
func (o *outgoing) add(b []byte, to *Peer, v6 bool) {
	i := o.count
	o.count++
	copy(o.content[o.used:], b)
	o.vectors[i].Base = unsafe.SliceData(o.content[o.used:])
	o.vectors[i].SetLen(len(b))
	o.used += len(b)
	h := &o.messages[i].header
	if v6 {
		o.names[i] = unix.RawSockaddrInet6{Family: unix.AF_INET6, Port: swapped(to.Addr.Port()), Addr: to.Addr.Addr().As16(), Scope_id: to.Zone}
		h.Namelen = unix.SizeofSockaddrInet6
	} else {
		name := (*unix.RawSockaddrInet4)(unsafe.Pointer(&o.names[i]))
		*name = unix.RawSockaddrInet4{Family: unix.AF_INET, Port: swapped(to.Addr.Port()), Addr: to.Addr.Addr().As4()}
		h.Namelen = unix.SizeofSockaddrInet4
	}
	h.Control = nil
	h.SetControllen(0)
	if to.Local.IsValid() {
		h.Control = (*byte)(unsafe.Pointer(&o.controls[i]))
		h.SetControllen(o.controls[i].from(to, v6))
	}
}

// from writes the address that a datagram is to come from, and returns the length of the whole.
func (c *control) from(to *Peer, v6 bool) int {
	if !v6 {
		c.header.Level, c.header.Type = unix.IPPROTO_IP, unix.IP_PKTINFO
		c.header.SetLen(unix.CmsgLen(unix.SizeofInet4Pktinfo))
		*(*unix.Inet4Pktinfo)(unsafe.Pointer(&c.data)) = unix.Inet4Pktinfo{Spec_dst: to.Local.As4()}
		return unix.CmsgSpace(unix.SizeofInet4Pktinfo)
	}
	c.header.Level, c.header.Type = unix.IPPROTO_IPV6, unix.IPV6_PKTINFO
	c.header.SetLen(unix.CmsgLen(unix.SizeofInet6Pktinfo))
	*(*unix.Inet6Pktinfo)(unsafe.Pointer(&c.data)) = unix.Inet6Pktinfo{Addr: to.Local.As16(), Ifindex: to.Zone}
	return unix.CmsgSpace(unix.SizeofInet6Pktinfo)
}

// send sends what was gathered and returns how many the system did not take. One that it refuses does not keep back
// those behind it; without room for one there is none for the rest.
func (o *outgoing) send(fd int) (unsent uint64) {
	for at := 0; at < o.count; {
		r, _, e := unix.RawSyscall6(unix.SYS_SENDMMSG, uintptr(fd), uintptr(unsafe.Pointer(&o.messages[at])), uintptr(o.count-at), unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT, 0, 0)
		switch e {
		case 0:
			at += int(r)
		case unix.EINTR:
		case unix.EAGAIN, unix.ENOBUFS:
			return unsent + uint64(o.count-at)
		default:
			unsent++
			at++
		}
	}
	return unsent
}
