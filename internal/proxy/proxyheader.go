package proxy

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/weft-mesh/weft/internal/loop"
)

// The PROXY protocol (HAProxy, proxy-protocol.txt): a connection to an endpoint begins by saying whose it is. HTTP
// connections are then used for one client each.

const proxySignature = "\r\n\r\n\x00\r\nQUIT\n"

// appendProxyHeader appends the header of a version for a connection from a client to where it thinks it is.
func appendProxyHeader(dst []byte, version int, from, to netip.AddrPort) []byte {
	a, b := from.Addr().Unmap(), to.Addr().Unmap()
	known := a.IsValid() && b.IsValid()
	if known && a.Is4() != b.Is4() { // one family for both
		a, b = netip.AddrFrom16(a.As16()), netip.AddrFrom16(b.As16())
	}
	if version == 1 {
		if !known {
			return append(dst, "PROXY UNKNOWN\r\n"...)
		}
		family := "TCP6"
		if a.Is4() {
			family = "TCP4"
		}
		return fmt.Appendf(dst, "PROXY %s %s %s %d %d\r\n", family, a, b, from.Port(), to.Port())
	}
	dst = append(dst, proxySignature...)
	switch {
	case !known:
		return append(dst, 0x20, 0, 0, 0) // LOCAL
	case a.Is4():
		dst = append(dst, 0x21, 0x11, 0, 12)
	default:
		dst = append(dst, 0x21, 0x21, 0, 36)
	}
	dst = append(append(dst, a.AsSlice()...), b.AsSlice()...)
	return binary.BigEndian.AppendUint16(binary.BigEndian.AppendUint16(dst, from.Port()), to.Port())
}

// announce writes the header, if the endpoint's service asks for one.
func (ep *endpoint) announce(x *exchange, raw *loop.Conn) error {
	if ep.proxyHeader == 0 {
		return nil
	}
	to := x.o.dst
	if !to.IsValid() && x.o.entry != nil {
		to = x.o.entry.socket.Address
	}
	if _, err := raw.Write(appendProxyHeader(nil, ep.proxyHeader, x.o.remote, to)); err != nil {
		_ = raw.Close()
		return err
	}
	return nil
}
