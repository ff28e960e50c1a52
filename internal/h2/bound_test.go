package h2

import (
	"errors"
	"testing"

	"github.com/weft-mesh/weft/internal/message"
)

var answer = &message.Head{Status: 200, Length: message.Unknown}

// What is on its way for streams that were reset a while ago is no fault of the peer.
func TestLateFramesAfterManyResets(t *testing.T) {
	const streams = 500
	s := opened(t)
	for i := range uint32(streams) {
		if err := s.c.Receive(get(0, 2*i+1)); err != nil {
			t.Fatal(err)
		}
	}
	for _, st := range s.heads {
		s.c.Reset(st, ErrCodeInternal)
		s.c.Release(st)
	}
	s.c.Discard(len(s.c.Output()))
	for i := range uint32(streams) {
		id := 2*i + 1
		if err := s.c.Receive(append(rawFrame(typeData, 0, id, 1), rawHeaders(flagEndStream, id, "a", "b")...)); err != nil {
			t.Fatalf("stream %d: %v", id, err)
		}
	}
	if n := len(s.c.Output()); n > 0 {
		t.Fatalf("%d bytes answer what should be ignored", n)
	}
}

func TestFloodAfterTheEndIsBounded(t *testing.T) {
	s := newSide(t, Config{MaxOutput: 1 << 10})
	if err := s.c.Receive(append([]byte(clientPreface), rawFrame(typeSettings, 0, 0)...)); err != nil {
		t.Fatal(err)
	}
	s.c.GoAway(ErrCodeNo)
	s.c.FinishGoAway()
	var err error
	for id := uint32(1); err == nil && id < 4000; id += 2 {
		err = s.c.Receive(get(flagEndStream, id))
	}
	var ce *ConnectionError
	if !errors.As(err, &ce) || ce.Code != ErrCodeEnhanceYourCalm || len(s.c.Output()) > 2<<10 {
		t.Fatalf("%v with %d bytes of output", err, len(s.c.Output()))
	}
}

func TestUnreadAnswersAreBounded(t *testing.T) {
	s := newSide(t, Config{MaxOutput: 1 << 10})
	if err := s.c.Receive(append([]byte(clientPreface), rawFrame(typeSettings, 0, 0)...)); err != nil {
		t.Fatal(err)
	}
	var err error
	for id := uint32(1); err == nil && id < 40000; id += 2 {
		err = s.c.Receive(get(flagEndStream, id))
		for _, st := range s.heads {
			_ = s.c.SendHead(st, answer, true)
			s.c.Release(st)
		}
		s.heads = nil
	}
	var ce *ConnectionError
	if !errors.As(err, &ce) || ce.Code != ErrCodeEnhanceYourCalm || len(s.c.Output()) > 16<<10 {
		t.Fatalf("%v with %d bytes of output", err, len(s.c.Output()))
	}
}

// Streams that were answered and then cancelled (a watch, say) are use, not abuse.
func TestCancelAfterAnAnswerIsNoAbuse(t *testing.T) {
	s := opened(t)
	for i := range uint32(1500) {
		id := 2*i + 1
		if err := s.c.Receive(get(0, id)); err != nil {
			t.Fatal(err)
		}
		st := s.heads[i]
		_ = s.c.SendHead(st, answer, false)
		s.c.Discard(len(s.c.Output()))
		if err := s.c.Receive(rawFrame(typeRSTStream, 0, id, u32(8)...)); err != nil {
			t.Fatalf("after %d: %v", i, err)
		}
		s.c.Release(st)
	}
}

func TestOwnPingsAreNoAbuse(t *testing.T) {
	client, server := connect(t)
	server.c.cfg.AbuseLimit = 1 << 30 // it is the one that is asked
	before := client.c.balance
	for range 3000 {
		client.c.Ping([8]byte{1})
		pump(t, client.c, server.c)
	}
	if cost := client.c.balance - before; cost > 0 {
		t.Fatalf("answers to our own PINGs cost %d", cost)
	}
}

// ender closes the connection from within an event.
type ender struct{ *side }

func (e *ender) OnHead(s *Stream, _ bool) { e.heads = append(e.heads, s); e.c.Close() }

func TestCloseWithinAnEvent(t *testing.T) {
	s := opened(t)
	s.c.ev = &ender{s}
	err := s.c.Receive(append(get(0, 1), get(0, 3)...))
	if !errors.Is(err, ErrConnClosed) || len(s.heads) != 1 || s.c.Streams() != 0 {
		t.Fatalf("%v, %d heads, %d streams", err, len(s.heads), s.c.Streams())
	}
}

func TestPriorityOnIdle(t *testing.T) {
	s := opened(t)
	err := s.c.Receive(rawFrame(typePriority, 0, 9, 0, 0, 0, 9, 0))
	var ce *ConnectionError
	if !errors.As(err, &ce) { // RST_STREAM on an idle stream would be our mistake
		t.Fatalf("%v, output %x", err, s.c.Output())
	}
}

