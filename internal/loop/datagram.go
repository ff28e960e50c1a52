package loop

import (
	"errors"
	"net/netip"
)

// MaxDatagram is the most content that a UDP datagram has over IPv4 (RFC 768; RFC 791, section 3.1). Larger ones,
// which IPv6 allows by 20 bytes, are cut by no system call here: they are dropped.
const MaxDatagram = 65507

// Peer is the other end of a datagram that came in by a Datagrams of ListenDatagrams. It is comparable, holds no
// pointer that belongs to anybody, and an answer goes back by it.
type Peer struct {
	Addr  netip.AddrPort // who sent it; without zone
	Local netip.Addr     // the address it was sent to, where the socket is bound to all of them; else zero
	Zone  uint32         // interface of an IPv6 address that has a meaning only there (RFC 4007); else 0
}

// ErrCut is given to OnError for a datagram of more than MaxDatagram bytes, which is dropped.
var ErrCut = errors.New("the datagram is larger than 65507 bytes")

// ErrFull means that the socket's send buffer had no room: the datagram is dropped, as the network may drop any.
var ErrFull = errors.New("the socket's send buffer is full")

// Handler is told what comes in by a Datagrams. It runs on the loop, outside any task: it must not park.
type Handler interface {
	// Datagram takes a datagram. b is borrowed until it returns, and may be empty.
	Datagram(b []byte, from Peer)
	// DatagramError takes an error of the socket: of a connected one syscall.ECONNREFUSED, when the other end has no
	// such port (RFC 792; RFC 4443, section 3.1), or that it cannot be reached; ErrCut of any. The socket stays open.
	DatagramError(err error)
}
