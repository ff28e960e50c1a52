package proxy

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// patience bounds every wait of the tests on sockets.
const patience = 30 * time.Second

// witness is a program that remembers each request as net/http's own parser understood it.
type witness struct {
	mu   sync.Mutex
	seen []string
	http.Handler
}

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	w.mu.Lock()
	w.seen = append(w.seen, fmt.Sprintf("%s %s %s %q %v", r.Method, r.RequestURI, r.Host, body, err))
	w.mu.Unlock()
	if w.Handler != nil {
		w.Handler.ServeHTTP(rw, r)
		return
	}
	_, _ = io.WriteString(rw, r.RequestURI)
}

// take returns what was seen since the last take.
func (w *witness) take() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	s := w.seen
	w.seen = nil
	return s
}

// shapes runs f through a gateway, a hop and a pair in front of the program.
func shapes(t *testing.T, program http.Handler, protocol model.Protocol, f func(t *testing.T, at netip.AddrPort)) {
	t.Helper()
	for _, shape := range []string{"gateway", "hop", "pair"} {
		t.Run(shape+"-"+string(protocol), func(t *testing.T) {
			l, backend := newLab(t), server(t, program)
			f(t, l.shape(shape, backend, protocol))
		})
	}
}

// shape puts a gateway, a hop or a pair in front of a program.
func (l *lab) shape(shape string, backend netip.AddrPort, protocol model.Protocol) netip.AddrPort {
	l.t.Helper()
	switch shape {
	case "hop":
		at, _ := l.hop(backend, protocol)
		return at
	case "pair":
		return l.pair(backend, protocol).at
	}
	kind := model.SocketHTTP
	if protocol == model.TCP {
		kind = model.SocketTCP
	}
	_, at := l.gateway(edgeOf(backend, protocol, model.Socket{
		Address: loopback, Kind: kind, Listeners: []model.Listener{{Name: "edge", Rules: toWeb()}},
	}), 1)
	return at
}

// rawConn is a raw connection of a client.
type rawConn struct {
	t testing.TB
	*net.TCPConn
	r *bufio.Reader
}

func dialRaw(t testing.TB, at netip.AddrPort) *rawConn {
	t.Helper()
	c, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	_ = c.SetDeadline(time.Now().Add(patience))
	return &rawConn{t: t, TCPConn: c.(*net.TCPConn), r: bufio.NewReader(c)}
}

func (w *rawConn) send(s string) {
	w.t.Helper()
	if _, err := io.WriteString(w.TCPConn, s); err != nil {
		w.t.Fatal(err)
	}
}

// answer reads one response to a request of the method; the connection must give one.
func (w *rawConn) answer(method string) (*http.Response, string) {
	w.t.Helper()
	resp, err := http.ReadResponse(w.r, &http.Request{Method: method})
	if err != nil {
		w.t.Fatal(err)
	}
	b, err := io.ReadAll(resp.Body)
	_ = resp.Body.Close()
	if err != nil {
		w.t.Fatalf("body: %v", err)
	}
	return resp, string(b)
}

// rawProgram answers each connection with f on its raw bytes.
func rawProgram(t testing.TB, f func(c *net.TCPConn, r *bufio.Reader)) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	open := map[net.Conn]bool{}
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open[c] = true
			mu.Unlock()
			wg.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(patience))
				f(c.(*net.TCPConn), bufio.NewReader(c))
			})
		}
	})
	t.Cleanup(func() {
		_ = ln.Close()
		mu.Lock()
		for c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return addrOf(t, ln)
}

// readHead reads up to the empty line.
func readHead(r *bufio.Reader) (string, error) {
	var b bytes.Buffer
	for !strings.HasSuffix(b.String(), "\r\n\r\n") {
		line, err := r.ReadString('\n')
		b.WriteString(line)
		if err != nil {
			return b.String(), err
		}
	}
	return b.String(), nil
}

// rawProgramSlow says on asked when it has a request and answers ok once released.
func rawProgramSlow(t testing.TB, asked chan<- struct{}, release <-chan struct{}) netip.AddrPort {
	return rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		for {
			if _, err := readHead(r); err != nil {
				return
			}
			asked <- struct{}{}
			select {
			case <-release:
			case <-t.Context().Done():
				return
			}
			_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
		}
	})
}
