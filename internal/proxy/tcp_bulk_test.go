package proxy

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"runtime"
	"sync"
	"testing"
	"time"
)

// pieceSize is what bulk writes at a time; each piece begins with its number, so that none looks like another.
const pieceSize = 256 << 10

// castagnoli has an instruction of its own on the machines we run on.
func castagnoli() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) }

// bulk writes n bytes, a multiple of pieceSize, and returns their checksum.
func bulk(w io.Writer, n int64) (sum uint32, err error) {
	piece, table := make([]byte, pieceSize), castagnoli()
	noise := rand.NewChaCha8([32]byte{1})
	_, _ = noise.Read(piece) // never fails
	for i := range n / pieceSize {
		binary.BigEndian.PutUint64(piece, uint64(i))
		sum = crc32.Update(sum, table, piece)
		if _, err := w.Write(piece); err != nil {
			return sum, fmt.Errorf("after %d bytes: %w", i*pieceSize, err)
		}
	}
	return sum, nil
}

// weigh reads to the end and returns how much came, and its checksum.
func weigh(r io.Reader) (n int64, sum uint32, err error) {
	buf, table := make([]byte, pieceSize), castagnoli()
	for {
		m, err := r.Read(buf)
		n += int64(m)
		sum = crc32.Update(sum, table, buf[:m])
		if err == io.EOF {
			return n, sum, nil
		}
		if err != nil {
			return n, sum, err
		}
	}
}

// exchangeBulk sends n bytes and reads n at the same time, to the end of both, and returns the checksums of what it
// sent and got.
func exchangeBulk(c *net.TCPConn, r io.Reader, n int64) (sent, got uint32, err error) {
	var wg sync.WaitGroup
	var sending error
	wg.Go(func() {
		if sent, sending = bulk(c, n); sending == nil {
			sending = c.CloseWrite()
		}
	})
	m, got, err := weigh(r)
	wg.Wait()
	if m != n && err == nil {
		err = fmt.Errorf("%d bytes came, want %d", m, n)
	}
	return sent, got, errors.Join(sending, err)
}

// TestTCPBulk moves 1 GiB through each shape, half of it each way at the same time, in flat memory.
func TestTCPBulk(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("moves 3 GiB")
	}
	const each = 512 << 20
	type result struct {
		sent, got uint32
		err       error
	}
	done := make(chan result, 3) // one for each shape, taken or not
	program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
		var o result
		o.sent, o.got, o.err = exchangeBulk(c, r, each)
		done <- o
	})
	tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
		c := greet(t, at)
		before, began := heap(), time.Now()
		sent, got, err := exchangeBulk(c.TCPConn, c.r, each)
		if err != nil {
			t.Fatalf("client: %v", err)
		}
		o := <-done
		if o.err != nil {
			t.Fatalf("program: %v", o.err)
		}
		if sent != o.got || got != o.sent {
			t.Errorf("checksums: client sent %08x, program got %08x; program sent %08x, client got %08x", sent, o.got, o.sent, got)
		}
		grown := heap() - before
		if grown > 4<<20 {
			t.Errorf("%d KiB more in use afterwards", grown>>10)
		}
		t.Logf("%.0f MiB/s, %d KiB more in use afterwards", 2*each/time.Since(began).Seconds()/(1<<20), grown>>10)
	})
}

// TestTCPBulkAllocations has a bulk transfer live on the loop's buffers: what is allocated for each byte carried is
// what the collector takes from all others.
func TestTCPBulkAllocations(t *testing.T) {
	if testing.Short() || underRace {
		t.Skip("the race detector allocates")
	}
	const carried, most = 64 << 20, 8 << 20
	got := make(chan int64, 3) // one for each shape, taken or not
	program := greeted(t, func(_ *net.TCPConn, r *bufio.Reader) {
		n, _, _ := weigh(r)
		got <- n
	})
	tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
		c := greet(t, at)
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		if _, err := bulk(c, carried); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseWrite()
		if n := <-got; n != carried {
			t.Fatalf("%d bytes came", n)
		}
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > most {
			t.Errorf("%d MiB allocated to carry %d MiB", n>>20, carried>>20)
		}
	})
}

// TestTCPLastBytes has both sides end while much is still on its way to a client: it gets all of it. A connection that
// has ended both ways looks like one that broke.
func TestTCPLastBytes(t *testing.T) {
	sent := make(chan int64, 3)
	program := greeted(t, func(c *net.TCPConn, r *bufio.Reader) {
		if err := drained(r); err != nil {
			t.Errorf("the client's end: %v", err)
		}
		n, err := stuff(c, 512<<20)
		if err != nil {
			t.Error(err)
		}
		sent <- n
	})
	tunnels(t, program, func(t *testing.T, at netip.AddrPort) {
		c := greet(t, at)
		_ = c.CloseWrite()
		want := within(t, tunnelPatience, "the program is held up and ends", sent)
		if got, err := io.Copy(io.Discard, c.r); got != want || err != nil {
			t.Errorf("%d bytes came of %d, %v", got, want, err)
		}
	})
}
