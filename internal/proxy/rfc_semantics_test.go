package proxy

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/model"
)

// TestHopByHop: what belongs to a connection stays on it (RFC 9110, section 7.6.1), and an upgrade to h2c is
// not taken.
func TestHopByHop(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		seen := make(chan http.Header, 8)
		program := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen <- r.Header.Clone()
			if r.ProtoMajor == 1 { // in HTTP/2 it would make the answer malformed
				w.Header().Set("Keep-Alive", "timeout=1")
			}
			w.Header().Set("X-Kept", "yes")
		})
		shapes(t, program, protocol, func(t *testing.T, at netip.AddrPort) {
			c := dialRaw(t, at)
			c.send("GET / HTTP/1.1\r\nHost: a\r\nConnection: x-mine, Upgrade, HTTP2-Settings, te\r\nX-Mine: 1\r\n" +
				"Keep-Alive: 5\r\nProxy-Connection: keep-alive\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__\r\n" +
				"TE: trailers, gzip\r\nX-Kept: yes\r\n\r\n")
			resp, _ := c.answer("GET")
			if resp.StatusCode != 200 || resp.Header.Get("Keep-Alive") != "" || resp.Header.Get("X-Kept") != "yes" {
				t.Errorf("%s %v", resp.Status, resp.Header)
			}
			h := <-seen
			for _, f := range []string{"X-Mine", "Keep-Alive", "Proxy-Connection", "Upgrade", "Http2-Settings"} {
				if h.Get(f) != "" {
					t.Errorf("the program sees %s: %s", f, h.Get(f))
				}
			}
			if te := h.Get("Te"); te != "" && te != "trailers" {
				t.Errorf("the program sees TE: %s", te)
			}
			if h.Get("X-Kept") != "yes" {
				t.Error("an end-to-end field is lost")
			}
		})
	}
}

// TestInterimAndEmpty has 100, 103, HEAD, 204 and 304, and a connection that goes on after each.
func TestInterimAndEmpty(t *testing.T) {
	program := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/early":
			w.Header().Set("Link", "</a>")
			w.WriteHeader(103)
		case "/204":
			w.WriteHeader(204)
			return
		case "/304":
			w.Header().Set("Etag", `"1"`)
			w.WriteHeader(304)
			return
		case "/refuse":
			w.WriteHeader(417)
			return
		}
		_, _ = io.Copy(w, r.Body) // asks the client to go on
		_, _ = io.WriteString(w, "!")
	})
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		shapes(t, program, protocol, func(t *testing.T, at netip.AddrPort) {
			c := dialRaw(t, at)
			ask := func(method, path string, want int, body string) {
				t.Helper()
				c.send(method + " " + path + " HTTP/1.1\r\nHost: a\r\n\r\n")
				if resp, got := c.answer(method); resp.StatusCode != want || got != body {
					t.Errorf("%s %s: %s %q", method, path, resp.Status, got)
				}
			}
			ask("GET", "/early", 103, "")
			if resp, got := c.answer("GET"); resp.StatusCode != 200 || got != "!" {
				t.Errorf("after 103: %s %q", resp.Status, got)
			}
			ask("HEAD", "/", 200, "")
			ask("GET", "/204", 204, "")
			ask("GET", "/304", 304, "")
			ask("GET", "/", 200, "!")
			c.send("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
			if resp, _ := c.answer("POST"); resp.StatusCode != 100 {
				t.Fatalf("the client is not asked to go on: %s", resp.Status)
			}
			c.send("hi")
			if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != "hi!" {
				t.Errorf("%s %q", resp.Status, got)
			}
			c.send("POST /refuse HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nExpect: 100-continue\r\n\r\n")
			if resp, _ := c.answer("POST"); resp.StatusCode != 417 {
				t.Errorf("a final answer without 100: %s", resp.Status)
			}
		})
	}
}

