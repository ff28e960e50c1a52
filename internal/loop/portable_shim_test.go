//go:build linux && weft_goroutines

package loop

import (
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// The tests of the other scheduler turn a loop by hand and give it descriptors; this is how it is done here.

const streamEvents = 0

// add adopts a descriptor of a stream socket.
func (l *Loop) add(fd int, _ uint32) (*Conn, error) {
	f := os.NewFile(uintptr(fd), "pair")
	defer f.Close()
	nc, err := net.FileConn(f)
	if err != nil {
		return nil, err
	}
	return l.adopt(nc)
}

// waitInHand waits for events, as long as a test has patience: a goroutine has to bring them first.
func (l *Loop) waitInHand(time.Duration) (int, error) {
	for end := time.Now().Add(patience); time.Now().Before(end); {
		if n := l.takeMail(); n > 0 {
			return n, nil
		}
		select {
		case <-l.wake:
		case <-time.After(time.Until(end)):
		}
	}
	return 0, nil
}

// sockaddr turns a system socket address into a netip one.
func sockaddr(sa unix.Sockaddr, _ error) netip.AddrPort {
	a, ok := sa.(*unix.SockaddrInet4)
	if !ok {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
}
