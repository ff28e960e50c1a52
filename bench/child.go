package main

import (
	"bufio"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// child is a part that runs as a process of its own.
func child(kind string, args []string) error {
	switch {
	case kind == "grpc-server" && len(args) == 1:
		return grpcServer(args[0])
	case kind == "echo-server" && len(args) == 1:
		return echoServer(args[0])
	case kind == "tcp-echo" && len(args) == 4:
		return tcpEcho(args[0], atoi(args[1]), atoi(args[2]), seconds(args[3]))
	case kind == "tcp-bulk" && len(args) == 2:
		return tcpBulk(args[0], seconds(args[1]))
	case kind == "tls-connect" && len(args) == 3:
		return tlsConnect(args[0], atoi(args[1]), seconds(args[2]))
	case kind == "open-loop" && len(args) == 4:
		q, err := strconv.ParseFloat(args[2], 64)
		if err != nil {
			return err
		}
		return openLoop(args[0], atoi(args[1]), q, seconds(args[3]))
	case kind == "idle" && len(args) == 2:
		return idleConnections(args[0], atoi(args[1]))
	}
	return errors.New("no such part")
}

func atoi(s string) int {
	n, _ := strconv.Atoi(s)
	return n
}

func seconds(s string) time.Duration {
	f, _ := strconv.ParseFloat(s, 64)
	return time.Duration(f * float64(time.Second))
}

// grpcServer answers as a gRPC server would, over HTTP/2 without TLS: one message, or a hundred.
func grpcServer(addr string) error {
	message := append([]byte{0, 0, 0, 0, 0x40}, make([]byte, 0x40)...)
	answer := func(w http.ResponseWriter, r *http.Request, n int) {
		_, _ = io.Copy(io.Discard, r.Body)
		h := w.Header()
		h.Set("Content-Type", "application/grpc")
		h.Set("Trailer", "Grpc-Status")
		for range n {
			_, _ = w.Write(message)
			if n > 1 {
				w.(http.Flusher).Flush()
			}
		}
		h.Set("Grpc-Status", "0")
	}
	mux := http.NewServeMux()
	mux.HandleFunc("/bench.Echo/Unary", func(w http.ResponseWriter, r *http.Request) { answer(w, r, 1) })
	mux.HandleFunc("/bench.Echo/Stream", func(w http.ResponseWriter, r *http.Request) { answer(w, r, 100) })
	mux.HandleFunc("/plain", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "0123456789") })
	s := &http.Server{Addr: addr, Handler: mux, Protocols: new(http.Protocols), HTTP2: &http.HTTP2Config{MaxConcurrentStreams: 1000}}
	s.Protocols.SetHTTP1(true)
	s.Protocols.SetUnencryptedHTTP2(true)
	return s.ListenAndServe()
}

