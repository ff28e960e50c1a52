//go:build linux

package loop_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/proxy"
)

// BenchmarkHop is an HTTP/1.1 request through an engine, with its client and its program in this process.
// "direct" is the same without the engine: the difference is the engine's. It reports processor time for
// each request; docs/adr/0009 has the figures of both schedulers.
func BenchmarkHop(b *testing.B) {
	program := answering(b)
	for _, way := range []struct {
		name string
		addr netip.AddrPort
	}{{"direct", program}, {"hop", hop(b, program)}} {
		for _, conns := range []int{1, 32} {
			b.Run(fmt.Sprintf("%s/c=%d", way.name, conns), func(b *testing.B) { load(b, way.addr, conns) })
		}
	}
}

const request = "GET /hello HTTP/1.1\r\nHost: web\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

const answer = "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 5\r\n\r\nhello"

// answering is a program that reads requests without bodies.
func answering(b *testing.B) netip.AddrPort {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				for r := bufio.NewReader(c); skipHead(r) == nil; {
					if _, err := io.WriteString(c, answer); err != nil {
						return
					}
				}
			}()
		}
	}()
	return netip.MustParseAddrPort(ln.Addr().String())
}

func skipHead(r *bufio.Reader) error {
	for {
		line, err := r.ReadSlice('\n')
		if err != nil || len(line) == 2 {
			return err
		}
	}
}

// hop runs an engine that calls program and returns where it listens.
func hop(b *testing.B, program netip.AddrPort) netip.AddrPort {
	web := model.ServiceName{Namespace: "default", Name: "web"}
	e, err := proxy.New(proxy.Options{
		Node: "hop", Logger: slog.New(slog.DiscardHandler),
		Upstreams: []proxy.Upstream{{Service: web, Port: 80, Listen: netip.MustParseAddrPort("127.0.0.1:0")}},
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(b.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := e.Run(ctx); err != nil {
			b.Error(err)
		}
	})
	b.Cleanup(func() { cancel(); wg.Wait() })
	snapshot := &model.Snapshot{Services: []model.Service{{
		Name: web, Ports: []model.Port{{Number: 80, Protocol: model.HTTP}},
		Endpoints: []model.Endpoint{{ID: "web-1", Address: program, Plain: true}},
	}}}
	for end := time.Now().Add(5 * time.Second); ; {
		if err = e.Apply(snapshot); err == nil {
			return e.Addrs().Upstreams[0]
		}
		if time.Now().After(end) {
			b.Fatal(err)
		}
	}
}

// load sends b.N requests over conns connections, each waiting for its answers.
func load(b *testing.B, addr netip.AddrPort, conns int) {
	var wg sync.WaitGroup
	var left atomic.Int64
	left.Store(int64(b.N))
	before := used(b)
	b.ResetTimer()
	for range conns {
		wg.Go(func() {
			c, err := net.Dial("tcp", addr.String())
			if err != nil {
				b.Error(err)
				return
			}
			defer c.Close()
			r := bufio.NewReader(c)
			for left.Add(-1) >= 0 {
				_, err := io.WriteString(c, request)
				if err == nil {
					if err = skipHead(r); err == nil {
						_, err = r.Discard(len("hello"))
					}
				}
				if err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64((used(b)-before).Nanoseconds())/1e3/float64(b.N), "cpu-us/op")
}

// used is the processor time of this process.
func used(b *testing.B) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
