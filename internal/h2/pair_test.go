package h2

import (
	"testing"

	"github.com/weft-mesh/weft/internal/message"
)

// side collects the events of one end of a connection.
type side struct {
	t      testing.TB
	c      *Conn
	heads  []*Stream
	data   map[uint32][]byte
	ended  map[uint32]bool
	resets map[uint32]ErrCode
	window int
	away   []ErrCode
	hold   bool // do not consume
}

func newSide(t testing.TB, cfg Config) *side {
	s := &side{t: t, data: map[uint32][]byte{}, ended: map[uint32]bool{}, resets: map[uint32]ErrCode{}}
	s.c = NewConn(cfg, s)
	return s
}

func (s *side) OnHead(st *Stream, end bool) { s.heads = append(s.heads, st); s.end(st, end) }
func (s *side) OnData(st *Stream, p []byte, end bool) {
	s.data[st.ID] = append(s.data[st.ID], p...)
	if !s.hold {
		s.c.Consume(st, len(p))
	}
	s.end(st, end)
}
func (s *side) OnTrailers(st *Stream)            { s.end(st, true) }
func (s *side) OnReset(st *Stream, code ErrCode) { s.resets[st.ID] = code }
func (s *side) OnWindow(*Stream)                 { s.window++ }
func (s *side) OnGoAway(_ uint32, code ErrCode)  { s.away = append(s.away, code) }
func (s *side) OnSettings()                      {}
func (s *side) end(st *Stream, end bool) {
	if !end {
		return
	}
	s.ended[st.ID] = true
}

// pump moves output both ways until there is none.
func pump(t testing.TB, a, b *Conn) {
	t.Helper()
	for len(a.Output())+len(b.Output()) > 0 {
		move(t, a, b)
		move(t, b, a)
	}
}

func move(t testing.TB, from, to *Conn) {
	t.Helper()
	out := from.Output()
	if len(out) == 0 {
		return
	}
	if err := to.Receive(out); err != nil {
		t.Fatalf("receive: %v", err)
	}
	from.Discard(len(out))
}

func connect(t testing.TB) (client, server *side) {
	client, server = newSide(t, Config{Client: true}), newSide(t, Config{ExtendedConnect: true})
	pump(t, client.c, server.c)
	return client, server
}

func grpcHead() *message.Head {
	h := &message.Head{
		Method: "POST", Scheme: "http", Authority: "echo.default:9090", Path: "/grpc.testing.Echo/Unary", Length: message.Unknown,
	}
	h.Add("content-type", "application/grpc")
	h.Add("te", "trailers")
	h.Add("user-agent", "grpc-go/1.85.0")
	h.Add("grpc-accept-encoding", "gzip")
	return h
}

