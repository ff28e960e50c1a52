package h2

import (
	"encoding/binary"
	"errors"
	"testing"
)

// resetCodes returns the codes of the RST_STREAM frames in the output, and takes the output.
func resetCodes(c *Conn) (codes []ErrCode) {
	out := c.Output()
	for len(out) >= frameHeader {
		n := length(out)
		if out[3] == typeRSTStream {
			codes = append(codes, ErrCode(binary.BigEndian.Uint32(out[frameHeader:])))
		}
		out = out[frameHeader+n:]
	}
	c.Discard(len(c.Output()))
	return codes
}

// answeredEarly has a server answer n requests, streams 1, 3, 5, of which only the heads have come.
func answeredEarly(t *testing.T, n int, more ...string) *side {
	t.Helper()
	s := opened(t)
	for i := range uint32(n) {
		if err := s.c.Receive(get(0, 2*i+1, more...)); err != nil {
			t.Fatal(err)
		}
		if err := s.c.SendHead(s.heads[i], answer, true); err != nil {
			t.Fatal(err)
		}
		s.c.Release(s.heads[i])
	}
	return s
}

// Many clients take a reset behind an answer for its failure: the rest of a request is let come in.
func TestRestOfAnAnsweredRequestIsDropped(t *testing.T) {
	s := answeredEarly(t, 1, "content-length", "3")
	if err := s.c.Receive(append(rawFrame(typeData, 0, 1, 1, 2), rawFrame(typeData, flagEndStream, 1, 3)...)); err != nil {
		t.Fatal(err)
	}
	if codes := resetCodes(s.c); len(codes) > 0 || s.c.Streams() != 0 || s.c.abandoned != 0 || s.c.peerOpen != 0 {
		t.Fatalf("resets %v, %d streams, %d abandoned, %d open", codes, s.c.Streams(), s.c.abandoned, s.c.peerOpen)
	}
	if len(s.resets) > 0 {
		t.Fatal("an owner heard of a stream it had given back")
	}
}

func TestRestOfAnAnsweredRequestIsStillChecked(t *testing.T) {
	s := answeredEarly(t, 1, "content-length", "1")
	if err := s.c.Receive(rawFrame(typeData, flagEndStream, 1, 1, 2, 3, 4)); err != nil {
		t.Fatal(err)
	}
	if codes := resetCodes(s.c); len(codes) != 1 || codes[0] != ErrCodeProtocol {
		t.Fatalf("resets %v", codes)
	}
	s = answeredEarly(t, 1)
	err := s.c.Receive(append(rawFrame(typeRSTStream, 0, 1, u32(8)...), get(flagEndStream, 1)...))
	var ce *ConnectionError
	if !errors.As(err, &ce) || ce.Code != ErrCodeStreamClosed {
		t.Fatalf("HEADERS behind the client's RST_STREAM: %v", err)
	}
}

// A client that goes on and on is told to stop before it waits for a window that does not open.
func TestLongRestOfAnAnsweredRequestIsStopped(t *testing.T) {
	s := answeredEarly(t, 1)
	chunk, sent := make([]byte, minMaxFrame), 0
	var codes []ErrCode
	for ; len(codes) == 0 && sent < int(s.c.cfg.StreamWindow); sent += len(chunk) {
		if err := s.c.Receive(rawFrame(typeData, 0, 1, chunk...)); err != nil {
			t.Fatal(err)
		}
		codes = resetCodes(s.c)
	}
	if len(codes) != 1 || codes[0] != ErrCodeNo || s.c.abandoned != 0 {
		t.Fatalf("resets %v after %d bytes, %d abandoned", codes, sent, s.c.abandoned)
	}
	if s.c.recvWindow+s.c.unreturned != int64(s.c.cfg.ConnWindow) {
		t.Fatalf("the connection's window is %d and %d to return", s.c.recvWindow, s.c.unreturned)
	}
}

func TestFewAnsweredRequestsMayLinger(t *testing.T) {
	s := answeredEarly(t, maxAbandoned+5)
	if codes := resetCodes(s.c); len(codes) != 5 || s.c.abandoned != maxAbandoned {
		t.Fatalf("resets %v, %d abandoned", codes, s.c.abandoned)
	}
	s.c.GoAway(ErrCodeNo)
	if codes := resetCodes(s.c); len(codes) != maxAbandoned || s.c.abandoned != 0 || s.c.Streams() != 0 {
		t.Fatalf("at the end resets %v, %d abandoned, %d streams", codes, s.c.abandoned, s.c.Streams())
	}
}

// A keep-alive beside a quiet stream is no abuse, for as long as it lasts.
func TestPingsOverTimeAreNoAbuse(t *testing.T) {
	s := opened(t)
	if err := s.c.Receive(get(0, 1)); err != nil {
		t.Fatal(err)
	}
	for i := range 5000 {
		if i%5 == 0 {
			s.c.Forgive()
		}
		if err := s.c.Receive(rawFrame(typePing, 0, 0, make([]byte, 8)...)); err != nil {
			t.Fatalf("PING %d: %v", i, err)
		}
		s.c.Discard(len(s.c.Output()))
	}
}
