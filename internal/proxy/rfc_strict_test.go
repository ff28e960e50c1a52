package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestStrictHTTP1 sends what RFC 9112 wants refused. The second request of a smuggler must never be seen.
func TestStrictHTTP1(t *testing.T) {
	const smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
	post := func(fields, body string) string { return "POST / HTTP/1.1\r\nHost: a\r\n" + fields + "\r\n" + body }
	cases := []struct {
		name, send string
		status     int
	}{
		{"CL and TE", post("Content-Length: 6\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled), 400},
		{"TE and CL", post("Transfer-Encoding: chunked\r\nContent-Length: 6\r\n", "0\r\n\r\n"+smuggled), 400},
		{"TE twice", post("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"+smuggled), 400},
		{"TE not final", post("Transfer-Encoding: chunked, gzip\r\n", "0\r\n\r\n"+smuggled), 400},
		{"TE identity", post("Transfer-Encoding: identity\r\n", smuggled), 400},
		{"TE unknown", post("Transfer-Encoding: xchunked\r\n", "0\r\n\r\n"+smuggled), 400},
		{"TE vertical tab", post("Transfer-Encoding:\x0bchunked\r\n", "0\r\n\r\n"+smuggled), 400},
		{"TE in HTTP/1.0", "POST / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + smuggled, 400},
		{"two CL", post("Content-Length: 0\r\nContent-Length: 5\r\n", smuggled), 400},
		{"CL list", post("Content-Length: 0, 5\r\n", smuggled), 400},
		{"CL plus", post("Content-Length: +0\r\n", smuggled), 400},
		{"CL minus", post("Content-Length: -1\r\n", smuggled), 400},
		{"CL hex", post("Content-Length: 0x0\r\n", smuggled), 400},
		{"CL empty", post("Content-Length:\r\n", smuggled), 400},
		{"CL too large", post("Content-Length: 99999999999999999999\r\n", smuggled), 400},
		{"obs-fold", post("X: a\r\n b\r\n", smuggled), 400},
		{"obs-fold of TE", post("Transfer-Encoding:\r\n chunked\r\n", "0\r\n\r\n"+smuggled), 400},
		{"folded first field", "GET / HTTP/1.1\r\n Host: a\r\n\r\n" + smuggled, 400},
		{"bare CR", post("X: a\rb\r\n", smuggled), 400},
		{"bare CR before LF line", post("X: a\r\r\n", smuggled), 400},
		{"bare LF", "GET / HTTP/1.1\nHost: a\n\n" + smuggled, 400},
		{"bare LF in fields", "GET / HTTP/1.1\r\nHost: a\nX: b\r\n\r\n" + smuggled, 400},
		{"space before colon", post("Content-Length : 0\r\n", smuggled), 400},
		{"tab before colon", post("X\t: 0\r\n", smuggled), 400},
		{"empty name", post(": 0\r\n", smuggled), 400},
		{"no colon", post("X\r\n", smuggled), 400},
		{"NUL", post("X: a\x00b\r\n", smuggled), 400},
		{"control", post("X: a\x01b\r\n", smuggled), 400},
		{"DEL", post("X: a\x7fb\r\n", smuggled), 400},
		{"NUL in target", "GET /\x00 HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, 400},
		{"space in target", "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, 400},
		{"no Host", "GET / HTTP/1.1\r\n\r\n" + smuggled, 400},
		{"two Hosts", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + smuggled, 400},
		{"bad Host", "GET / HTTP/1.1\r\nHost: a/b\r\n\r\n" + smuggled, 400},
		{"user in Host", "GET / HTTP/1.1\r\nHost: u@a\r\n\r\n" + smuggled, 400},
		{"absolute-form and Host differ", "GET http://b/ HTTP/1.1\r\nHost: a\r\n\r\n" + smuggled, 400},
		{"HTTP/1.2 digits", "GET / HTTP/1.11\r\nHost: a\r\n\r\n" + smuggled, 400},
		{"lower case version", "GET / http/1.1\r\nHost: a\r\n\r\n" + smuggled, 400},
		{"head too large", post("X: "+strings.Repeat("a", 70<<10)+"\r\n", ""), 431},
		{"too many fields", post(strings.Repeat("x: y\r\n", 5000), ""), 431},
	}
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		w := &witness{}
		shapes(t, w, protocol, func(t *testing.T, at netip.AddrPort) {
			for _, c := range cases {
				refused(t, at, c.name, c.send, c.status)
				if seen := w.take(); len(seen) != 0 {
					t.Errorf("%s: the program saw %q", c.name, seen)
				}
			}
		})
	}
}

// refused sends bytes and wants one answer, and then the end: a close, or a reset after the answer.
func refused(t *testing.T, at netip.AddrPort, name, send string, status int) {
	t.Helper()
	c := dialRaw(t, at)
	defer c.Close()
	_, _ = io.WriteString(c, send) // may be cut off in the middle
	all, err := io.ReadAll(c.r)
	if err != nil && !isReset(err) {
		t.Errorf("%s: the connection stays open: %v", name, err)
	}
	if want := fmt.Sprintf("HTTP/1.1 %d ", status); !strings.HasPrefix(string(all), want) {
		t.Errorf("%s: got %.60q, want %q", name, all, want)
	}
	if n := strings.Count(string(all), "HTTP/1.1 "); n != 1 {
		t.Errorf("%s: %d answers: %q", name, n, all)
	}
}

func isReset(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && !op.Timeout() && !errors.Is(err, os.ErrDeadlineExceeded)
}

// TestStrictChunks: content that is malformed after a good head is cut, and what follows is no request.
func TestStrictChunks(t *testing.T) {
	for _, body := range []string{
		"g\r\nx\r\n0\r\n\r\n",
		"-1\r\nx\r\n0\r\n\r\n",
		"0x1\r\nx\r\n0\r\n\r\n",
		"1 \r\nx\r\n0\r\n\r\n",
		"1\nx\r\n0\r\n\r\n",
		"1\r\nxy\r\n0\r\n\r\n",
		"1\r\nx\n0\r\n\r\n",
		"10000000000000000\r\nx\r\n0\r\n\r\n",
		"\r\n0\r\n\r\n",
		"1;" + strings.Repeat("a", 20<<10) + "\r\nx\r\n0\r\n\r\n",
		"1;a=\x00\r\nx\r\n0\r\n\r\n",
		"1;a\nb\r\nx\r\n0\r\n\r\n",
		"0\r\nX y: z\r\n\r\n",
		"0\r\n folded\r\n\r\n",
	} {
		w := &witness{}
		shapes(t, w, model.HTTP, func(t *testing.T, at netip.AddrPort) {
			c := dialRaw(t, at)
			c.send("POST /first HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
			_, _ = io.WriteString(c, body+"GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
			all, err := io.ReadAll(c.r)
			if err != nil && !isReset(err) {
				t.Errorf("%.30q: the connection stays open: %v", body, err)
			}
			if n := strings.Count(string(all), "HTTP/1.1 2"); n != 0 {
				t.Errorf("%.30q: answered with %q", body, all)
			}
			for _, seen := range w.take() {
				if !strings.Contains(seen, "/first") || strings.HasSuffix(seen, "<nil>") {
					t.Errorf("%.30q: the program saw %s", body, seen)
				}
			}
		})
	}
}

// TestGoodHTTP1 has what is unusual and right.
func TestGoodHTTP1(t *testing.T) {
	w := &witness{}
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		shapes(t, w, protocol, func(t *testing.T, at netip.AddrPort) {
			for _, c := range []struct{ send, want string }{
				{"GET http://a/x?y HTTP/1.1\r\nHost: a\r\n\r\n", `GET /x?y a "" <nil>`},
				{"GET http://a HTTP/1.1\r\nHost: a\r\n\r\n", `GET / a "" <nil>`},
				{"\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n", `GET / a "" <nil>`},
				{"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: Chunked\r\n\r\n1;x=\"y\"\r\nz\r\n0\r\n\r\n", `POST / a "z" <nil>`},
				{"POST / HTTP/1.1\r\nhOST:  \t a \t\r\nContent-Length: 2\r\n\r\nhi", `POST / a "hi" <nil>`},
				{"DELETE / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi", `DELETE / a "hi" <nil>`},
				{"OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", ""}, // net/http answers it itself
			} {
				conn := dialRaw(t, at)
				conn.send(c.send)
				if resp, body := conn.answer("GET"); resp.StatusCode != 200 {
					t.Errorf("%q: %s %s", c.send, resp.Status, body)
				}
				if seen := strings.Join(w.take(), "; "); seen != c.want {
					t.Errorf("%q: the program saw %s, want %s", c.send, seen, c.want)
				}
				_ = conn.Close()
			}
		})
	}
}

// TestPipelining sends 100 requests in one piece; the answers come in order, and after the half-close all.
func TestPipelining(t *testing.T) {
	for _, protocol := range []model.Protocol{model.HTTP, model.HTTP2} {
		shapes(t, &witness{}, protocol, func(t *testing.T, at netip.AddrPort) {
			var b strings.Builder
			for i := range 100 {
				if i%3 == 0 {
					fmt.Fprintf(&b, "POST /%d HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", i)
				} else {
					fmt.Fprintf(&b, "POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc", i)
				}
			}
			c := dialRaw(t, at)
			c.send(b.String())
			_ = c.CloseWrite()
			for i := range 100 {
				if resp, got := c.answer("POST"); resp.StatusCode != 200 || got != fmt.Sprintf("/%d", i) {
					t.Fatalf("answer %d: %s %q", i, resp.Status, got)
				}
			}
			if n, err := c.r.Read(make([]byte, 1)); n != 0 || err != io.EOF {
				t.Errorf("after the last: %d, %v", n, err)
			}
		})
	}
}

// TestHalfClose: a client that has ended its side still gets an answer that takes a while.
func TestHalfClose(t *testing.T) {
	release := make(chan struct{})
	at := make(chan struct{}, 1)
	program := rawProgramSlow(t, at, release)
	for _, shape := range []string{"gateway", "hop", "pair"} {
		l := newLab(t)
		c := dialRaw(t, l.shape(shape, program, model.HTTP))
		c.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
		_ = c.CloseWrite()
		select {
		case <-at:
		case <-time.After(patience):
			t.Fatal("the program is not asked")
		}
		release <- struct{}{}
		if resp, got := c.answer("GET"); resp.StatusCode != 200 || got != "ok" {
			t.Errorf("%s: %s %q", shape, resp.Status, got)
		}
	}
}
