package h1

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/weft-mesh/weft/internal/message"
)

var ignoreArena = cmpopts.IgnoreUnexported(message.Head{})

// badFiles returns the inputs under testdata that must be refused.
func badFiles(t testing.TB, kind string) map[string][]byte {
	t.Helper()
	names, err := filepath.Glob(filepath.Join("testdata", kind, "*.bad"))
	if err != nil || len(names) == 0 {
		t.Fatalf("no testdata for %s: %v", kind, err)
	}
	files := map[string][]byte{}
	for _, n := range names {
		b, err := os.ReadFile(n)
		if err != nil {
			t.Fatal(err)
		}
		files[strings.TrimSuffix(filepath.Base(n), ".bad")] = b
	}
	return files
}

// refused checks that err is an *Error fit for a log, and that no beginning of b was accepted.
func refused(t *testing.T, b []byte, parse func([]byte) (int, error)) *Error {
	t.Helper()
	_, err := parse(b)
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("accepted %.200q: %v", b, err)
	}
	for _, c := range []byte(e.Reason) {
		if c < ' ' || c > '~' {
			t.Errorf("reason has a byte that is not printable: %q", e.Reason)
		}
	}
	if e.Status < 400 || e.Status > 599 || len(e.Reason) > 400 {
		t.Errorf("bad error %d %q", e.Status, e.Reason)
	}
	for i := range min(len(b), 500) {
		if n, _ := parse(b[:i]); n > 0 {
			t.Fatalf("accepted the first %d bytes: %.200q", i, b[:i])
		}
	}
	return e
}

func TestBadRequests(t *testing.T) {
	status := map[string]int{
		"preface": 505, "http2": 505, "http12": 505, "head-large": 431, "many-fields": 431, "line-large": 414,
		"te-gzip-chunked": 501, "method-long": 501,
	}
	for name, b := range badFiles(t, "request") {
		t.Run(name, func(t *testing.T) {
			var h message.Head
			e := refused(t, b, func(b []byte) (int, error) {
				n, _, err := ParseRequest(b, &h, DefaultLimits())
				return n, err
			})
			want := status[name]
			if want == 0 {
				want = 400
			}
			if e.Status != want {
				t.Errorf("status %d (%s), want %d", e.Status, e.Reason, want)
			}
		})
	}
}

func TestBadResponses(t *testing.T) {
	for name, b := range badFiles(t, "response") {
		t.Run(name, func(t *testing.T) {
			var h message.Head
			e := refused(t, b, func(b []byte) (int, error) {
				n, _, err := ParseResponse(b, "GET", &h, DefaultLimits())
				return n, err
			})
			if e.Status != 502 {
				t.Errorf("status %d, want 502", e.Status)
			}
		})
	}
}

func TestBadChunks(t *testing.T) {
	for name, b := range badFiles(t, "chunks") {
		t.Run(name, func(t *testing.T) {
			for _, step := range []int{1, 7, len(b)} {
				_, _, done, err := readChunks(b, step)
				var e *Error
				if done || !errors.As(err, &e) {
					t.Fatalf("step %d: done %v, error %v", step, done, err)
				}
			}
		})
	}
}

