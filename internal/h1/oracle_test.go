package h1

import (
	"bufio"
	"bytes"
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/weft-mesh/weft/internal/message"
)

func TestReasons(t *testing.T) {
	// Phrases RFC 9110 changed, and those the registry has lost since.
	renamed := map[int]string{
		413: "Content Too Large", 414: "URI Too Long", 416: "Range Not Satisfiable",
		422: "Unprocessable Content", 203: "Non-Authoritative Information", 418: "",
	}
	for code := 100; code < 600; code++ {
		want, ok := renamed[code]
		if !ok {
			want = http.StatusText(code)
		}
		if got := reason(code); got != want {
			t.Errorf("%d: %q, want %q", code, got, want)
		}
	}
}

// sameAsNetHTTP checks that net/http accepts what we accepted and takes it for the same message.
func sameAsNetHTTP(t interface {
	Fatalf(string, ...any)
	Helper()
}, in []byte, h *message.Head, f Framing,
) {
	t.Helper()
	in = bytes.TrimPrefix(in, []byte("\r\n")) // net/http's server has it cut elsewhere
	r, err := http.ReadRequest(bufio.NewReaderSize(bytes.NewReader(in), len(in)+16))
	if err != nil {
		t.Fatalf("net/http refuses %q: %v", in, err)
	}
	if r.Method != h.Method || !strings.EqualFold(r.Host, h.Authority) {
		t.Fatalf("net/http reads %q %q, we %q %q", r.Method, r.Host, h.Method, h.Authority)
	}
	if h.Method != "CONNECT" && h.Scheme == "" && r.RequestURI != h.Path {
		t.Fatalf("net/http reads path %q, we %q", r.RequestURI, h.Path)
	}
	length := f.Length
	if f.Body == Chunked {
		length = -1
	}
	if r.ContentLength != length {
		t.Fatalf("net/http reads length %d, we %d: %q", r.ContentLength, length, in)
	}
	if r.ProtoMinor != int(f.Minor) || f.KeepAlive && r.Close {
		t.Fatalf("net/http reads minor %d close %v, we %+v", r.ProtoMinor, r.Close, f)
	}
	for _, field := range h.Fields {
		if field.Name == "te" {
			continue
		}
		found := false
		for _, v := range r.Header[http.CanonicalHeaderKey(field.Name)] {
			found = found || v == field.Value
		}
		if !found {
			t.Fatalf("net/http has no %q: %q in %v", field.Name, field.Value, r.Header)
		}
	}
}

func genFields(t *rapid.T) []message.Field {
	var fields []message.Field
	for range rapid.IntRange(0, 12).Draw(t, "fields") {
		name := rapid.StringMatching("[a-z][a-z0-9-]{0,70}").Draw(t, "name")
		if sendable(name) != kindPlain || endToEnd(name) {
			continue
		}
		value := rapid.StringMatching("([!-~\u00e9]([ -~\t]{0,40}[!-~])?)?").Draw(t, "value")
		fields = append(fields, message.Field{Name: name, Value: value})
	}
	return fields
}

func TestRequestRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := message.Head{
			Method:    rapid.SampledFrom([]string{"GET", "POST", "DELETE", "REPORT"}).Draw(t, "method"),
			Authority: rapid.StringMatching(`[a-z][a-z0-9.-]{0,20}(:[1-9][0-9]{0,3})?`).Draw(t, "authority"),
			Path:      rapid.StringMatching(`/[a-z0-9/._~-]{0,30}(\?[!$-~]{0,20})?`).Draw(t, "path"),
			Length:    message.Unknown,
			Fields:    genFields(t),
		}
		body := rapid.SampledFrom([]BodyKind{NoBody, Length, Chunked}).Draw(t, "body")
		if body == Length {
			in.Length = rapid.Int64Range(1, 1<<62).Draw(t, "length")
		}
		wire := AppendRequest(nil, &in, body)
		var out message.Head
		n, f, err := ParseRequest(wire, &out, DefaultLimits())
		if err != nil || n != len(wire) || f.Body != body {
			t.Fatalf("%q: n=%d %+v %v", wire, n, f, err)
		}
		if body == NoBody {
			out.Length = in.Length // a POST is declared empty
		}
		if d := cmp.Diff(in, out, ignoreArena, cmp.Transformer("len0", func(f []message.Field) []message.Field { return append([]message.Field{}, f...) })); d != "" {
			t.Fatalf("%q: %s", wire, d)
		}
		sameAsNetHTTP(t, wire, &out, f)
	})
}

func TestResponseRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		in := message.Head{Status: rapid.IntRange(200, 599).Draw(t, "status"), Length: message.Unknown, Fields: genFields(t)}
		if in.Status == 204 || in.Status == 304 {
			in.Status = 200
		}
		body := rapid.SampledFrom([]BodyKind{NoBody, Length, Chunked, UntilClose}).Draw(t, "body")
		switch body {
		case Length:
			in.Length = rapid.Int64Range(1, 1<<62).Draw(t, "length")
		case NoBody:
			in.Length = 0
		}
		wire := AppendResponse(nil, &in, body, false)
		var out message.Head
		n, f, err := ParseResponse(wire, "GET", &out, DefaultLimits())
		if err != nil || n != len(wire) || f.Body != body || out.Length != in.Length || out.Status != in.Status || len(out.Fields) != len(in.Fields) {
			t.Fatalf("%q: n=%d %+v %v", wire, n, f, err)
		}
		r, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(wire), len(wire)+16), nil)
		if err != nil || r.StatusCode != in.Status {
			t.Fatalf("net/http: %q: %v", wire, err)
		}
	})
}

func TestChunksRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var wire, want []byte
		for range rapid.IntRange(0, 5).Draw(t, "chunks") {
			c := rapid.SliceOfN(rapid.Byte(), 0, 300).Draw(t, "chunk")
			wire, want = AppendChunk(wire, c), append(want, c...)
		}
		var trailers []message.Field
		for _, f := range genFields(t) {
			if trailerAllowed(f.Name) {
				trailers = append(trailers, f)
			}
		}
		wire = AppendLastChunk(wire, trailers)
		data, got, done, err := readChunks(wire, rapid.IntRange(1, 400).Draw(t, "step"))
		if err != nil || !done || !bytes.Equal(data, want) || len(got) != len(trailers) {
			t.Fatalf("%q: %q %v %v %v", wire, data, got, done, err)
		}
		for i := range got {
			if got[i] != trailers[i] {
				t.Fatalf("trailer %d: %v, want %v", i, got[i], trailers[i])
			}
		}
	})
}

func seed(f *testing.F, kind string, more ...string) {
	for _, b := range badFiles(f, kind) {
		if len(b) < 4096 {
			f.Add(b)
		}
	}
	for _, s := range more {
		f.Add([]byte(s))
	}
}

func FuzzRequest(f *testing.F) {
	seed(f, "request", "GET /a?b HTTP/1.1\r\nHost: x\r\nX-A: v\r\nConnection: upgrade, x-a\r\nUpgrade: websocket\r\n\r\n",
		"POST http://x:80/ HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nTE: trailers\r\n\r\nhello",
		"CONNECT [::1]:80 HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS * HTTP/1.0\r\n\r\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again message.Head
		n, fr, err := ParseRequest(b, &h, DefaultLimits())
		if n == 0 || err != nil {
			if n != 0 {
				t.Fatalf("n=%d with %v", n, err)
			}
			return
		}
		sameAsNetHTTP(t, b[:n], &h, fr)
		for i := range n {
			if k, _, err := ParseRequest(b[:i], &again, DefaultLimits()); k != 0 || err != nil {
				t.Fatalf("first %d bytes of %q: n=%d %v", i, b[:n], k, err)
			}
		}
		wire := AppendRequest(nil, &h, fr.Body)
		k, fr2, err := ParseRequest(wire, &again, DefaultLimits())
		if err != nil || k != len(wire) || fr2.Body != fr.Body || fr2.Length != fr.Length {
			t.Fatalf("%q became %q: %v", b[:n], wire, err)
		}
		if again.Path != h.Path || again.Authority != h.Authority || len(again.Fields) != len(h.Fields) || again.Protocol != h.Protocol {
			t.Fatalf("%+v became %+v", h, again)
		}
	})
}

func FuzzResponse(f *testing.F) {
	seed(f, "response", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "HTTP/1.0 304\r\nConnection: a, close\r\nA: b\r\n\r\n",
		"HTTP/1.1 101 x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		var h, again message.Head
		n, fr, err := ParseResponse(b, "GET", &h, DefaultLimits())
		if n == 0 || err != nil {
			return
		}
		r, err := http.ReadResponse(bufio.NewReaderSize(bytes.NewReader(b[:n]), n+16), nil)
		if err != nil {
			t.Fatalf("net/http refuses %q: %v", b[:n], err)
		}
		if r.StatusCode != h.Status || fr.Body == Length && r.ContentLength != fr.Length || (fr.Body == Chunked) != (r.TransferEncoding != nil) && h.Status >= 200 && h.Status != 204 && h.Status != 304 {
			t.Fatalf("net/http reads %d %d %v, we %+v: %q", r.StatusCode, r.ContentLength, r.TransferEncoding, fr, b[:n])
		}
		wire := AppendResponse(nil, &h, fr.Body, !fr.KeepAlive)
		k, fr2, err := ParseResponse(wire, "GET", &again, DefaultLimits())
		if err != nil || k != len(wire) || fr2.Body != fr.Body || fr2.Length != fr.Length || fr2.KeepAlive != fr.KeepAlive || len(again.Fields) != len(h.Fields) {
			t.Fatalf("%q became %q: %+v %+v %v", b[:n], wire, fr, fr2, err)
		}
	})
}

func FuzzChunks(f *testing.F) {
	seed(f, "chunks", "5\r\nhello\r\n0\r\n\r\n", "a;x=y\r\n0123456789\r\n0\r\na: b\r\n\r\n")
	f.Fuzz(func(t *testing.T, b []byte) {
		data, trailers, done, err := readChunks(b, len(b)+1)
		data1, trailers1, done1, err1 := readChunks(b, 1)
		if done != done1 || (err == nil) != (err1 == nil) || !bytes.Equal(data, data1) || len(trailers) != len(trailers1) {
			t.Fatalf("at once %q %v %v, byte by byte %q %v %v", data, done, err, data1, done1, err1)
		}
		if !done {
			return
		}
		req := "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
		r, err := http.ReadRequest(bufio.NewReader(io.MultiReader(strings.NewReader(req), bytes.NewReader(b))))
		if err != nil {
			t.Fatal(err)
		}
		want, err := io.ReadAll(r.Body)
		if err != nil || !bytes.Equal(want, data) {
			t.Fatalf("net/http decodes %q (%v), we %q, from %q", want, err, data, b)
		}
		wire := AppendLastChunk(AppendChunk(nil, data), trailers)
		again, trailers2, done, err := readChunks(wire, 1)
		if !done || err != nil || !bytes.Equal(again, data) || len(trailers2) != len(trailers) {
			t.Fatalf("%q became %q", b, strconv.Quote(string(wire)))
		}
	})
}