func TestExchange(t *testing.T) {
	client, server := connect(t)
	s, err := client.c.Open(nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := client.c.SendHead(s, grpcHead(), false); err != nil {
		t.Fatal(err)
	}
	if n, err := client.c.SendData(s, []byte("ping"), true); n != 4 || err != nil {
		t.Fatal(n, err)
	}
	pump(t, client.c, server.c)
	if len(server.heads) != 1 || string(server.data[1]) != "ping" || !server.ended[1] {
		t.Fatalf("server got %v %q %v", server.heads, server.data[1], server.ended[1])
	}
	req := server.heads[0]
	if req.Head.Method != "POST" || req.Head.Authority != "echo.default:9090" || req.Head.Get("te") != "trailers" {
		t.Fatalf("head %+v", req.Head)
	}
	resp := &message.Head{Status: 200, Length: message.Unknown}
	resp.Add("content-type", "application/grpc")
	resp.Add("connection", "close") // must not travel
	resp.Add("x-evil", "a\r\nb: c")
	if err := server.c.SendHead(req, resp, false); err != nil {
		t.Fatal(err)
	}
	if _, err := server.c.SendData(req, []byte("pong"), false); err != nil {
		t.Fatal(err)
	}
	if err := server.c.SendTrailers(req, []message.Field{{Name: "grpc-status", Value: "0"}}); err != nil {
		t.Fatal(err)
	}
	pump(t, client.c, server.c)
	if string(client.data[1]) != "pong" || !client.ended[1] || s.Head.Status != 200 {
		t.Fatalf("client got %q %v %+v", client.data[1], client.ended[1], s.Head)
	}
	if len(s.Trailers) != 1 || s.Trailers[0].Value != "0" {
		t.Fatalf("trailers %v", s.Trailers)
	}
	if s.Head.Get("connection") != "" || s.Head.Get("x-evil") != "" {
		t.Fatal("a field travelled that must not")
	}
	if client.c.Streams() != 0 || server.c.Streams() != 0 {
		t.Fatal("streams remain")
	}
}

func TestFlowControl(t *testing.T) {
	client, server := connect(t)
	server.hold = true
	s, _ := client.c.Open(nil)
	_ = client.c.SendHead(s, grpcHead(), false)
	body := make([]byte, 1<<20)
	sent, err := client.c.SendData(s, body, true)
	if err != nil || sent != 256<<10 {
		t.Fatalf("sent %d, %v; want the stream's window", sent, err)
	}
	pump(t, client.c, server.c)
	if client.window != 0 {
		t.Fatal("window opened though nothing was used")
	}
	for rounds := 0; sent < len(body) && rounds < 100; rounds++ {
		got := server.heads[0]
		server.c.Consume(got, int(got.held))
		pump(t, client.c, server.c)
		n, err := client.c.SendData(s, body[sent:], true)
		if err != nil {
			t.Fatal(err)
		}
		sent += n
		pump(t, client.c, server.c)
	}
	if len(server.data[1]) != len(body) || !server.ended[1] {
		t.Fatalf("server has %d bytes, ended %v", len(server.data[1]), server.ended[1])
	}
	if client.window == 0 {
		t.Fatal("OnWindow was never called")
	}
}

func TestGracefulEnd(t *testing.T) {
	client, server := connect(t)
	s, _ := client.c.Open(nil)
	_ = client.c.SendHead(s, grpcHead(), false)
	pump(t, client.c, server.c)
	server.c.GoAway(ErrCodeNo)
	pump(t, client.c, server.c)
	if len(client.away) != 2 {
		t.Fatalf("GOAWAYs: %v, want the announcement and the final one", client.away)
	}
	if _, err := client.c.Open(nil); err != ErrGoingAway {
		t.Fatalf("Open: %v", err)
	}
	if server.c.Drained() {
		t.Fatal("drained with a stream open")
	}
	_, _ = client.c.SendData(s, nil, true)
	pump(t, client.c, server.c)
	_ = server.c.SendHead(server.heads[0], &message.Head{Status: 204, Length: message.Unknown}, true)
	pump(t, client.c, server.c)
	if !server.c.Drained() || s.Head.Status != 204 {
		t.Fatalf("drained %v, status %d", server.c.Drained(), s.Head.Status)
	}
}

func TestLargeHeadIsSplit(t *testing.T) {
	client, server := connect(t)
	h := grpcHead()
	long := make([]byte, 40<<10)
	for i := range long {
		long[i] = 'a' + byte(i%26)
	}
	h.Add("x-long", string(long))
	s, _ := client.c.Open(nil)
	if err := client.c.SendHead(s, h, true); err != nil {
		t.Fatal(err)
	}
	pump(t, client.c, server.c)
	if got := server.heads[0].Head.Get("x-long"); got != string(long) {
		t.Fatalf("%d bytes arrived", len(got))
	}
}

func TestTooLargeHeadCanBeAnswered(t *testing.T) {
	client := newSide(t, Config{Client: true})
	server := newSide(t, Config{HeadBytes: 1024})
	pump(t, client.c, server.c)
	h := grpcHead()
	h.Add("x-long", string(make([]byte, 0)))
	for range 40 {
		h.Add("x-some-field", "a value of some length, again and again")
	}
	s, _ := client.c.Open(nil)
	_ = client.c.SendHead(s, h, true)
	pump(t, client.c, server.c)
	if len(server.heads) != 1 || !server.heads[0].TooLarge {
		t.Fatal("the head was not reported as too large")
	}
	_ = server.c.SendHead(server.heads[0], &message.Head{Status: 431, Length: 0}, true)
	// The compression state is still in step: the next one arrives whole.
	s2, _ := client.c.Open(nil)
	_ = client.c.SendHead(s2, grpcHead(), true)
	pump(t, client.c, server.c)
	if s.Head.Status != 431 || server.heads[1].TooLarge || server.heads[1].Head.Path != "/grpc.testing.Echo/Unary" {
		t.Fatalf("status %d, second %+v", s.Head.Status, server.heads[1].Head)
	}
}

// BenchmarkUnary is one gRPC exchange through both codecs: head, message, head, message, trailers.
func BenchmarkUnary(b *testing.B) {
	client, server := connect(b)
	req, resp := grpcHead(), &message.Head{Status: 200, Length: message.Unknown}
	resp.Add("content-type", "application/grpc")
	trailers := []message.Field{{Name: "grpc-status", Value: "0"}}
	body := make([]byte, 56)
	quiet := &silent{}
	client.c.ev, server.c.ev = quiet, quiet
	b.ReportAllocs()
	for b.Loop() {
		s, err := client.c.Open(nil)
		if err != nil {
			b.Fatal(err)
		}
		_ = client.c.SendHead(s, req, false)
		_, _ = client.c.SendData(s, body, true)
		move(b, client.c, server.c)
		in := quiet.last
		server.c.Consume(in, 56)
		_ = server.c.SendHead(in, resp, false)
		_, _ = server.c.SendData(in, body, false)
		_ = server.c.SendTrailers(in, trailers)
		move(b, server.c, client.c)
		client.c.Consume(s, 56)
		server.c.Release(in)
		client.c.Release(s)
	}
}

// silent is a handler that keeps nothing but the last stream that began.
type silent struct{ last *Stream }

func (q *silent) OnHead(s *Stream, _ bool)     { q.last = s }
func (q *silent) OnData(*Stream, []byte, bool) {}
func (q *silent) OnTrailers(*Stream)           {}
func (q *silent) OnReset(*Stream, ErrCode)     {}
func (q *silent) OnWindow(*Stream)             {}
func (q *silent) OnGoAway(uint32, ErrCode)     {}
func (q *silent) OnSettings()                  {}
