// Package origdst reads where a captured connection was going, by the socket option that both kinds of
// capture answer: netfilter for an nftables redirect (since Linux 2.2, netfilter_ipv4.h), and the mesh's
// own hook for capture by eBPF. It is apart from package redirect so that the proxy links no eBPF loader.
//
// Its function is one system call that does not block, safe from any goroutine.
package origdst

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"unsafe"

	"golang.org/x/sys/unix"
)

// soOriginalDst is SO_ORIGINAL_DST of linux/netfilter_ipv4.h.
const soOriginalDst = 80

// ErrNotCaptured says that the connection came to the listener's own address.
var ErrNotCaptured = errors.New("the connection was not captured")

// OriginalDst returns the IPv4 address and port that the client of the accepted connection fd asked for. It returns
// an error that wraps ErrNotCaptured for a connection that nothing redirected, and the system call's error
// when fd is no connected TCP socket.
func OriginalDst(fd int) (netip.AddrPort, error) {
	var sa [16]byte // struct sockaddr_in
	size := uint32(len(sa))
	_, _, errno := unix.RawSyscall6(unix.SYS_GETSOCKOPT, uintptr(fd), unix.IPPROTO_IP, soOriginalDst,
		uintptr(unsafe.Pointer(&sa)), uintptr(unsafe.Pointer(&size)), 0)
	switch errno {
	case 0:
	case unix.ENOENT, unix.ENOPROTOOPT, unix.EOPNOTSUPP:
		// No entry in netfilter's table; netfilter not loaded; the same for an MPTCP socket.
		return netip.AddrPort{}, fmt.Errorf("read SO_ORIGINAL_DST: %w (%w)", ErrNotCaptured, errno)
	default:
		return netip.AddrPort{}, fmt.Errorf("read SO_ORIGINAL_DST: %w", errno)
	}
	if family := binary.NativeEndian.Uint16(sa[:2]); family != unix.AF_INET || size < 8 {
		return netip.AddrPort{}, fmt.Errorf("read SO_ORIGINAL_DST: got %d bytes of address family %d, want IPv4", size, family)
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte(sa[4:8])), binary.BigEndian.Uint16(sa[2:4])), nil
}
