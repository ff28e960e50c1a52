package proxy

import (
	"bufio"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/weft-mesh/weft/internal/model"
)

// stingy is a program of HTTP/2 that allows no stream until open is closed, and answers each with 200.
func stingy(t testing.TB, open <-chan struct{}) netip.AddrPort {
	return rawProgram(t, func(c *net.TCPConn, r *bufio.Reader) {
		_ = c.SetDeadline(time.Now().Add(tunnelPatience))
		if _, err := io.CopyN(io.Discard, r, int64(len(http2.ClientPreface))); err != nil {
			return
		}
		var mu sync.Mutex // of fr's writes
		fr := http2.NewFramer(c, r)
		_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 0})
		gone := make(chan struct{})
		defer close(gone)
		go func() {
			select {
			case <-open:
			case <-gone:
				return
			}
			mu.Lock()
			defer mu.Unlock()
			_ = fr.WriteSettings(http2.Setting{ID: http2.SettingMaxConcurrentStreams, Val: 1000})
		}()
		answer := hpackStatus("200")
		for {
			f, err := fr.ReadFrame()
			if err != nil {
				return
			}
			mu.Lock()
			switch f := f.(type) {
			case *http2.SettingsFrame:
				if !f.IsAck() {
					_ = fr.WriteSettingsAck()
				}
			case *http2.HeadersFrame:
				_ = fr.WriteHeaders(http2.HeadersFrameParam{StreamID: f.StreamID, BlockFragment: answer, EndStream: true, EndHeaders: true})
			}
			mu.Unlock()
		}
	})
}

// hpackStatus is the head of an answer without fields, by the static table or literally.
func hpackStatus(status string) []byte {
	if status == "200" {
		return []byte{0x88}
	}
	return append([]byte{0x08, byte(len(status))}, status...)
}

// TestWaitersForAnEndpoint has more requests wait for an endpoint than may: those beyond get 503 at once, those that
// wait are answered when the endpoint allows it.
func TestWaitersForAnEndpoint(t *testing.T) {
	const connections, each = 5, maxStreams // more than maxWaiters
	open := make(chan struct{})
	l := newLab(t)
	_, at := l.gateway(edgeOf(stingy(t, open), model.HTTP2, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: toWeb()}},
	}), 1)
	var served, refused, answered atomic.Int64
	wrong, flags := make(chan string, connections*each), make(chan string, connections*each)
	var wg sync.WaitGroup
	for range connections {
		a := newAttacker(t, at)
		_ = a.SetDeadline(time.Now().Add(tunnelPatience))
		a.block = headBlock("/")
		for i := range uint32(each) {
			if err := a.open(2*i+1, true); err != nil {
				t.Fatal(err)
			}
		}
		wg.Go(func() {
			table := hpack.NewDecoder(4096, nil)
			for n := 0; n < each; {
				status, flag, err := a.nextAnswer(table)
				switch {
				case err != nil:
					wrong <- err.Error()
					return
				case status == "":
					continue
				case status == "200":
					served.Add(1)
				case status == "503":
					flags <- flag
					refused.Add(1)
				default:
					wrong <- status
				}
				answered.Add(1)
				n++
			}
		})
	}
	// Some are sent before the program's SETTINGS say that none may be (RFC 9113, section 3.4): up to 100 on each of
	// maxMeshConns connections.
	const beyond = connections*each - maxWaiters
	settled := reaches(t, &answered, beyond)
	close(open)
	wg.Wait()
	if !settled {
		t.Errorf("more than %d wait", maxWaiters)
	}
	if len(wrong) > 0 {
		t.Fatalf("%d answers are wrong; the first: %s", len(wrong), <-wrong)
	}
	if least := int64(beyond - 100*maxMeshConns); refused.Load() < least || served.Load()+refused.Load() != connections*each {
		t.Errorf("%d refused, want %d to %d; %d served", refused.Load(), least, beyond, served.Load())
	}
	t.Run("flag", func(t *testing.T) {
		close(flags)
		for flag := range flags {
			if flag != flagOverload {
				t.Fatalf("refused by %s, want %s", flag, flagOverload)
			}
		}
	})
}

// nextAnswer reads a frame; status is empty when it is not the head of an answer.
func (a *attacker) nextAnswer(table *hpack.Decoder) (status, flag string, err error) {
	f, err := a.ReadFrame()
	if err != nil {
		return "", "", err
	}
	switch f := f.(type) {
	case *http2.RSTStreamFrame:
		return "reset " + f.ErrCode.String(), "", nil
	case *http2.HeadersFrame:
		fields, err := table.DecodeFull(f.HeaderBlockFragment())
		for _, field := range fields {
			switch field.Name {
			case ":status":
				status = field.Value
			case failureHeader:
				flag = field.Value
			}
		}
		return status, flag, err
	}
	return "", "", nil
}