// TestHTTP2RequestsThatSmuggle: fields that would be something else in HTTP/1.1 end the stream, unseen.
func TestHTTP2RequestsThatSmuggle(t *testing.T) {
	w := &witness{}
	type fields = []hpack.HeaderField
	shapes(t, w, model.HTTP, func(t *testing.T, at netip.AddrPort) {
		for name, more := range map[string]fields{
			"CRLF in a value":   {{Name: "x", Value: "a\r\nHost: b"}},
			"LF in a value":     {{Name: "x", Value: "a\nb"}},
			"NUL in a value":    {{Name: "x", Value: "a\x00b"}},
			"colon in a name":   {{Name: "x: y\r\nz", Value: "1"}},
			"upper case":        {{Name: "X-Upper", Value: "1"}},
			"transfer-encoding": {{Name: "transfer-encoding", Value: "chunked"}},
			"connection":        {{Name: "connection", Value: "x"}},
			"TE":                {{Name: "te", Value: "gzip"}},
			"other host":        {{Name: "host", Value: "other"}},
			"length too long":   {{Name: "content-length", Value: "5"}},
			"two lengths":       {{Name: "content-length", Value: "0"}, {Name: "content-length", Value: "1"}},
			"late pseudo-field": {{Name: "x", Value: "1"}, {Name: ":path", Value: "/b"}},
		} {
			a := newAttacker(t, at)
			a.block = headBlock("/bad", more...)
			if err := a.open(1, true); err != nil {
				t.Fatal(err)
			}
			if got := a.outcome(1); got != "reset" && got != "400" {
				t.Errorf("%s: %s", name, got)
			}
			if seen := w.take(); len(seen) != 0 {
				t.Errorf("%s: the program saw %q", name, seen)
			}
			_ = a.Close()
		}
	})
}

// outcome is the status a stream is answered with, "reset", or an error.
func (a *attacker) outcome(id uint32) string {
	for {
		f, err := a.ReadFrame()
		if err != nil {
			return err.Error()
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			if f.StreamID == id {
				return "reset"
			}
		case *http2.HeadersFrame:
			fields, err := hpack.NewDecoder(4096, nil).DecodeFull(f.HeaderBlockFragment())
			if err != nil || f.StreamID != id || len(fields) == 0 {
				return "a malformed answer"
			}
			return fields[0].Value
		}
	}
}

// TestTCPEnds: the server speaks first, and each side may end before the other.
func TestTCPEnds(t *testing.T) {
	rests := make(chan string, 3)
	program := rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		_, _ = io.WriteString(c, "welcome\n")
		line, _ := r.ReadString('\n')
		if line == "you first\n" {
			_ = c.CloseWrite()
			rest, _ := io.ReadAll(r)
			rests <- string(rest)
			return
		}
		rest, _ := io.ReadAll(r)
		_, _ = io.WriteString(c, strings.ToUpper(string(rest)))
	})
	for _, shape := range []string{"gateway", "hop", "pair"} {
		l := newLab(t)
		at := l.shape(shape, program, model.TCP)
		for _, first := range []string{"client", "you first"} {
			c := dialRaw(t, at)
			if line, err := c.r.ReadString('\n'); line != "welcome\n" {
				t.Fatalf("%s: %q %v", shape, line, err)
			}
			c.send(first + "\n")
			want := "REST"
			if first != "client" {
				want = ""
				if got, err := io.ReadAll(c.r); len(got) != 0 || err != nil {
					t.Errorf("%s: the program's end arrives as %q, %v", shape, got, err)
				}
			}
			c.send("rest")
			_ = c.CloseWrite()
			if got, err := io.ReadAll(c.r); string(got) != want || err != nil {
				t.Errorf("%s: %q, %v", shape, got, err)
			}
			if want == "" {
				if rest := <-rests; rest != "rest" { // the program's connection has a deadline
					t.Errorf("%s: after its own end the program gets %q", shape, rest)
				}
			}
		}
	}
}
