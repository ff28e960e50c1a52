package h2

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/message"
)

// asked returns a client with its first request sent and the server's SETTINGS received.
func asked(t testing.TB, h *message.Head) (*side, *Stream) {
	t.Helper()
	c := newSide(t, Config{Client: true})
	if err := c.c.Receive(rawFrame(typeSettings, 0, 0)); err != nil {
		t.Fatal(err)
	}
	s, err := c.c.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := c.c.SendHead(s, h, true); err != nil {
		t.Fatal(err)
	}
	c.c.Discard(len(c.c.Output()))
	return c, s
}

func TestPreface(t *testing.T) {
	for name, in := range map[string]string{
		"HTTP/1.1": "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "cut short": clientPreface[:10] + "x", "empty line": "\r\n",
	} {
		s := newSide(t, Config{})
		var ce *ConnectionError
		if err := s.c.Receive([]byte(in)); !errors.As(err, &ce) || ce.Code != ErrCodeProtocol {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, first := range map[string][]byte{
		"PING":         rawFrame(typePing, 0, 0, make([]byte, 8)...),
		"SETTINGS ack": rawFrame(typeSettings, flagAck, 0),
	} {
		s := newSide(t, Config{})
		var ce *ConnectionError
		if err := s.c.Receive(append([]byte(clientPreface), first...)); !errors.As(err, &ce) || ce.Code != ErrCodeProtocol {
			t.Errorf("first frame %s: %v", name, err)
		}
	}
}

func TestServerMistakes(t *testing.T) {
	ok := rawHeaders(0, 1, ":status", "200")
	cat := func(f ...[]byte) []byte { return bytes.Join(f, nil) }
	for name, c := range map[string]struct {
		in     []byte
		code   ErrCode
		stream bool // a stream error
	}{
		"PUSH_PROMISE":             {rawFrame(typePushPromise, flagEndHeaders, 1, 0, 0, 0, 2, 0x82), ErrCodeProtocol, false},
		"ENABLE_PUSH":              {rawFrame(typeSettings, 0, 0, setting(settingEnablePush, 1)...), ErrCodeProtocol, false},
		"response on even stream":  {rawHeaders(0, 2, ":status", "200"), ErrCodeProtocol, false},
		"response nobody asked":    {rawHeaders(0, 3, ":status", "200"), ErrCodeProtocol, false},
		"CONNECT setting withdrew": {rawFrame(typeSettings, 0, 0, append(setting(8, 1), setting(8, 0)...)...), ErrCodeProtocol, false},
		"no status":                {rawHeaders(0, 1, "a", "b"), ErrCodeProtocol, true},
		"status of two digits":     {rawHeaders(0, 1, ":status", "20"), ErrCodeProtocol, true},
		"status with a sign":       {rawHeaders(0, 1, ":status", "+20"), ErrCodeProtocol, true},
		"status twice":             {rawHeaders(0, 1, ":status", "200", ":status", "200"), ErrCodeProtocol, true},
		"request's pseudo-header":  {rawHeaders(0, 1, ":status", "200", ":path", "/"), ErrCodeProtocol, true},
		"101":                      {rawHeaders(0, 1, ":status", "101"), ErrCodeProtocol, true},
		"100 that ends the stream": {rawHeaders(flagEndStream, 1, ":status", "100"), ErrCodeProtocol, true},
		"DATA before the head":     {rawFrame(typeData, 0, 1, 1), ErrCodeProtocol, true},
		"DATA after 100":           {cat(rawHeaders(0, 1, ":status", "100"), rawFrame(typeData, 0, 1, 1)), ErrCodeProtocol, true},
		"content too long":         {cat(rawHeaders(0, 1, ":status", "200", "content-length", "1"), rawFrame(typeData, 0, 1, 1, 2)), ErrCodeProtocol, true},
		"content cut by trailers":  {cat(rawHeaders(0, 1, ":status", "200", "content-length", "1"), rawHeaders(flagEndStream, 1, "a", "b")), ErrCodeProtocol, true},
		"trailers do not end":      {cat(ok, rawHeaders(0, 1, "a", "b")), ErrCodeProtocol, true},
		"connection":               {rawHeaders(0, 1, ":status", "200", "connection", "close"), ErrCodeProtocol, true},
	} {
		s, st := asked(t, grpcHead())
		var err error
		for p := c.in; err == nil && len(p) > 0; p = p[min(1000, len(p)):] {
			err = s.c.Receive(p[:min(1000, len(p))])
		}
		var ce *ConnectionError
		switch {
		case !c.stream && (!errors.As(err, &ce) || ce.Code != c.code):
			t.Errorf("%s: %v, want %v", name, err, c.code)
		case c.stream && (err != nil || s.resets[1] != c.code || s.c.Streams() != 0):
			t.Errorf("%s: %v, reset %v, want %v", name, err, s.resets, c.code)
		case c.stream && !st.RecvClosed():
			t.Errorf("%s: the stream is still open", name)
		}
	}
}

func TestLengthWithoutContent(t *testing.T) {
	head := grpcHead()
	head.Method = "HEAD"
	for name, c := range map[string]struct {
		req    *message.Head
		status string
	}{"HEAD": {head, "200"}, "304": {grpcHead(), "304"}} {
		s, st := asked(t, c.req)
		if err := s.c.Receive(rawHeaders(flagEndStream, 1, ":status", c.status, "content-length", "7")); err != nil {
			t.Fatal(err)
		}
		if len(s.resets) != 0 || !s.ended[1] || st.Head.Length != 7 {
			t.Errorf("%s: resets %v, ended %v, length %d", name, s.resets, s.ended, st.Head.Length)
		}
	}
	s, _ := asked(t, grpcHead())
	_ = s.c.Receive(rawHeaders(flagEndStream, 1, ":status", "200", "content-length", "7"))
	if s.resets[1] != ErrCodeProtocol {
		t.Errorf("a GET's answer without its content was taken: %v", s.resets)
	}
}

func TestInformationalThenFinal(t *testing.T) {
	s, st := asked(t, grpcHead())
	in := append(rawHeaders(0, 1, ":status", "103", "link", "</a>", "content-length", "3"), rawHeaders(flagEndStream, 1, ":status", "200", "a", "b")...)
	if err := s.c.Receive(in); err != nil || len(s.heads) != 2 || len(s.resets) != 0 {
		t.Fatalf("%v, %d heads, resets %v", err, len(s.heads), s.resets)
	}
	if st.Head.Status != 200 || st.Head.Get("link") != "" || st.Head.Get("a") != "b" {
		t.Fatalf("%+v", st.Head)
	}
}

func TestHostAndAuthority(t *testing.T) {
	for name, c := range map[string]struct {
		pairs []string
		want  string // "": refused
	}{
		"both":      {[]string{":authority", "a", "host", "a"}, "a"},
		"case":      {[]string{":authority", "a", "host", "A"}, "a"},
		"host only": {[]string{"host", "b:80"}, "b:80"},
		"two hosts": {[]string{"host", "b", "host", "b"}, ""},
		"user info": {[]string{":authority", "me@a"}, ""},
		"a path":    {[]string{":authority", "a/b"}, ""},
		"differ":    {[]string{":authority", "a", "host", "b"}, ""},
	} {
		s := opened(t)
		err := s.c.Receive(rawHeaders(flagEndStream, 1, append([]string{":method", "GET", ":scheme", "http", ":path", "/"}, c.pairs...)...))
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		if len(s.heads) == 1 {
			got = s.heads[0].Head.Authority
			if s.heads[0].Head.Get("host") != "" {
				t.Errorf("%s: host is a field", name)
			}
		}
		if got != c.want {
			t.Errorf("%s: %q, want %q", name, got, c.want)
		}
	}
}

func TestSchemeAndPath(t *testing.T) {
	for _, c := range []struct {
		method, scheme, path string
		ok                   bool
	}{
		{"GET", "http", "/", true},
		{"GET", "https", "/a?b=c%20d", true},
		{"OPTIONS", "http", "*", true},
		{"GET", "http", "*", false},
		{"GET", "http", "a", false},
		{"GET", "http", "/a b", false},
		{"GET", "http", "/a#b", false},
		{"GET", "ht tp", "/", false},
		{"GET", "http\"", "/", false},
		{"G T", "http", "/", false},
	} {
		s := opened(t)
		_ = s.c.Receive(rawHeaders(flagEndStream, 1, ":method", c.method, ":scheme", c.scheme, ":authority", "a", ":path", c.path))
		if got := len(s.heads) == 1; got != c.ok {
			t.Errorf("%s %s %s: taken %v, want %v", c.method, c.scheme, c.path, got, c.ok)
		}
	}
}

func TestExtendedConnect(t *testing.T) {
	client, server := connect(t)
	if !client.c.ExtendedConnect() {
		t.Fatal("the client has not seen the setting")
	}
	s, _ := client.c.Open(nil)
	h := &message.Head{Method: "CONNECT", Protocol: "websocket", Scheme: "http", Authority: "a", Path: "/chat", Length: message.Unknown}
	h.Add("sec-websocket-version", "13")
	if err := client.c.SendHead(s, h, false); err != nil {
		t.Fatal(err)
	}
	pump(t, client.c, server.c)
	in := server.heads[0]
	if in.Head.Protocol != "websocket" || in.Head.Method != "CONNECT" || in.Head.Path != "/chat" {
		t.Fatalf("%+v", in.Head)
	}
	_ = server.c.SendHead(in, &message.Head{Status: 200, Length: message.Unknown}, false)
	for _, from := range []struct {
		a, b *side
		s    *Stream
	}{{client, server, s}, {server, client, in}, {client, server, s}} {
		if n, err := from.a.c.SendData(from.s, []byte("frame"), false); n != 5 || err != nil {
			t.Fatal(n, err)
		}
		pump(t, client.c, server.c)
	}
	if string(server.data[1]) != "frameframe" || string(client.data[1]) != "frame" {
		t.Fatalf("%q %q", server.data[1], client.data[1])
	}
}

func TestCookieCrumbsAreOneField(t *testing.T) {
	s := opened(t)
	if err := s.c.Receive(get(flagEndStream, 1, "cookie", "a=b", "x", "y", "cookie", "c=d", "cookie", "e=f")); err != nil {
		t.Fatal(err)
	}
	if got := s.heads[0].Head.Fields; len(got) != 2 || got[0] != (message.Field{Name: "cookie", Value: "a=b; c=d; e=f"}) || got[1].Name != "x" {
		t.Fatalf("%v", got)
	}
}

// Joining crumb after crumb would cost the square of their number: one byte of input each, by way of the table.
func TestManyCrumbsAreCheap(t *testing.T) {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for i := 0; i < len(getPairs); i += 2 {
		_ = e.WriteField(hpack.HeaderField{Name: getPairs[i], Value: getPairs[i+1]})
	}
	const crumbs = 1000
	for range crumbs {
		_ = e.WriteField(hpack.HeaderField{Name: "cookie", Value: "a=b"})
	}
	s := opened(t)
	id := uint32(1)
	allocs := testing.AllocsPerRun(1, func() {
		if err := s.c.Receive(rawFrame(typeHeaders, flagEndStream|flagEndHeaders, id, b.Bytes()...)); err != nil {
			t.Fatal(err)
		}
		id += 2
		b.Reset()
		for i := 0; i < len(getPairs); i += 2 {
			_ = e.WriteField(hpack.HeaderField{Name: getPairs[i], Value: getPairs[i+1]})
		}
		for range crumbs {
			_ = e.WriteField(hpack.HeaderField{Name: "cookie", Value: "a=b"})
		}
	})
	if want := "a=b" + strings.Repeat("; a=b", crumbs-1); s.heads[1].Head.Get("cookie") != want {
		t.Fatal("the cookie is not whole")
	}
	if allocs > crumbs/4 {
		t.Fatalf("%v allocations for %d crumbs", allocs, crumbs)
	}
}

func TestPseudoHeadersCannotBeForged(t *testing.T) {
	client, server := connect(t)
	h := grpcHead()
	h.Add(":path", "/admin")
	h.Add(":status", "200")
	s, _ := client.c.Open(nil)
	_ = client.c.SendHead(s, h, false)
	_ = client.c.SendTrailers(s, []message.Field{{Name: ":path", Value: "/"}, {Name: "ok", Value: "1"}})
	pump(t, client.c, server.c)
	if len(server.heads) != 1 || server.heads[0].Head.Path != "/grpc.testing.Echo/Unary" || len(client.resets) != 0 {
		t.Fatalf("%d heads, resets %v", len(server.heads), client.resets)
	}
	if tr := server.heads[0].Trailers; len(tr) != 1 || tr[0].Name != "ok" {
		t.Fatalf("trailers %v", tr)
	}
}

func TestTrailersThatFrameAreDropped(t *testing.T) {
	s := opened(t)
	in := append(get(0, 1), rawHeaders(flagEndStream, 1, "content-length", "3", "host", "b", "x", "y")...)
	if err := s.c.Receive(in); err != nil || len(s.heads) != 1 {
		t.Fatal(err, len(s.heads))
	}
	if tr := s.heads[0].Trailers; len(tr) != 1 || tr[0].Name != "x" {
		t.Fatalf("trailers %v", tr)
	}
}

func TestSecondTrailersDoNotReachTheOwner(t *testing.T) {
	s := opened(t)
	in := append(get(0, 1), rawHeaders(flagEndStream, 1, "x", "y")...)
	if err := s.c.Receive(append(in, rawHeaders(flagEndStream, 1, "evil", "1")...)); err != nil {
		t.Fatal(err)
	}
	if tr := s.heads[0].Trailers; len(tr) != 1 || s.resets[1] != ErrCodeStreamClosed {
		t.Fatalf("trailers %v, resets %v", tr, s.resets)
	}
}
