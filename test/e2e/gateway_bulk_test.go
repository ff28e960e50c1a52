package e2e

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	// bulkEach is what goes each way: 10 GiB together.
	bulkEach = 5 << 30
	// bulkWarm is carried before memory counts: buffers have been made by then.
	bulkWarm = 256 << 20
	// bulkGrowth bounds what the proxy may hold more after that.
	bulkGrowth = 8 << 20
	// bulkTime bounds the whole, on two cores that do other things too.
	bulkTime = 5 * time.Minute
	// bulkPiece is written at a time; each begins with its number, so that none looks like another.
	bulkPiece = 256 << 10
)

// traffic is one side's view of a transfer both ways.
type traffic struct {
	moved     atomic.Int64 // both ways, so far
	sent, got uint32       // checksums
	err       error
}

// run sends bulkEach bytes and reads to the end at the same time.
func (f *traffic) run(c *net.TCPConn, r io.Reader) {
	_ = c.SetDeadline(time.Now().Add(bulkTime))
	var wg sync.WaitGroup
	var sending error
	wg.Go(func() {
		if sending = f.send(c); sending == nil {
			sending = c.CloseWrite()
		}
	})
	n, receiving := f.receive(r)
	wg.Wait()
	if n != bulkEach && receiving == nil {
		receiving = fmt.Errorf("%d bytes came of %d", n, int64(bulkEach))
	}
	f.err = errors.Join(sending, receiving)
}

func (f *traffic) send(w io.Writer) error {
	piece, table := make([]byte, bulkPiece), crc32.MakeTable(crc32.Castagnoli)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(piece) // never fails
	for i := range bulkEach / bulkPiece {
		binary.BigEndian.PutUint64(piece, uint64(i))
		f.sent = crc32.Update(f.sent, table, piece)
		if _, err := w.Write(piece); err != nil {
			return fmt.Errorf("after %d bytes: %w", i*bulkPiece, err)
		}
		f.moved.Add(bulkPiece)
	}
	return nil
}

func (f *traffic) receive(r io.Reader) (n int64, err error) {
	buf, table := make([]byte, bulkPiece), crc32.MakeTable(crc32.Castagnoli)
	for {
		m, err := r.Read(buf)
		n += int64(m)
		f.got = crc32.Update(f.got, table, buf[:m])
		f.moved.Add(int64(m))
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return n, err
		}
	}
}

// resident is what a process holds in memory, in bytes.
func resident(pid int) (int64, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		return 0, err
	}
	fields := bytes.Fields(b)
	if len(fields) < 2 {
		return 0, fmt.Errorf("statm of %d: %q", pid, b)
	}
	pages, err := strconv.ParseInt(string(fields[1]), 10, 64)
	return pages * int64(os.Getpagesize()), err
}

// childOf is the process that another has started: the gateway's proxy.
func childOf(t testing.TB, parent int) int {
	t.Helper()
	entries, err := os.ReadDir("/proc")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		b, err := os.ReadFile("/proc/" + e.Name() + "/stat")
		if err != nil {
			continue
		}
		// pid (name) state ppid: the name may hold anything.
		if rest := bytes.Fields(b[bytes.LastIndexByte(b, ')')+1:]); len(rest) > 1 && string(rest[1]) == strconv.Itoa(parent) {
			return pid
		}
	}
	t.Fatalf("process %d has started no other", parent)
	return 0
}

// bulkProgram sends and receives bulkEach bytes on the one connection it takes.
func bulkProgram(t testing.TB, f *traffic) (port int, done <-chan struct{}) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	end := make(chan struct{})
	go func() {
		defer close(end)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			r := bufio.NewReaderSize(c, 16)
			if b, err := r.Peek(3); err != nil || string(b) != "go\n" {
				_ = c.Close() // somebody looked whether the gateway is there
				continue
			}
			_, _ = r.Discard(3)
			f.run(c.(*net.TCPConn), r)
			_ = c.Close()
			return
		}
	}()
	return ln.Addr().(*net.TCPAddr).Port, end
}

// TestGatewayBulk carries 10 GiB through a TCP listener on one connection, half of it each way at the same time:
// nothing is lost or changed, and the proxy holds no more in the end than in the beginning.
func TestGatewayBulk(t *testing.T) {
	if testing.Short() {
		t.Skip("carries 10 GiB")
	}
	var program, client traffic
	backendPort, done := bulkProgram(t, &program)
	port := freePort(t)
	e := runEdge(t, port, map[string]string{
		"services.yaml": service("bulk", backendPort),
		"edge.yaml": fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: tcp, port: %d, protocol: TCP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: bulk}
spec: {parentRefs: [{name: edge}], rules: [{backendRefs: [{name: bulk, port: 80}]}]}
`, port),
	})
	pid := childOf(t, e.p.cmd.Process.Pid)
	conn, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := io.WriteString(conn, "go\n"); err != nil {
		t.Fatal(err)
	}
	began, ended := time.Now(), make(chan struct{})
	go func() {
		defer close(ended)
		client.run(conn.(*net.TCPConn), conn)
	}()
	first, most := watchMemory(t, pid, &client.moved, ended)
	took := time.Since(began)
	_ = conn.Close()
	<-done
	if client.err != nil || program.err != nil {
		t.Fatalf("client: %v; program: %v", client.err, program.err)
	}
	if client.sent != program.got || program.sent != client.got {
		t.Errorf("checksums: sent %08x, got %08x; sent back %08x, got %08x", client.sent, program.got, program.sent, client.got)
	}
	if most-first > bulkGrowth {
		t.Errorf("the proxy has %d KiB after %d MiB and %d KiB at most", first>>10, bulkWarm>>20, most>>10)
	}
	t.Logf("10 GiB in %v, %.0f MiB/s; the proxy has %d KiB after %d MiB and %d KiB at most",
		took.Round(time.Millisecond), 2*bulkEach/took.Seconds()/(1<<20), first>>10, bulkWarm>>20, most>>10)
}

// watchMemory samples a process until a transfer ends: what it holds once bulkWarm has been carried, and the most
// after that.
func watchMemory(t testing.TB, pid int, moved *atomic.Int64, ended <-chan struct{}) (first, most int64) {
	t.Helper()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-ended:
			if first == 0 {
				t.Error("the transfer ended before it could be watched")
			}
			return first, most
		case <-tick.C:
		}
		n, err := resident(pid)
		if err != nil {
			t.Fatal(err)
		}
		if first == 0 && moved.Load() >= bulkWarm {
			first = n
		}
		if first > 0 {
			most = max(most, n)
		}
	}
}
