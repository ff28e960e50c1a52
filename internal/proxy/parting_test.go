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
	_ = a.SetReadDeadline(time.Now().Add(5 * time.Second))
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
// when it said GOAWAY itself, and when it made a mistake.
func TestEndIsNotReset(t *testing.T) {
	for name, end := range map[string]func(a *attacker) error{
		"GOAWAY":  func(a *attacker) error { return a.WriteGoAway(0, http2.ErrCodeNo, nil) },
		"mistake": func(a *attacker) error { return a.WriteRawFrame(http2.FramePing, 0, 0, []byte{1}) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			a := newAttacker(t, l.shape("gateway", server(t, app()), model.HTTP))
			if err := end(a); err != nil {
				t.Fatal(err)
			}
			for range 20 {
				time.Sleep(5 * time.Millisecond)
				if err := a.WritePing(false, [8]byte{1}); err != nil {
					t.Fatalf("while the end was on its way: %v", err)
				}
			}
			kinds, err := lastWords(t, a)
			if err != io.EOF {
				t.Errorf("after %v: %v", kinds, err)
			}
			if last := kinds[len(kinds)-1]; name == "mistake" && last != http2.FrameGoAway {
				t.Errorf("the last of %v is no GOAWAY", kinds)
			}
		})
	}
}

// TestPartingIsShort has a client that does not close its side lose the connection all the same.
func TestPartingIsShort(t *testing.T) {
	l := newLab(t)
	a := newAttacker(t, l.shape("gateway", server(t, app()), model.HTTP))
	if err := a.WriteGoAway(0, http2.ErrCodeNo, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	for time.Since(began) < 5*time.Second {
		if a.WritePing(false, [8]byte{1}) != nil {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	t.Errorf("still heard %v after the end", time.Since(began))
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
	time.Sleep(50 * time.Millisecond)
	if n := e.Stats().Connections; n != 1 {
		t.Fatalf("%d connections before it is time", n)
	}
	later(w.e.o.IdleTimeout + time.Second)
	later(sweepEvery)
	eventually(t, "the connection is closed", func() bool { return e.Stats().Connections == 0 })
}
