package h1

import (
	"testing"

	"github.com/weft-mesh/weft/internal/message"
)

const (
	benchRequest = "GET /api/v1/products/0/reviews?sort=new HTTP/1.1\r\nHost: productpage.default:9080\r\n" +
		"User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0\r\n" +
		"Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\nAccept-Language: en-US,en;q=0.5\r\n" +
		"Accept-Encoding: gzip, deflate, br\r\nConnection: keep-alive\r\nX-Request-Id: 3f1c9d52a1b84c0e9d7e6a5b4c3d2e1f\r\n" +
		"Traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01\r\n\r\n"
	benchResponse = "HTTP/1.1 200 OK\r\nServer: nginx/1.22.1\r\nDate: Sat, 21 Nov 2026 04:00:00 GMT\r\nContent-Type: application/json\r\n" +
		"Content-Length: 56\r\nConnection: keep-alive\r\nX-Envoy-Like: 12\r\n\r\n"
)

func BenchmarkParseRequest(b *testing.B) {
	b.ReportAllocs()
	in := []byte(benchRequest)
	b.SetBytes(int64(len(in)))
	var h message.Head
	for b.Loop() {
		if n, _, err := ParseRequest(in, &h, DefaultLimits()); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAppendRequest(b *testing.B) {
	b.ReportAllocs()
	var h message.Head
	if _, _, err := ParseRequest([]byte(benchRequest), &h, DefaultLimits()); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	for b.Loop() {
		dst = AppendRequest(dst[:0], &h, NoBody)
	}
}

func BenchmarkParseResponse(b *testing.B) {
	b.ReportAllocs()
	in := []byte(benchResponse)
	var h message.Head
	for b.Loop() {
		if n, _, err := ParseResponse(in, "GET", &h, DefaultLimits()); n == 0 || err != nil {
			b.Fatal(n, err)
		}
	}
}

func BenchmarkAppendResponse(b *testing.B) {
	b.ReportAllocs()
	var h message.Head
	if _, _, err := ParseResponse([]byte(benchResponse), "GET", &h, DefaultLimits()); err != nil {
		b.Fatal(err)
	}
	dst := make([]byte, 0, 4096)
	for b.Loop() {
		dst = AppendResponse(dst[:0], &h, Length, false)
	}
}

func BenchmarkChunks(b *testing.B) {
	b.ReportAllocs()
	in := AppendLastChunk(AppendChunk(nil, make([]byte, 4096)), []message.Field{{Name: "grpc-status", Value: "0"}})
	var r ChunkReader
	for b.Loop() {
		r.Reset()
		for at := 0; ; {
			_, n, done, err := r.Next(in[at:], DefaultLimits())
			if err != nil {
				b.Fatal(err)
			}
			if at += n; done {
				break
			}
		}
	}
}

func TestNoAllocations(t *testing.T) {
	in, out := []byte(benchRequest), make([]byte, 0, 4096)
	var h message.Head
	once := func() {
		if n, _, err := ParseRequest(in, &h, DefaultLimits()); n == 0 || err != nil {
			t.Fatal(n, err)
		}
		out = AppendRequest(out[:0], &h, NoBody)
	}
	once()
	if n := testing.AllocsPerRun(100, once); n != 0 {
		t.Errorf("%v allocations for a request", n)
	}
}
