package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/http2"
)

// websocketServer echoes messages; /close closes with the code 4001, /chat agrees on a subprotocol.
func websocketServer() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{
			Subprotocols: []string{"chat"}, CompressionMode: websocket.CompressionContextTakeover, InsecureSkipVerify: true,
		})
		if err != nil {
			return
		}
		defer c.CloseNow()
		c.SetReadLimit(32 << 20)
		if r.URL.Path == "/close" {
			_ = c.Close(4001, "as asked")
			return
		}
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil {
				return
			}
			if err := c.Write(r.Context(), kind, data); err != nil {
				return
			}
		}
	})
}

// dialWebSocket connects to a port.
func dialWebSocket(t *testing.T, port int, path string, o *websocket.DialOptions) *websocket.Conn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	c, _, err := websocket.Dial(ctx, fmt.Sprintf("ws://127.0.0.1:%d%s", port, path), o)
	if err != nil {
		t.Fatal(err)
	}
	c.SetReadLimit(32 << 20)
	t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

// roundTrip sends a message and wants it back.
func roundTrip(ctx context.Context, c *websocket.Conn, kind websocket.MessageType, data []byte) error {
	wrote := make(chan error, 1)
	go func() { wrote <- c.Write(ctx, kind, data) }()
	gotKind, got, err := c.Read(ctx)
	if err := errors.Join(err, <-wrote); err != nil {
		return err
	}
	if gotKind != kind || !bytes.Equal(got, data) {
		return fmt.Errorf("%v of %d bytes came back as %v of %d", kind, len(data), gotKind, len(got))
	}
	return nil
}

// websocketSuite runs all cases against a port that leads to websocketServer.
func websocketSuite(t *testing.T, port int) {
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	t.Run("sizes", func(t *testing.T) {
		c := dialWebSocket(t, port, "/", nil)
		for _, n := range []int{0, 1, 125, 126, 127, 65535, 65536, 1 << 20, 16 << 20} {
			data := bytes.Repeat([]byte("w"), n)
			for _, kind := range []websocket.MessageType{websocket.MessageText, websocket.MessageBinary} {
				if err := roundTrip(ctx, c, kind, data); err != nil {
					t.Fatalf("%d bytes: %v", n, err)
				}
			}
		}
	})
	t.Run("fragments", func(t *testing.T) {
		c := dialWebSocket(t, port, "/", nil)
		w, err := c.Writer(ctx, websocket.MessageText)
		if err != nil {
			t.Fatal(err)
		}
		for i := range 100 {
			fmt.Fprintf(w, "fragment %d;", i)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		_, got, err := c.Read(ctx)
		if err != nil || !strings.HasSuffix(string(got), "fragment 99;") {
			t.Fatalf("%d bytes, %v", len(got), err)
		}
	})
	t.Run("ping", func(t *testing.T) {
		c := dialWebSocket(t, port, "/", nil)
		reading := c.CloseRead(ctx)
		for range 10 {
			if err := c.Ping(reading); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("close code", func(t *testing.T) {
		c := dialWebSocket(t, port, "/close", nil)
		if _, _, err := c.Read(ctx); websocket.CloseStatus(err) != 4001 {
			t.Fatalf("closed with %v", err)
		}
	})
	t.Run("subprotocol", func(t *testing.T) {
		c := dialWebSocket(t, port, "/", &websocket.DialOptions{Subprotocols: []string{"other", "chat"}})
		if c.Subprotocol() != "chat" {
			t.Fatalf("agreed on %q", c.Subprotocol())
		}
	})
	t.Run("compression", func(t *testing.T) {
		c := dialWebSocket(t, port, "/", &websocket.DialOptions{CompressionMode: websocket.CompressionContextTakeover})
		for range 20 {
			if err := roundTrip(ctx, c, websocket.MessageText, bytes.Repeat([]byte("compress me "), 1000)); err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("many", func(t *testing.T) {
		var wg sync.WaitGroup
		for range 50 {
			c := dialWebSocket(t, port, "/", nil)
			wg.Go(func() {
				for i := range 50 {
					if err := roundTrip(ctx, c, websocket.MessageBinary, bytes.Repeat([]byte{byte(i)}, i*97)); err != nil {
						t.Error(err)
						return
					}
				}
			})
		}
		wg.Wait()
	})
	t.Run("abrupt end", func(t *testing.T) {
		c := dialWebSocket(t, port, "/", nil)
		if err := roundTrip(ctx, c, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
		_ = c.CloseNow()
		if err := roundTrip(ctx, dialWebSocket(t, port, "/", nil), websocket.MessageText, []byte("again")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("extended CONNECT", func(t *testing.T) { extendedConnect(ctx, t, port) })
}

// extendedConnect speaks WebSocket over an HTTP/2 stream (RFC 8441) to a server of HTTP/1.1.
func extendedConnect(ctx context.Context, t *testing.T, port int) {
	tr := &http2.Transport{AllowHTTP: true, DialTLSContext: plainDial}
	defer tr.CloseIdleConnections()
	in, out := io.Pipe()
	req, err := http.NewRequestWithContext(ctx, http.MethodConnect, fmt.Sprintf("http://127.0.0.1:%d/", port), in)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set(":protocol", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	resp, err := tr.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Sec-WebSocket-Accept") != "" {
		t.Fatalf("%s, accept %q", resp.Status, resp.Header.Get("Sec-WebSocket-Accept"))
	}
	// A text frame, masked with zeros, and its echo (RFC 6455, section 5.2).
	if _, err := out.Write(append([]byte{0x81, 0x85, 0, 0, 0, 0}, "hello"...)); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, 7)
	if _, err := io.ReadFull(resp.Body, got); err != nil || string(got[2:]) != "hello" || got[0] != 0x81 {
		t.Fatalf("%q, %v", got, err)
	}
	_ = out.Close()
}

func TestWebSocket(t *testing.T) {
	bin(t, "weft")
	t.Run("direct", func(t *testing.T) { // so that the suite itself is known to be right
		port := backend(t, websocketServer())
		c := dialWebSocket(t, port, "/", nil)
		if err := roundTrip(t.Context(), c, websocket.MessageText, []byte("hello")); err != nil {
			t.Fatal(err)
		}
	})
	t.Run("hop", func(t *testing.T) {
		websocketSuite(t, hop(t, &gateway{backend: backend(t, websocketServer()), protocol: "http"}))
	})
	t.Run("pair", func(t *testing.T) {
		m := newMesh(t)
		port, err := freePort()
		if err != nil {
			t.Fatal(err)
		}
		local := m.pair(t, "http", port, "sleep", "600")
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: websocketServer()}
		go s.Serve(ln)
		t.Cleanup(func() { _ = s.Close() })
		eventually(t, func() error {
			resp, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/", local))
			if err != nil {
				return err
			}
			_ = resp.Body.Close()
			if resp.StatusCode != http.StatusUpgradeRequired {
				return errors.New(resp.Status)
			}
			return nil
		})
		websocketSuite(t, local)
	})
}
