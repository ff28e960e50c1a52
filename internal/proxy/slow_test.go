package proxy

import (
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"
)

// TestSlowHead has a client send a byte of its head every second: it is cut when the head's time is over,
// however often something comes.
func TestSlowHead(t *testing.T) {
	if testing.Short() {
		t.Skip("takes 10 s")
	}
	t.Parallel()
	l := newLab(t)
	at, _ := l.hop(server(t, app()), "http")
	conn, err := net.Dial("tcp", at.String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	began := time.Now()
	cut := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for _, c := range []byte("GET / HTTP/1.1\r\nHost: a\r\nX: " + strings.Repeat("y", 60)) {
			if _, err := conn.Write([]byte{c}); err != nil {
				return
			}
			select {
			case <-cut:
				return
			case <-tick.C:
			}
		}
	})
	_ = conn.SetReadDeadline(began.Add(headTimeout + 10*time.Second))
	answer, err := io.ReadAll(conn)
	close(cut)
	wg.Wait()
	if took := time.Since(began); !strings.HasPrefix(string(answer), "HTTP/1.1 408 ") || took < headTimeout || took > headTimeout+5*time.Second {
		t.Errorf("after %v: %q, %v", took, answer, err)
	}
}