func TestPeerWithoutStreamLimit(t *testing.T) {
	c, _ := asked(t, grpcHead())
	for i := range 999 {
		if _, err := c.c.Open(nil); err != nil {
			t.Fatalf("stream %d: %v", i+2, err)
		}
	}
	if _, err := c.c.Open(nil); !errors.Is(err, ErrNoStreams) {
		t.Fatalf("%v: our own bound", err)
	}
	if err := c.c.Receive(rawFrame(typeSettings, 0, 0, setting(settingMaxStreams, 2000)...)); err != nil || !c.c.CanOpen() {
		t.Fatalf("%v: the peer's larger bound does not count", err)
	}
}

func TestPaddingGivesTheWindowBack(t *testing.T) {
	s := opened(t)
	if err := s.c.Receive(get(0, 1)); err != nil {
		t.Fatal(err)
	}
	s.hold = true // an owner that is not told of padding does not give it back
	pad := rawFrame(typeData, flagPadded, 1, append([]byte{255}, make([]byte, 255)...)...)
	for i := range 4000 { // four times the stream's window
		s.c.balance = 0
		s.c.Discard(len(s.c.Output()))
		if err := s.c.Receive(pad); err != nil {
			t.Fatalf("frame %d: %v", i, err)
		}
		if len(s.resets) > 0 {
			t.Fatalf("frame %d: the stream was reset: padding is never given back", i)
		}
	}
}

func TestNegativeWindow(t *testing.T) {
	client, _ := connect(t)
	s, _ := client.c.Open(nil)
	_ = client.c.SendHead(s, grpcHead(), false)
	body := make([]byte, 300<<10)
	n, _ := client.c.SendData(s, body, false)
	client.c.Discard(len(client.c.Output()))
	// The window was n and is spent; now it is to have been 1,000.
	must := func(f []byte) {
		t.Helper()
		if err := client.c.Receive(f); err != nil {
			t.Fatal(err)
		}
	}
	must(rawFrame(typeSettings, 0, 0, setting(settingInitialWindow, 1000)...))
	if got := client.c.SendWindow(s); got != 0 || s.sendWindow != int64(1000-n) {
		t.Fatalf("window %d, %d", got, s.sendWindow)
	}
	must(rawFrame(typeWindowUpdate, 0, 1, u32(uint32(n-1000))...)) // exactly 0
	if m, err := client.c.SendData(s, body, false); m != 0 || err != nil || client.window != 0 {
		t.Fatalf("sent %d at a window of 0, %v, %d events", m, err, client.window)
	}
	must(rawFrame(typeWindowUpdate, 0, 1, u32(7)...))
	if m, _ := client.c.SendData(s, body, false); m != 7 || client.window != 1 {
		t.Fatalf("sent %d, want 7; %d events", m, client.window)
	}
	must(rawFrame(typeSettings, 0, 0, setting(settingInitialWindow, 1010)...))
	if m, _ := client.c.SendData(s, body, false); m != 10 || client.window != 2 {
		t.Fatalf("sent %d, want 10; %d events", m, client.window)
	}
}

// dropper releases another stream when the first learns of its window.
type dropper struct {
	*side
	other *Stream
	told  map[*Stream]bool
}

func (d *dropper) OnWindow(s *Stream) {
	d.told[s] = true
	if d.other != nil {
		d.c.Release(d.other)
		d.other = nil
	}
}

func TestUnblockMissesNobody(t *testing.T) {
	client, server := connect(t)
	server.hold = true
	body := make([]byte, 2<<20)
	open := func() *Stream {
		s, _ := client.c.Open(nil)
		_ = client.c.SendHead(s, grpcHead(), false)
		return s
	}
	var all []*Stream
	for range 7 { // the first four fill the connection's window, each up to its own
		s := open()
		_, _ = client.c.SendData(s, body, false)
		all = append(all, s)
	}
	d := &dropper{client, all[0], map[*Stream]bool{}}
	client.c.ev = d
	if err := client.c.Receive(rawFrame(typeWindowUpdate, 0, 0, u32(1<<20)...)); err != nil {
		t.Fatal(err)
	}
	for i, s := range all[4:] {
		if !d.told[s] {
			t.Errorf("stream %d was not told of the window", i+4)
		}
	}
}

func TestOpenFails(t *testing.T) {
	c, _ := asked(t, grpcHead())
	c.c.peer.maxStreams = 1
	if _, err := c.c.Open(nil); !errors.Is(err, ErrNoStreams) || c.c.CanOpen() {
		t.Fatal(err)
	}
	c.c.peer.maxStreams, c.c.nextID = 10, maxStreamID+2
	if _, err := c.c.Open(nil); !errors.Is(err, ErrIDsExhausted) || c.c.CanOpen() {
		t.Fatal(err)
	}
	c.c.nextID = 3
	if err := c.c.Receive(rawFrame(typeGoAway, 0, 0, make([]byte, 8)...)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.c.Open(nil); !errors.Is(err, ErrGoingAway) || c.c.CanOpen() {
		t.Fatal(err)
	}
	if c.resets[1] != ErrCodeRefusedStream || !c.c.Drained() {
		t.Fatalf("a stream above the last was not refused: %v", c.resets)
	}
	c.c.Close()
	if _, err := c.c.Open(nil); !errors.Is(err, ErrConnClosed) {
		t.Fatal(err)
	}
}