func echoServer(addr string) error {
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		return err
	}
	for {
		c, err := ln.Accept()
		if err != nil {
			return err
		}
		go func() {
			defer c.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// parallel runs f on n goroutines until d has passed and returns the first error.
func parallel(n int, d time.Duration, f func(stop *atomic.Bool) error) error {
	var stop atomic.Bool
	var wg sync.WaitGroup
	errs := make(chan error, n)
	for range n {
		wg.Go(func() { errs <- f(&stop) })
	}
	timer := time.AfterFunc(d, func() { stop.Store(true) })
	defer timer.Stop()
	wg.Wait()
	close(errs)
	for err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func tcpEcho(addr string, conns, size int, d time.Duration) error {
	var total atomic.Int64
	err := parallel(conns, d, func(stop *atomic.Bool) error {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		defer c.Close()
		out, in := make([]byte, size), make([]byte, size)
		for !stop.Load() {
			if _, err := c.Write(out); err != nil {
				return err
			}
			if _, err := io.ReadFull(c, in); err != nil {
				return err
			}
			total.Add(1)
		}
		return nil
	})
	fmt.Println(total.Load())
	return err
}

func tcpBulk(addr string, d time.Duration) error {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		return err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(d))
	go func() { _, _ = io.Copy(c, zeros{}) }()
	n, err := io.Copy(io.Discard, c)
	if err != nil && !errors.Is(err, syscall.ETIMEDOUT) && !isTimeout(err) {
		return err
	}
	fmt.Println(float64(n) / (1 << 20))
	return nil
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { return len(p), nil }

const request = "GET / HTTP/1.1\r\nHost: bench\r\nUser-Agent: bench\r\nAccept: */*\r\n\r\n"

// exchange sends a request and reads the answer.
func exchange(c net.Conn, r *bufio.Reader) error {
	if _, err := io.WriteString(c, request); err != nil {
		return err
	}
	resp, err := http.ReadResponse(r, nil)
	if err != nil {
		return err
	}
	_, err = io.Copy(io.Discard, resp.Body)
	_ = resp.Body.Close()
	if err == nil && resp.StatusCode != 200 {
		err = errors.New(resp.Status)
	}
	return err
}

func tlsConnect(addr string, conns int, d time.Duration) error {
	var total atomic.Int64
	cfg := &tls.Config{
		InsecureSkipVerify: true, // only the proxy is measured
		MinVersion:         tls.VersionTLS13, SessionTicketsDisabled: true, NextProtos: []string{"http/1.1"},
		// The same work for all: only some of the proxies know X25519MLKEM768, which costs more.
		CurvePreferences: []tls.CurveID{tls.X25519},
	}
	err := parallel(conns, d, func(stop *atomic.Bool) error {
		for !stop.Load() {
			c, err := tls.Dial("tcp", addr, cfg)
			if err != nil {
				return err
			}
			if err := exchange(c, bufio.NewReader(c)); err != nil {
				return err
			}
			_ = c.Close()
			total.Add(1)
		}
		return nil
	})
	fmt.Println(total.Load())
	return err
}

// openLoop sends at a fixed rate, whatever the answers do: each request has the time at which it should
// leave, and its latency counts from there. So an answer that is late does not hide that others were not
// sent (coordinated omission).
func openLoop(addr string, rate int, q float64, d time.Duration) error {
	const conns = 64
	due := make(chan time.Time, rate)
	var mu sync.Mutex
	var all []time.Duration
	var wg sync.WaitGroup
	errs := make(chan error, conns)
	failed := make(chan struct{}) // nobody may be left to take what is due
	var once sync.Once
	for range conns {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer c.Close()
			r := bufio.NewReader(c)
			for at := range due {
				if err := exchange(c, r); err != nil {
					errs <- err
					once.Do(func() { close(failed) })
					return
				}
				mu.Lock()
				all = append(all, time.Since(at))
				mu.Unlock()
			}
		})
	}
	schedule(due, failed, rate, d)
	close(due)
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
	}
	slices.Sort(all)
	fmt.Println(float64(quantile(all, q)) / float64(time.Microsecond))
	return nil
}

// schedule says when each request is due, for as long as d or until one failed.
func schedule(due chan<- time.Time, failed <-chan struct{}, rate int, d time.Duration) {
	start := time.Now()
	for i := 0; ; i++ {
		at := start.Add(time.Duration(i) * time.Second / time.Duration(rate))
		if at.Sub(start) > d {
			return
		}
		sleepUntil(at)
		select {
		case due <- at:
		case <-failed:
			return
		}
	}
}

// sleepUntil is more exact than time.Sleep, which may be a millisecond late: it lets the kernel sleep most of
// the time and turns for the rest.
func sleepUntil(at time.Time) {
	const rest = 100 * time.Microsecond
	if d := time.Until(at) - rest; d > 0 {
		ts := syscall.NsecToTimespec(int64(d))
		_ = syscall.Nanosleep(&ts, nil)
	}
	for time.Now().Before(at) {
	}
}

// idleConnections makes connections, one request on each, and holds them until it is ended.
func idleConnections(addr string, n int) error {
	limit := syscall.Rlimit{}
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err == nil {
		limit.Cur = limit.Max
		_ = syscall.Setrlimit(syscall.RLIMIT_NOFILE, &limit)
	}
	held := make([]net.Conn, 0, n)
	buf := make([]byte, 4<<10)
	for range n {
		c, err := net.Dial("tcp", addr)
		if err != nil {
			return fmt.Errorf("after %d connections: %w", len(held), err)
		}
		held = append(held, c)
		if _, err := io.WriteString(c, request); err != nil {
			return err
		}
		if _, err := c.Read(buf); err != nil {
			return fmt.Errorf("after %d connections: %w", len(held), err)
		}
	}
	fmt.Println("up")
	time.Sleep(time.Minute)
	return nil
}