func TestRequests(t *testing.T) {
	tests := []struct {
		name, in string
		want     message.Head
		f        Framing
	}{
		{
			"plain", "GET /a?b HTTP/1.1\r\nHost: x:80\r\nX-A:  v \t\r\nAccept: */*\r\n\r\n",
			message.Head{Method: "GET", Authority: "x:80", Path: "/a?b", Length: -1, Fields: []message.Field{{Name: "x-a", Value: "v"}, {Name: "accept", Value: "*/*"}}},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"empty line first", "\r\nGET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/", Length: -1},
			Framing{Minor: 1},
		},
		{
			"1.0", "GET / HTTP/1.0\r\nConnection: keep-alive\r\nExpect: 100-continue\r\n\r\n",
			message.Head{Method: "GET", Path: "/", Length: -1},
			Framing{},
		},
		{
			"length", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0012\r\nexpect: 100-Continue\r\n\r\n",
			message.Head{Method: "POST", Authority: "x", Path: "/", Length: 12, Fields: []message.Field{{Name: "expect", Value: "100-Continue"}}},
			Framing{Body: Length, Length: 12, KeepAlive: true, Minor: 1, Expect100: true},
		},
		{
			"length 0", "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n",
			message.Head{Method: "POST", Authority: "x", Path: "/"},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"chunked", "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: Chunked\r\nte: trailers, deflate;q=0.5\r\n\r\n",
			message.Head{Method: "POST", Authority: "x", Path: "/", Length: -1, Fields: []message.Field{{Name: "te", Value: "trailers"}}},
			Framing{Body: Chunked, KeepAlive: true, Minor: 1, TrailersOK: true},
		},
		{
			"te without trailers", "GET / HTTP/1.1\r\nhost: x\r\nte: deflate\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"upgrade", "GET /ws HTTP/1.1\r\nHost: x\r\nConnection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Key: k\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/ws", Protocol: "websocket", Length: -1, Fields: []message.Field{{Name: "sec-websocket-key", Value: "k"}}},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"upgrade not nominated", "GET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/ws", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"h2c", "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"nominated", "GET / HTTP/1.1\r\nHost: x\r\nX-Hop: 1\r\nConnection: x-hop, host, authorization, content-length\r\nAuthorization: a\r\nKeep-Alive: timeout=5\r\nProxy-Connection: keep-alive\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/", Length: -1, Fields: []message.Field{{Name: "authorization", Value: "a"}}},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"absolute", "GET HTTP://X:80/p HTTP/1.1\r\nHost: x\r\n\r\n",
			message.Head{Method: "GET", Scheme: "http", Authority: "X:80", Path: "/p", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"absolute without path", "GET http://x?q HTTP/1.1\r\nHost: x\r\n\r\n",
			message.Head{Method: "GET", Scheme: "http", Authority: "x", Path: "/?q", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"options star", "OPTIONS * HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
			message.Head{Method: "OPTIONS", Authority: "[::1]:8080", Path: "*", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"options absolute", "OPTIONS http://x HTTP/1.1\r\nHost: x\r\n\r\n",
			message.Head{Method: "OPTIONS", Scheme: "http", Authority: "x", Path: "*", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"connect", "CONNECT db:5432 HTTP/1.1\r\nHost: db\r\n\r\n",
			message.Head{Method: "CONNECT", Authority: "db:5432", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"own method", "PURGE /\xc3\xa9|x HTTP/1.1\r\nHost: x\r\n\r\n",
			message.Head{Method: "PURGE", Authority: "x", Path: "/\xc3\xa9|x", Length: -1},
			Framing{KeepAlive: true, Minor: 1},
		},
		{
			"long name", "GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("N", 100) + ": \xff\tv\r\n\r\n",
			message.Head{Method: "GET", Authority: "x", Path: "/", Length: -1, Fields: []message.Field{{Name: strings.Repeat("n", 100), Value: "\xff\tv"}}},
			Framing{KeepAlive: true, Minor: 1},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h message.Head
			for i := range tt.in {
				if n, _, err := ParseRequest([]byte(tt.in[:i]), &h, DefaultLimits()); n != 0 || err != nil {
					t.Fatalf("first %d bytes: n=%d, %v", i, n, err)
				}
			}
			in := []byte(tt.in + "GET /next")
			n, f, err := ParseRequest(in, &h, DefaultLimits())
			if err != nil || n != len(tt.in) {
				t.Fatalf("n=%d of %d, %v", n, len(tt.in), err)
			}
			clear(in) // the head must own its strings
			if d := cmp.Diff(tt.want, h, ignoreArena, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
			if d := cmp.Diff(tt.f, f); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestResponses(t *testing.T) {
	tests := []struct {
		name, method, in string
		status           int
		length           int64
		f                Framing
	}{
		{"length", "GET", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 200, 5, Framing{Body: Length, Length: 5, KeepAlive: true, Minor: 1}},
		{"empty", "GET", "HTTP/1.1 200 \r\ncontent-length: 0\r\n\r\n", 200, 0, Framing{KeepAlive: true, Minor: 1}},
		{"no reason, no space", "GET", "HTTP/1.1 404\r\ncontent-length: 0\r\n\r\n", 404, 0, Framing{KeepAlive: true, Minor: 1}},
		{"until close", "GET", "HTTP/1.1 200 OK\r\nserver: x\r\n\r\n", 200, -1, Framing{Body: UntilClose, Minor: 1}},
		{"chunked", "GET", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", 200, -1, Framing{Body: Chunked, KeepAlive: true, Minor: 1}},
		{"head", "HEAD", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\n", 200, 5, Framing{KeepAlive: true, Minor: 1}},
		{"304", "GET", "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n", 304, 5, Framing{KeepAlive: true, Minor: 1}},
		{"204", "GET", "HTTP/1.1 204 No Content\r\n\r\n", 204, -1, Framing{KeepAlive: true, Minor: 1}},
		{"204 that declares content", "GET", "HTTP/1.1 204 No Content\r\ncontent-length: 5\r\n\r\n", 204, -1, Framing{Minor: 1}},
		{"100", "POST", "HTTP/1.1 100 Continue\r\n\r\n", 100, -1, Framing{KeepAlive: true, Minor: 1}},
		{"101", "GET", "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n", 101, -1, Framing{Body: Tunnel, Minor: 1}},
		{"connect", "CONNECT", "HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: gzip\r\n\r\n", 200, -1, Framing{Body: Tunnel, Minor: 1}},
		{"connect refused", "CONNECT", "HTTP/1.1 403 No\r\ncontent-length: 5\r\n\r\n", 403, 5, Framing{Body: Length, Length: 5, KeepAlive: true, Minor: 1}},
		{"1.0", "GET", "HTTP/1.0 200 OK\r\ncontent-length: 5\r\n\r\n", 200, 5, Framing{Body: Length, Length: 5}},
		{"1.0 keep-alive", "GET", "HTTP/1.0 200 OK\r\nconnection: Keep-Alive\r\ncontent-length: 5\r\n\r\n", 200, 5, Framing{Body: Length, Length: 5, KeepAlive: true}},
		{"close", "GET", "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 5\r\n\r\n", 200, 5, Framing{Body: Length, Length: 5, Minor: 1}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var h message.Head
			for i := range tt.in {
				if n, _, err := ParseResponse([]byte(tt.in[:i]), tt.method, &h, DefaultLimits()); n != 0 || err != nil {
					t.Fatalf("first %d bytes: n=%d, %v", i, n, err)
				}
			}
			n, f, err := ParseResponse([]byte(tt.in+"x"), tt.method, &h, DefaultLimits())
			if err != nil || n != len(tt.in) || h.Status != tt.status || h.Length != tt.length {
				t.Fatalf("n=%d of %d, status %d, length %d, %v", n, len(tt.in), h.Status, h.Length, err)
			}
			if d := cmp.Diff(tt.f, f); d != "" {
				t.Error(d)
			}
		})
	}
}

// readChunks feeds b in pieces that grow by step bytes.
func readChunks(b []byte, step int) (data []byte, trailers []message.Field, done bool, err error) {
	var r ChunkReader
	for at, have := 0, 0; ; {
		d, n, end, err := r.Next(b[at:have], DefaultLimits())
		data = append(data, d...)
		at += n
		if err != nil || end {
			return data, r.Trailers(), end, err
		}
		if n == 0 {
			if have == len(b) {
				return data, nil, false, nil
			}
			have = min(have+step, len(b))
		}
	}
}

func TestChunks(t *testing.T) {
	in := "5;a=b;c=\"d\"\r\nhello\r\n00006\r\n world\r\n0\r\nX-Sum: 1\r\nSet-Cookie: a\r\ngrpc-status: 0\r\n\r\n"
	want := []message.Field{{Name: "x-sum", Value: "1"}, {Name: "grpc-status", Value: "0"}}
	for step := 1; step <= len(in); step++ {
		data, trailers, done, err := readChunks([]byte(in), step)
		if err != nil || !done || string(data) != "hello world" || !cmp.Equal(trailers, want) {
			t.Fatalf("step %d: %q %v %v %v", step, data, trailers, done, err)
		}
	}
	for i := range in {
		if _, _, done, err := readChunks([]byte(in[:i]), 3); done || err != nil {
			t.Fatalf("first %d bytes: %v %v", i, done, err)
		}
	}
}

func TestChunkReaderReset(t *testing.T) {
	var r ChunkReader
	for range 3 {
		b := AppendLastChunk(AppendChunk(nil, []byte("abc")), []message.Field{{Name: "a", Value: "b"}})
		var got []byte
		done := false
		for !done {
			d, n, end, err := r.Next(b, DefaultLimits())
			if err != nil || n == 0 && !end {
				t.Fatal(n, err)
			}
			got, b, done = append(got, d...), b[n:], end
		}
		if string(got) != "abc" || len(r.Trailers()) != 1 || len(b) != 0 {
			t.Fatalf("%q %v %q", got, r.Trailers(), b)
		}
		r.Reset()
	}
}

func TestAppendNeverInjects(t *testing.T) {
	evil := []string{"a\r\nx: y", "a\nb", "a\rb", "a\x00b", "a b\x7f"}
	for _, s := range evil {
		h := message.Head{Method: "GET", Authority: "h", Path: "/", Length: message.Unknown, Fields: []message.Field{
			{Name: s, Value: "v"},
			{Name: "n", Value: s},
			{Name: "Upper", Value: "v"},
			{Name: "", Value: "v"},
			{Name: "content-length", Value: "5"},
			{Name: "transfer-encoding", Value: "chunked"},
			{Name: "host", Value: "b"},
			{Name: "connection", Value: "close"},
			{Name: "ok", Value: "1"},
		}}
		if got := string(AppendRequest(nil, &h, NoBody)); got != "GET / HTTP/1.1\r\nhost: h\r\nok: 1\r\n\r\n" {
			t.Errorf("fields: %q", got)
		}
		h.Status = 204
		if got := string(AppendResponse(nil, &h, NoBody, false)); got != "HTTP/1.1 204 No Content\r\nok: 1\r\n\r\n" {
			t.Errorf("fields: %q", got)
		}
		if got := string(AppendLastChunk(nil, h.Fields)); got != "0\r\nok: 1\r\n\r\n" {
			t.Errorf("trailers: %q", got)
		}
		for i := range 4 {
			h := message.Head{Method: "GET", Authority: "h", Path: "/", Status: 101}
			*[]*string{&h.Method, &h.Authority, &h.Path, &h.Protocol}[i] = s
			if got := AppendRequest([]byte("x"), &h, NoBody); string(got) != "x" {
				t.Errorf("request line: %q", got)
			}
			if got := AppendResponse(nil, &h, NoBody, false); i == 3 && len(got) != 0 {
				t.Errorf("protocol: %q", got)
			}
		}
	}
}

func TestAppend(t *testing.T) {
	req := func(h message.Head, k BodyKind) string { return string(AppendRequest(nil, &h, k)) }
	res := func(h message.Head, k BodyKind, close bool) string { return string(AppendResponse(nil, &h, k, close)) }
	te := []message.Field{{Name: "te", Value: "trailers"}}
	tests := []struct{ got, want string }{
		{req(message.Head{Method: "POST", Authority: "a", Path: "/", Length: 7}, Length), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 7\r\n\r\n"},
		{req(message.Head{Method: "POST", Authority: "a", Path: "/", Length: -1}, NoBody), "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n"},
		{req(message.Head{Method: "POST", Authority: "a", Path: "/", Length: -1, Fields: te}, Chunked), "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\nte: trailers\r\nconnection: te\r\n\r\n"},
		{req(message.Head{Method: "CONNECT", Authority: "a", Path: "/w", Protocol: "websocket", Length: -1}, NoBody), "GET /w HTTP/1.1\r\nhost: a\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"},
		{req(message.Head{Method: "CONNECT", Authority: "a:1", Length: -1}, NoBody), "CONNECT a:1 HTTP/1.1\r\nhost: a:1\r\n\r\n"},
		{res(message.Head{Status: 200, Length: 3}, Length, true), "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\n"},
		{res(message.Head{Status: 404, Length: 0}, NoBody, false), "HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"},
		{res(message.Head{Status: 599, Length: -1}, UntilClose, false), "HTTP/1.1 599 \r\nconnection: close\r\n\r\n"},
		{res(message.Head{Status: 200, Length: -1}, Chunked, false), "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"},
		{res(message.Head{Status: 101, Protocol: "websocket", Length: -1}, Tunnel, false), "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"},
		{res(message.Head{Status: 204, Length: 0}, NoBody, false), "HTTP/1.1 204 No Content\r\n\r\n"},
		{res(message.Head{Status: 99}, NoBody, false), ""},
	}
	for _, tt := range tests {
		if tt.got != tt.want {
			t.Errorf("got  %q\nwant %q", tt.got, tt.want)
		}
	}
	if !bytes.Equal(AppendChunk(nil, make([]byte, 300))[:5], []byte("12c\r\n")) || len(AppendChunk(nil, nil)) != 0 {
		t.Error("AppendChunk")
	}
}
