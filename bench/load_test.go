package main

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"time"
)

// TestOpenLoopCountsFromWhenARequestWasDue has a server that stands still once, for 300 ms. A generator that
// waits for an answer before it takes the next time stamp would see one slow request on each of its
// connections, at most 64 of 1,000; those that were due meanwhile are late too, 150 of 1,000.
func TestOpenLoopCountsFromWhenARequestWasDue(t *testing.T) {
	const rate, stall = 500, 300 * time.Millisecond
	addr := stallingServer(t, 250, stall)
	p90, err := ofSelf(t.Context(), "open-loop", addr, strconv.Itoa(rate), "0.90", "2")
	if err != nil {
		t.Fatal(err)
	}
	// The 150 that are due while the server stands wait between 300 ms and nothing, one every 2 ms: the 100th
	// slowest of all, the 90th percentile, waits 100 ms.
	if got := time.Duration(p90 * float64(time.Microsecond)); got < 50*time.Millisecond || got > 2*stall {
		t.Errorf("90th percentile %v, want between 50 ms and %v", got, 2*stall)
	}
	p50, err := ofSelf(t.Context(), "open-loop", stallingServer(t, -1, 0), strconv.Itoa(rate), "0.50", "1")
	if err != nil {
		t.Fatal(err)
	}
	if got := time.Duration(p50 * float64(time.Microsecond)); got <= 0 || got > 50*time.Millisecond {
		t.Errorf("median of a server that never stands still: %v", got)
	}
}

// stallingServer answers HTTP/1.1 and, from its nth request on, stands still for d.
func stallingServer(t *testing.T, nth int64, d time.Duration) (addr string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	var served, until atomic.Int64
	serve := func(c net.Conn) {
		defer c.Close()
		r := bufio.NewReader(c)
		for {
			if _, err := http.ReadRequest(r); err != nil {
				return
			}
			if served.Add(1) == nth {
				until.Store(time.Now().Add(d).UnixNano())
			}
			if left := time.Until(time.Unix(0, until.Load())); left > 0 {
				time.Sleep(left)
			}
			if _, err := c.Write([]byte("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")); err != nil {
				return
			}
		}
	}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go serve(c)
		}
	}()
	return ln.Addr().String()
}

func TestOpenLoopFailsWithTheServer(t *testing.T) {
	s := &http.Server{Addr: "127.0.0.1:0", Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		http.Error(w, "no", http.StatusServiceUnavailable)
	})}
	ln, err := net.Listen("tcp", s.Addr)
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	if us, err := ofSelf(t.Context(), "open-loop", ln.Addr().String(), "100", "0.5", "0.5"); err == nil {
		t.Errorf("answers of 503 gave a latency of %v us and no error", us)
	}
}

func TestEcho(t *testing.T) {
	l := testLab(t, 0.3)
	addr, err := l.echoBackend()
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{name: "direct", addr: addr}
	if n, err := echo(4, 64<<10)(t.Context(), l, s); err != nil || n < 4 {
		t.Errorf("%v exchanges, %v", n, err)
	}
	if mib, err := bulk(t.Context(), l, s); err != nil || mib < 1 {
		t.Errorf("%v MiB, %v", mib, err)
	}
}

// testLab is a lab whose loads take so many seconds.
func testLab(t *testing.T, seconds float64) *lab {
	t.Helper()
	l, err := newLab(&options{rounds: 1, seconds: seconds})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.close)
	return l
}

func TestWhatWrkSays(t *testing.T) {
	const fine = "Running 2s test @ http://127.0.0.1:1/\n  1 threads and 32 connections\n  Thread Stats   Avg      Stdev     Max   +/- Stdev\n" +
		"    Latency     0.91ms  206.11us   5.88ms   85.54%%\n  %d requests in 2.00s, 20.21MB read\nRequests/sec:  34903.42\n"
	if n, err := number(wrkDone, fmt.Sprintf(fine, 69815)); err != nil || n != 69815 {
		t.Errorf("read %v, %v", n, err)
	}
	if bad := wrkBad.FindString(fmt.Sprintf(fine, 1)); bad != "" {
		t.Errorf("took a good run for a bad one: %q", bad)
	}
	for _, said := range []string{"  Non-2xx or 3xx responses: 12\n", "  Socket errors: connect 0, read 3, write 0, timeout 0\n"} {
		if wrkBad.FindString(fmt.Sprintf(fine, 1)+said) == "" {
			t.Errorf("did not see %q", said)
		}
	}
	if n, err := number(wrkDone, "unable to connect\n"); err == nil {
		t.Errorf("read %v from an error", n)
	}
}

func TestWhatH2loadSays(t *testing.T) {
	const out = "finished in 2.00s, 51234.00 req/s, 8.9MB/s\n" +
		"requests: 102468 total, 102788 started, 102468 done, 102468 succeeded, 0 failed, 0 errored, 0 timeout\n" +
		"status codes: 102468 2xx, 0 3xx, 0 4xx, 0 5xx\n"
	done, codes := h2Done.FindStringSubmatch(out), h2Codes.FindStringSubmatch(out)
	if done == nil || done[1] != "102468" || done[2] != "0" || done[3] != "0" || codes == nil || codes[1] != "102468" {
		t.Errorf("read %q and %q", done, codes)
	}
}

// TestGRPC loads the server itself; a proxy's gRPC error, a 200 without messages, must not count as an answer.
func TestGRPC(t *testing.T) {
	if _, err := look("h2load"); err != nil {
		t.Skip(err)
	}
	l := testLab(t, 1)
	addr, err := l.grpcBackend()
	if err != nil {
		t.Fatal(err)
	}
	s := &subject{name: "direct", addr: addr}
	for _, path := range []string{"/bench.Echo/Unary", "/bench.Echo/Stream"} {
		if n, err := h2load(2, 2, path, true)(t.Context(), l, s); err != nil || n < 1 {
			t.Errorf("%s: %v answers, %v", path, n, err)
		}
	}
	if n, err := h2load(2, 2, "/plain", true)(t.Context(), l, s); err == nil {
		t.Errorf("%v answers without a message counted", n)
	}
}

// TestOpenLoopEndsWhenAllFail: what is due then has no taker.
func TestOpenLoopEndsWhenAllFail(t *testing.T) {
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
			_ = c.Close()
		}
	}()
	start := time.Now()
	if us, err := ofSelf(t.Context(), "open-loop", ln.Addr().String(), "2000", "0.5", "20"); err == nil {
		t.Errorf("a server that answers nothing gave %v us and no error", us)
	}
	if d := time.Since(start); d > 10*time.Second {
		t.Errorf("took %v to notice", d)
	}
}
