package proxy

import (
	"io"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/internal/model"
)

// lastWords collects the frames of a connection until it ends.
func lastWords(t *testing.T, a *attacker) (kinds []http2.FrameType, err error) {
	t.Helper()
	_ = a.SetReadDeadline(time.Now().Add(30 * time.Second))
	fr := http2.NewFramer(io.Discard, a.r)
	for {
		f, err := fr.ReadFrame()
		if err != nil {
			return kinds, err
		}
		kinds = append(kinds, f.Header().Type)
	}
}

// TestEndIsNotReset has a client that still sends see the end of a connection and what came before it, not a reset:
// when it said GOAWAY itself, and when it made a mistake. It reads only after it has sent: a reset would have thrown
// away what was there to read.
func TestEndIsNotReset(t *testing.T) {
	for name, end := range map[string]func(a *attacker) error{
		"GOAWAY":  func(a *attacker) error { return a.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"mistake": func(a *attacker) error { return a.WriteRawFrame(http2.FramePing, 0, 0, []byte{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			e, at := l.gateway(edgeOf(server(t, app()), model.HTTP, model.Socket{
				Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: toWeb()}},
			}), 1)
			a := newAttacker(t, at)
			if err := end(a); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the engine has sent the end", func() bool { return partingConnections(e) == 1 })
			for range 20 {
				if err := a.WritePing(false, [8]byte{1}); err != nil {
					t.Fatalf("while the end was on its way: %v", err)
				}
			}
			kinds, err := lastWords(t, a)
			if err != io.EOF || len(kinds) == 0 {
				t.Fatalf("after %v: %v", kinds, err)
			}
			if last := kinds[len(kinds)-1]; name == "mistake" && last != http2.FrameGoAway {
				t.Errorf("the last of %v is no GOAWAY", kinds)
			}
		})
	}
}

// partingConnections are those whose end was sent, and which are heard all the same.
func partingConnections(e *Engine) (n int) {
	for _, w := range e.workers {
		w.loop.Call(func() {
			for c := range w.served {
				if c.parting {
					n++
				}
			}
		})
	}
	return n
}

// TestPartingIsShort has a client that does not close its side lose the connection all the same.
func TestPartingIsShort(t *testing.T) {
	l := newLab(t)
	a := newAttacker(t, l.shape("gateway", server(t, app()), model.HTTP))
	if err := a.WriteGoAway(0, http2.ErrCodeNo, nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the connection is gone", func() bool { return a.WritePing(false, [8]byte{1}) != nil })
}

// TestIdleHTTP2ConnectionIsSwept closes what nobody uses, though the client does not answer.
func TestIdleHTTP2ConnectionIsSwept(t *testing.T) {
	l := newLab(t)
	e, at := l.gateway(edgeOf(server(t, app()), model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: toWeb()}},
	}), 1)
	a := newAttacker(t, at)
	a.block = headBlock("/")
	if err := a.open(1, true); err != nil {
		t.Fatal(err)
	}
	w := e.workers[0]
	streams := func() (n int) {
		w.loop.Call(func() {
			for c := range w.served {
				n = c.open
			}
		})
		return n
	}
	later := func(d time.Duration) {
		w.loop.Call(func() {
			for c := range w.served {
				c.sweep(w.loop.Now().Add(d))
			}
		})
	}
	fr := http2.NewFramer(io.Discard, a.r)
	for ended := false; !ended; {
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatal(err)
		}
		ended = f.Header().Type == http2.FrameData && f.Header().Flags.Has(http2.FlagDataEndStream)
	}
	eventually(t, "the stream ends", func() bool { return streams() == 0 })
	later(w.e.o.IdleTimeout / 2)
	if err := a.WritePing(false, [8]byte{7}); err != nil {
		t.Fatal(err)
	}
	for answered := false; !answered; { // by a connection that is still there
		f, err := fr.ReadFrame()
		if err != nil {
			t.Fatalf("before it is time: %v", err)
		}
		ping, ok := f.(*http2.PingFrame)
		answered = ok && ping.IsAck() && ping.Data == [8]byte{7}
	}
	later(w.e.o.IdleTimeout + time.Second)
	later(sweepEvery)
	eventually(t, "the connection is closed", func() bool { return e.Stats().Connections == 0 })
}
