//go:build linux && !weft_goroutines

package proxy

import (
	"math"
	"net"
	"runtime"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	fixedRequest = "GET /things HTTP/1.1\r\nHost: web\r\nUser-Agent: load\r\nAccept: */*\r\n\r\n"
	fixedAnswer  = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"
)

// fixedServer answers every request with the same bytes and allocates nothing for one.
func fixedServer(t testing.TB) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				buf, answer := make([]byte, 4096), []byte(fixedAnswer)
				for {
					// One request at a time, which comes whole.
					if _, err := c.Read(buf); err != nil {
						return
					}
					if _, err := c.Write(answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return ln
}

// fixedLoad sends n requests one after another and allocates nothing for one.
func fixedLoad(t testing.TB, c net.Conn, n int) {
	t.Helper()
	request, buf := []byte(fixedRequest), make([]byte, 4096)
	for range n {
		if _, err := c.Write(request); err != nil {
			t.Fatal(err)
		}
		for got := 0; got < len(fixedAnswer); {
			m, err := c.Read(buf)
			if err != nil {
				t.Fatal(err)
			}
			got += m
		}
	}
}

func fixedHop(t testing.TB) net.Conn {
	t.Helper()
	l := newLab(t)
	_, at := l.gateway(edgeOf(addrOf(t, fixedServer(t)), model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: toWeb()}},
	}), 1)
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(5 * time.Minute))
	return c
}

// TestHopAllocatesNothing has a request through the whole engine, routes and metrics included, allocate
// nothing once all that is pooled has been made.
func TestHopAllocatesNothing(t *testing.T) {
	c := fixedHop(t)
	fixedLoad(t, c, 500)
	const requests, allowed = 5000, 250
	// Goroutines of other tests that are ending, and the runtime's own, may allocate meanwhile. A request that
	// allocates does so in every round.
	least := uint64(math.MaxUint64)
	for round := 0; round < 5 && least > allowed; round++ {
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		fixedLoad(t, c, requests)
		runtime.ReadMemStats(&after)
		least = min(least, after.Mallocs-before.Mallocs)
	}
	if least > allowed {
		t.Errorf("at least %d allocations for %d requests", least, requests)
	}
}

func BenchmarkHop(b *testing.B) {
	c := fixedHop(b)
	fixedLoad(b, c, 500)
	b.ReportAllocs()
	b.ResetTimer()
	fixedLoad(b, c, b.N)
	b.StopTimer()
}
