//go:build linux

package proxy

import (
	"testing"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/model"
)

// TestUDPNoDescriptors has a datagram dropped for want of a descriptor, and the endpoint not blamed for it.
func TestUDPNoDescriptors(t *testing.T) {
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	svc := udpService("web", udpEndpoint("web-1", udpAt(program)))
	svc.Upstream = &model.Upstream{Ejection: &model.Ejection{Consecutive5xx: 1, MaxShare: 1}}
	l := newLab(t)
	e, at := l.udpGateway(Options{}, udpEdge(loopback, []uint32{1}, svc))
	c := udpDial(t, at)
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		t.Fatal(err)
	}
	if err := unix.Setrlimit(unix.RLIMIT_NOFILE, &unix.Rlimit{Cur: 1, Max: limit.Max}); err != nil {
		t.Fatal(err)
	}
	restore := func() { _ = unix.Setrlimit(unix.RLIMIT_NOFILE, &limit) }
	defer restore()
	if _, err := c.Write([]byte("x")); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the datagram is dropped", func() bool { return udpCounts(e).Dropped[flagOverload] > 0 })
	restore()
	askUDP(t, c, []byte("y"))
	if d := udpCounts(e); d.Dropped[flagConnect]+d.Dropped[flagNoEndpoints] > 0 {
		t.Errorf("%+v", d)
	}
}
