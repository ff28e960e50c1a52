package proxy

import (
	"fmt"
	"strings"
	"testing"
)

func TestRecognise(t *testing.T) {
	for text, want := range map[string]speech{
		"": unknown, "G": unknown, "GET": unknown, "GET ": unknown, "GET /a": unknown,
		"GET / HTTP/1.1\r\n": speaksH1, "OPTIONS * HTTP/1.0\r\n": speaksH1, "PRI": unknown, "PROPFIND / HTTP/1.1\r\n": speaksH1,
		h2Preface: speaksH2, h2Preface + "\x00\x00": speaksH2, h2Preface[:20]: unknown,
		"\x16\x03\x01\x02": opaque, "hello world\n": opaque, "EHLO mail.example\r\n": opaque, "QUIT\r\n": opaque,
		strings.Repeat("A", 40): opaque, "GET  / HTTP/1.1\r\n": opaque, "SSH-2.0-x\r\n": opaque,
	} {
		if got := recognise([]byte(text)); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}

// FuzzRecognise wants a verdict that more bytes do not change, so that how a connection is cut into reads
// decides nothing.
func FuzzRecognise(f *testing.F) {
	for _, s := range []string{"GET / HTTP/1.1\r\n", h2Preface, "\x16\x03\x01", "QUIT\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		verdict := unknown
		for i := range len(b) + 1 {
			got := recognise(b[:i])
			if verdict != unknown && got != verdict {
				t.Fatalf("%q: %d after %d bytes, %d before", b, got, i, verdict)
			}
			verdict = got
		}
	})
}

func TestParseHost(t *testing.T) {
	for host, want := range map[string]string{
		"reviews": "shop/reviews 0 true", "reviews:9080": "shop/reviews 9080 true", "reviews.default": "default/reviews 0 true",
		"reviews.default.mesh:80": "default/reviews 80 true", "reviews.default.svc.cluster.local": "default/reviews 0 true",
		"reviews.default.mesh.": "default/reviews 0 true", "a.b.c.example": "", "": "", "reviews:99999": "", "reviews:x": "", ".default": "",
	} {
		name, port, ok := parseHost(host, "shop")
		got := ""
		if ok {
			got = fmt.Sprintf("%s %d true", name, port)
		}
		if got != want {
			t.Errorf("%q: %q, want %q", host, got, want)
		}
	}
}
