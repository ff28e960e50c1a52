//lint:file-ignore SA1019 x/net is the independent oracle: net/http would bring its own copy of it, without a bare connection.

package h2

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/internal/message"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// wire runs a Conn on a socket: one lock owns it, one goroutine reads.
type wire struct {
	*side
	mu   sync.Mutex
	cond *sync.Cond
	sock net.Conn
	done chan struct{}
	err  error
}

func newWire(t *testing.T, cfg Config, sock net.Conn, ev func(*wire) Handler) *wire {
	w := &wire{side: newSide(t, cfg), sock: sock, done: make(chan struct{})}
	w.cond = sync.NewCond(&w.mu)
	if ev != nil {
		w.c.ev = ev(w)
	}
	w.mu.Lock()
	w.flush()
	w.mu.Unlock()
	go w.read()
	return w
}

func (w *wire) flush() {
	if out := w.c.Output(); len(out) > 0 {
		_, _ = w.sock.Write(out)
		w.c.Discard(len(out))
	}
}

func (w *wire) read() {
	defer close(w.done)
	buf := make([]byte, 8<<10)
	for {
		n, err := w.sock.Read(buf)
		w.mu.Lock()
		if n > 0 {
			if e := w.c.Receive(buf[:n]); e != nil && w.err == nil {
				w.err = e
			}
			w.flush()
		}
		if err != nil && w.err == nil {
			w.err = err
		}
		stop := w.err != nil
		w.cond.Broadcast()
		w.mu.Unlock()
		if stop {
			_ = w.sock.Close()
			return
		}
	}
}

// echo answers each request with its content and a trailer.
type echo struct {
	*wire
	todo map[*Stream][]byte
}

func (e *echo) OnData(s *Stream, p []byte, end bool) {
	e.todo[s] = append(e.todo[s], p...)
	e.c.Consume(s, len(p))
	if end {
		_ = e.c.SendHead(s, &message.Head{Status: 200, Length: message.Unknown}, false)
		e.OnWindow(s)
	}
}

func (e *echo) OnWindow(s *Stream) {
	n, err := e.c.SendData(s, e.todo[s], false)
	if e.todo[s] = e.todo[s][n:]; err == nil && len(e.todo[s]) == 0 {
		_ = e.c.SendTrailers(s, []message.Field{{Name: "x-status", Value: "0"}})
		delete(e.todo, s)
		e.c.Release(s)
	}
}

func tcpPair(t *testing.T) (dialed, accepted net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	if dialed, err = net.Dial("tcp", ln.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = ln.Accept(); err != nil {
		t.Fatal(err)
	}
	return dialed, accepted
}

func TestServesNetHTTP2Transport(t *testing.T) {
	near, far := tcpPair(t)
	w := newWire(t, Config{}, far, func(w *wire) Handler { return &echo{w, map[*Stream][]byte{}} })
	tr := &http2.Transport{AllowHTTP: true}
	cc, err := tr.NewClientConn(near)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			body := bytes.Repeat([]byte{byte(i)}, 700_000) // above both windows
			req, _ := http.NewRequest("POST", "http://a/echo?n=1", bytes.NewReader(body))
			req.Header.Set("Cookie", "a=b; c=d")
			req.Header.Set("X-Long", strings.Repeat("l", 30_000)) // CONTINUATION
			resp, err := cc.RoundTrip(req)
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			if err != nil || !bytes.Equal(got, body) || resp.Trailer.Get("X-Status") != "0" {
				t.Errorf("%d bytes, %v, trailer %v", len(got), err, resp.Trailer)
			}
		})
	}
	wg.Wait()
	_ = cc.Close()
	<-w.done
	if !errors.Is(w.err, io.EOF) {
		t.Fatal(w.err)
	}
}

func TestTalksToNetHTTP2Server(t *testing.T) {
	near, far := tcpPair(t)
	served := make(chan struct{})
	go func() {
		defer close(served)
		(&http2.Server{}).ServeConn(far, &http2.ServeConnOpts{Handler: http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
			rw.Header().Set("Trailer", "X-Status")
			rw.WriteHeader(http.StatusEarlyHints)
			_, _ = io.Copy(rw, r.Body)
			rw.Header().Set("X-Status", r.Header.Get("Cookie"))
		})})
	}()
	w := newWire(t, Config{Client: true}, near, nil)
	deadline := time.AfterFunc(20*time.Second, func() { _ = near.Close() })
	defer deadline.Stop()
	w.mu.Lock()
	s, err := w.c.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	h := &message.Head{Method: "POST", Scheme: "http", Authority: "a", Path: "/", Length: 900_000}
	h.Add("cookie", "a=b; c=d")
	if err := w.c.SendHead(s, h, false); err != nil {
		t.Fatal(err)
	}
	body := bytes.Repeat([]byte("weft-"), 180_000)
	for rest := body; ; {
		n, err := w.c.SendData(s, rest, true)
		if err != nil {
			t.Fatal(err)
		}
		w.flush()
		if rest = rest[n:]; len(rest) == 0 {
			break
		}
		w.cond.Wait()
		if w.err != nil {
			t.Fatal(w.err)
		}
	}
	for !w.ended[s.ID] && w.err == nil {
		w.cond.Wait()
	}
	if w.err != nil || s.Head.Status != 200 || !bytes.Equal(w.data[s.ID], body) {
		t.Fatalf("%v: status %d, %d bytes", w.err, s.Head.Status, len(w.data[s.ID]))
	}
	if len(s.Trailers) != 1 || s.Trailers[0] != (message.Field{Name: "x-status", Value: "a=b; c=d"}) {
		t.Fatalf("trailers %v", s.Trailers)
	}
	w.mu.Unlock()
	_ = near.Close()
	<-w.done
	<-served
}

// reopener releases a stream at its end and opens another from within the same event.
type reopener struct {
	*side
	next *Stream
}

func (r *reopener) OnData(s *Stream, _ []byte, end bool) {
	if end {
		r.c.Release(s)
		r.next, _ = r.c.Open(nil)
	}
}

func TestReleaseWithinAnEvent(t *testing.T) {
	client, server := connect(t)
	r := &reopener{side: client}
	client.c.ev = r
	s, _ := client.c.Open(nil)
	_ = client.c.SendHead(s, grpcHead(), true)
	pump(t, client.c, server.c)
	_ = server.c.SendHead(server.heads[0], &message.Head{Status: 200, Length: message.Unknown}, false)
	_, _ = server.c.SendData(server.heads[0], []byte("x"), true)
	pump(t, client.c, server.c)
	if r.next == nil || r.next.RecvClosed() || client.c.Streams() != 1 {
		t.Fatalf("the new stream was ended with the old one: %+v", r.next)
	}
	if n := client.c.SendWindow(r.next); n != 256<<10 {
		t.Fatalf("window %d", n)
	}
}
