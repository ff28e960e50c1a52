package proxy

import (
	"bytes"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"

	"github.com/weft-mesh/weft/internal/model"
)

// held is a program that holds each request of /hold until it is released.
type held struct {
	at      netip.AddrPort
	holding atomic.Int64
	release chan struct{}
}

func newHeld(t testing.TB) *held {
	h := &held{release: make(chan struct{})}
	h.at = server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/hold" {
			h.holding.Add(1)
			defer h.holding.Add(-1)
			select {
			case <-h.release:
			case <-r.Context().Done():
			}
		}
		_, _ = io.Copy(w, r.Body)
	}))
	return h
}

// reaches polls until n is want or more, with the patience of a test that does much.
func reaches(t testing.TB, n *atomic.Int64, want int64) bool {
	t.Helper()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(tunnelPatience / 2); n.Load() < want; <-tick.C {
		if time.Now().After(deadline) {
			t.Logf("%d, want %d", n.Load(), want)
			return false
		}
	}
	return true
}

// deaf passes connections on to at and takes out of what comes back how many streams are allowed, so that the
// client behind it learns of the bound by its refusals alone.
func deaf(t testing.TB, at netip.AddrPort) netip.AddrPort {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			wg.Go(func() { deafen(c, at) })
		}
	})
	t.Cleanup(func() { _ = ln.Close(); wg.Wait() })
	return addrOf(t, ln)
}

func deafen(c net.Conn, at netip.AddrPort) {
	defer c.Close()
	up, err := net.Dial("tcp", at.String())
	if err != nil {
		return
	}
	defer up.Close()
	var wg sync.WaitGroup
	wg.Go(func() { _, _ = io.Copy(up, c); _ = up.Close() })
	// The first frame is the server's SETTINGS (RFC 9113, section 3.4).
	head := make([]byte, 9)
	if _, err := io.ReadFull(up, head); err == nil {
		settings := make([]byte, int(head[1])<<8|int(head[2]))
		_, _ = io.ReadFull(up, settings)
		for s := settings; len(s) >= 6; s = s[6:] {
			if s[0] == 0 && s[1] == byte(http2.SettingMaxConcurrentStreams) {
				copy(s[2:], []byte{0x7f, 0xff, 0xff, 0xff})
			}
		}
		_, _ = c.Write(append(head, settings...))
		_, _ = io.Copy(c, up)
	}
	_ = c.Close()
	wg.Wait()
}

// TestMaxStreams opens more streams than a connection may have: those beyond are refused in the way that lets a
// client try again without harm (RFC 9113, section 8.7), which Go's does, so that its caller sees no error.
func TestMaxStreams(t *testing.T) {
	const requests = maxStreams + 50
	program := newHeld(t)
	c := h2Client(t)
	c.Timeout = tunnelPatience
	url := "http://" + deaf(t, newLab(t).shape("gateway", program.at, model.HTTP2)).String()
	if resp, got := do(t, c, "POST", url+"/", bytes.NewReader([]byte("hello"))); resp.StatusCode != 200 || got != "hello" {
		t.Fatalf("%s %q", resp.Status, got) // the only connection there will be
	}
	var wg sync.WaitGroup
	var answered atomic.Int64
	for range requests {
		wg.Go(func() {
			resp, err := c.Post(url+"/hold", "text/plain", bytes.NewReader([]byte("hello")))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			if b, err := io.ReadAll(resp.Body); resp.StatusCode != 200 || string(b) != "hello" || err != nil {
				t.Errorf("%s %q, %v", resp.Status, b, err)
			}
			answered.Add(1)
		})
	}
	full := reaches(t, &program.holding, maxStreams)
	close(program.release)
	wg.Wait()
	if !full {
		t.Error("the connection was never full")
	}
	if n := answered.Load(); n != requests {
		t.Errorf("%d of %d requests are answered", n, requests)
	}
}

// TestStreamsBeyondTheBound: each is refused by name, the connection and what is on it go on.
func TestStreamsBeyondTheBound(t *testing.T) {
	const beyond = 20
	program := newHeld(t)
	a := newAttacker(t, newLab(t).shape("gateway", program.at, model.HTTP2))
	_ = a.SetDeadline(time.Now().Add(tunnelPatience))
	a.block = headBlock("/hold")
	for i := range uint32(maxStreams + beyond) {
		if err := a.open(2*i+1, true); err != nil {
			t.Fatal(err)
		}
	}
	refused, answered := 0, 0
	for refused < beyond || answered < maxStreams {
		f, err := a.ReadFrame()
		if err != nil {
			t.Fatalf("after %d refusals and %d answers: %v", refused, answered, err)
		}
		switch f := f.(type) {
		case *http2.RSTStreamFrame:
			if f.ErrCode != http2.ErrCodeRefusedStream || f.StreamID <= 2*maxStreams-1 {
				t.Fatalf("stream %d: %v", f.StreamID, f.ErrCode)
			}
			if refused++; refused == beyond {
				if !reaches(t, &program.holding, maxStreams) {
					t.Error("the others are not at work")
				}
				close(program.release)
			}
		case *http2.HeadersFrame:
			answered++
		case *http2.GoAwayFrame:
			t.Fatalf("the connection ends: %v %q", f.ErrCode, f.DebugData())
		}
	}
}
