package proxy

import (
	"bytes"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/model"
)

// attacker is a raw HTTP/2 client.
type attacker struct {
	*rawConn
	*http2.Framer
	block []byte // a GET
}

func newAttacker(t *testing.T, at netip.AddrPort, settings ...http2.Setting) *attacker {
	t.Helper()
	a := &attacker{rawConn: dialRaw(t, at)}
	a.Framer = http2.NewFramer(a.TCPConn, a.r)
	a.rawConn.send(http2.ClientPreface)
	if err := a.WriteSettings(settings...); err != nil {
		t.Fatal(err)
	}
	a.block = headBlock("/big")
	return a
}

func headBlock(path string, more ...hpack.HeaderField) []byte {
	var b bytes.Buffer
	e := hpack.NewEncoder(&b)
	for _, f := range append([]hpack.HeaderField{
		{Name: ":method", Value: "GET"},
		{Name: ":scheme", Value: "http"},
		{Name: ":authority", Value: "web"},
		{Name: ":path", Value: path},
	}, more...) {
		_ = e.WriteField(f)
	}
	return b.Bytes()
}

func (a *attacker) open(id uint32, end bool) error {
	return a.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: a.block, EndStream: end, EndHeaders: true})
}

// TestHTTP2FloodsAtTheGateway: each attack ends the connection in bounded memory, and others are served.
func TestHTTP2FloodsAtTheGateway(t *testing.T) {
	const many = 50_000
	stream := func(i int) uint32 { return uint32(2*i + 1) }
	for name, step := range map[string]func(a *attacker, i int) error{
		"rapid reset": func(a *attacker, i int) error {
			if err := a.open(stream(i), true); err != nil {
				return err
			}
			return a.WriteRSTStream(stream(i), http2.ErrCodeCancel)
		},
		"made you reset": func(a *attacker, i int) error {
			if err := a.open(stream(i), true); err != nil {
				return err
			}
			return a.WriteRawFrame(http2.FrameWindowUpdate, 0, stream(i), make([]byte, 4)) // increment 0
		},
		"stream window overflow": func(a *attacker, i int) error {
			if err := a.open(stream(i), true); err != nil {
				return err
			}
			return a.WriteWindowUpdate(stream(i), 1<<31-1)
		},
		"CONTINUATION": func(a *attacker, i int) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block})
			}
			return a.WriteContinuation(1, false, []byte("\x00\x01a\x01b"))
		},
		"empty CONTINUATION": func(a *attacker, i int) error {
			if i == 0 {
				return a.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: a.block})
			}
			return a.WriteContinuation(1, false, nil)
		},
		"empty DATA": func(a *attacker, i int) error {
			if i == 0 {
				return a.open(1, false)
			}
			return a.WriteData(1, false, nil)
		},
		"SETTINGS": func(a *attacker, i int) error { return a.WriteSettings() },
		"PING":     func(a *attacker, i int) error { return a.WritePing(false, [8]byte{1}) },
		"connection window overflow": func(a *attacker, i int) error {
			return a.WriteWindowUpdate(0, 1<<31-1)
		},
		"window updates": func(a *attacker, i int) error { return a.WriteWindowUpdate(0, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			l := newLab(t)
			at := l.shape("gateway", server(t, app()), model.HTTP)
			a := newAttacker(t, at)
			before := heap()
			go func() { _, _ = io.Copy(io.Discard, a.r) }() // reads, so that only the flood counts
			var err error
			n := 0
			for began := time.Now(); err == nil && (n < many || time.Since(began) < 5*time.Second); n++ {
				err = step(a, n)
			}
			if err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("not cut after %d steps: %v", n, err)
			}
			stillServes(t, at)
			if grown := heap() - before; grown > 16<<20 {
				t.Errorf("%d MiB more in use", grown>>20)
			}
		})
	}
}

func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func stillServes(t *testing.T, at netip.AddrPort) {
	t.Helper()
	for _, c := range []*http.Client{h1Client(t), h2Client(t)} {
		if resp, got := do(t, c, "POST", "http://"+at.String()+"/echo", strings.NewReader("x")); resp.StatusCode != 200 || got != "x" {
			t.Errorf("another client gets %s %q", resp.Status, got)
		}
	}
}

// TestHPACKBomb refers many times to one large field: 431 or the end, and not the memory it unfolds to.
func TestHPACKBomb(t *testing.T) {
	l := newLab(t)
	at := l.shape("gateway", server(t, app()), model.HTTP)
	a := newAttacker(t, at)
	a.block = headBlock("/", hpack.HeaderField{Name: "x", Value: strings.Repeat("a", 3000)})
	a.block = append(a.block, bytes.Repeat([]byte{0x80 | 62}, 16_000-len(a.block))...) // 40 MB unfolded
	before := heap()
	if err := a.open(1, true); err != nil {
		t.Fatal(err)
	}
	for {
		f, err := a.ReadFrame()
		if err != nil {
			var op *net.OpError
			if errors.As(err, &op) && op.Timeout() {
				t.Error("neither answered nor cut")
			}
			break
		}
		if h, ok := f.(*http2.HeadersFrame); ok {
			fields, _ := hpack.NewDecoder(4096, nil).DecodeFull(h.HeaderBlockFragment())
			if len(fields) == 0 || fields[0].Value != "431" {
				t.Errorf("answered with %v", fields)
			}
			break
		}
	}
	stillServes(t, at)
	if grown := heap() - before; grown > 16<<20 {
		t.Errorf("%d MiB more in use", grown>>20)
	}
}

// TestSlowReaders: clients that take nothing of large answers hold a bounded share of memory.
func TestSlowReaders(t *testing.T) {
	for _, window := range []uint32{0, 1 << 30} {
		l := newLab(t)
		at := l.shape("gateway", server(t, app()), model.HTTP)
		before := heap()
		a := newAttacker(t, at, http2.Setting{ID: http2.SettingInitialWindowSize, Val: window})
		_ = a.WriteWindowUpdate(0, 1<<30)
		for i := range 50 { // 200 MB
			if err := a.open(uint32(2*i+1), true); err != nil {
				t.Fatal(err)
			}
		}
		other := h1Client(t)
		for deadline := time.Now().Add(300 * time.Millisecond); time.Now().Before(deadline); {
			if resp, _ := do(t, other, "GET", "http://"+at.String()+"/echo", nil); resp.StatusCode != 200 {
				t.Fatal(resp.Status)
			}
		}
		if grown := heap() - before; grown > 32<<20 {
			t.Errorf("window %d: %d MiB more in use", window, grown>>20)
		}
	}
}
