//go:build linux && !weft_goroutines

package proxy

import (
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// udpLoad has n datagrams go through the gateway and come back, one after another, and allocates nothing for one.
func udpLoad(t testing.TB, c net.Conn, n int) {
	t.Helper()
	request, buf := make([]byte, 64), make([]byte, 2048)
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	for range n {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		if _, err := c.Read(buf); err != nil {
			t.Fatal(err)
		}
	}
}

func udpHop(t testing.TB) net.Conn {
	t.Helper()
	program := udpProgram(t, "127.0.0.1:0", sameBytes)
	l := newLab(t)
	_, at := l.udpGateway(Options{}, udpEdge(loopback, []uint32{1}, udpService("web", udpEndpoint("web-1", udpAt(program)))))
	return udpDial(t, at)
}

// TestUDPAllocatesNothing has a datagram through the engine, and its answer, allocate nothing once the session is there.
func TestUDPAllocatesNothing(t *testing.T) {
	c := udpHop(t)
	udpLoad(t, c, 500)
	wantNoAllocations(t, 5000, func(n int) { udpLoad(t, c, n) })
}

// BenchmarkUDPHop is a datagram through an engine and back, with its client and its program in this process: "direct" is
// the same without the engine. cpu-ns/op is the processor time of all of them.
func BenchmarkUDPHop(b *testing.B) {
	b.Run("direct", func(b *testing.B) {
		benchUDP(b, udpDial(b, udpAt(udpProgram(b, "127.0.0.1:0", sameBytes))))
	})
	b.Run("gateway", func(b *testing.B) { benchUDP(b, udpHop(b)) })
}

func benchUDP(b *testing.B, c net.Conn) {
	udpLoad(b, c, 500)
	b.ReportAllocs()
	b.ResetTimer()
	before := cpuTime(b)
	udpLoad(b, c, b.N)
	b.ReportMetric(float64(cpuTime(b)-before)/float64(b.N), "cpu-ns/op")
}

func cpuTime(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
