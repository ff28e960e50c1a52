//go:build !linux || weft_goroutines

package loop

import (
	"net"
	"net/netip"

	"golang.org/x/net/ipv4"
	"golang.org/x/net/ipv6"
)

// listenPackets binds a UDP socket. One for all addresses tells which of them a datagram was sent to, where the
// system can say so.
func listenPackets(addr netip.AddrPort) (packetConn, error) {
	network := "udp"
	if addr.Addr().Is4() {
		network = "udp4" // 0.0.0.0 would stand for IPv6 as well
	}
	c, err := net.ListenUDP(network, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		return nil, err
	}
	if addr.Addr().IsUnspecified() {
		if p := ipv4.NewPacketConn(c); network == "udp4" && p.SetControlMessage(ipv4.FlagDst, true) == nil {
			return packets4{c, p}, nil
		}
		if p := ipv6.NewPacketConn(c); network == "udp" && p.SetControlMessage(ipv6.FlagDst, true) == nil {
			return packets6{c, p}, nil
		}
	}
	return packets{c}, nil
}

// packets is a socket of one address.
type packets struct{ *net.UDPConn }

func (p packets) read(b []byte) (int, Peer, error) {
	n, from, err := p.ReadFromUDPAddrPort(b)
	return n, Peer{Addr: netip.AddrPortFrom(from.Addr().Unmap(), from.Port())}, err
}

func (p packets) write(b []byte, to Peer) error {
	_, err := p.WriteToUDPAddrPort(b, to.Addr)
	return err
}

// packets4 is a socket of all IPv4 addresses.
type packets4 struct {
	*net.UDPConn
	p *ipv4.PacketConn
}

func (p packets4) read(b []byte) (int, Peer, error) {
	n, cm, from, err := p.p.ReadFrom(b)
	peer := Peer{Addr: addrPort(from)}
	if cm != nil {
		peer.Local = unmapped(cm.Dst)
	}
	return n, peer, err
}

func (p packets4) write(b []byte, to Peer) error {
	var cm *ipv4.ControlMessage
	if to.Local.IsValid() {
		cm = &ipv4.ControlMessage{Src: to.Local.AsSlice()}
	}
	_, err := p.p.WriteTo(b, cm, net.UDPAddrFromAddrPort(to.Addr))
	return err
}

// packets6 is a socket of all addresses of both families.
type packets6 struct {
	*net.UDPConn
	p *ipv6.PacketConn
}

func (p packets6) read(b []byte) (int, Peer, error) {
	n, cm, from, err := p.p.ReadFrom(b)
	peer := Peer{Addr: addrPort(from)}
	if cm != nil {
		peer.Local = unmapped(cm.Dst)
	}
	return n, peer, err
}

func (p packets6) write(b []byte, to Peer) error {
	var cm *ipv6.ControlMessage
	if to.Local.IsValid() && !to.Local.Is4() {
		cm = &ipv6.ControlMessage{Src: to.Local.AsSlice()}
	}
	_, err := p.p.WriteTo(b, cm, net.UDPAddrFromAddrPort(to.Addr))
	return err
}

// unmapped is ip as netip has it; zero if it is none.
func unmapped(ip net.IP) netip.Addr {
	a, _ := netip.AddrFromSlice(ip)
	return a.Unmap()
}
