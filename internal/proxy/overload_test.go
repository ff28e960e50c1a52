package proxy

import (
	"io"
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestBufferedBound has a program not read what it is sent. New requests are refused as long as too much waits
// for it, and taken again when it has gone on.
func TestBufferedBound(t *testing.T) {
	l := newLab(t)
	blocked, release := make(chan struct{}, 1), make(chan struct{})
	backend := server(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/block" {
			blocked <- struct{}{}
			<-release
		}
		_, _ = io.Copy(io.Discard, r.Body)
	}))
	e := l.run(Options{Node: "gateway", MaxBuffered: 64 << 10})
	l.apply(e, edgeOf(backend, model.HTTP, model.Socket{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "http", Rules: toWeb()}},
	}))
	url := "http://" + e.Sockets()[loopback].String()
	done := make(chan int, 1)
	content, more := io.Pipe()
	go func() {
		resp, err := h2Client(t).Post(url+"/block", "text/plain", content)
		if err != nil {
			done <- 0
			return
		}
		_ = resp.Body.Close()
		done <- resp.StatusCode
	}()
	select {
	case <-blocked:
	case code := <-done:
		t.Fatalf("the request was answered %d before it reached the program", code)
	}
	go func() {
		// More than the sockets between take: the rest waits in the proxy, up to the stream's window. Not before the
		// request is on its way, which would else be one too many itself.
		_, _ = more.Write(make([]byte, 32<<20))
		_ = more.Close()
	}()
	status := func() (int, string) {
		resp, _ := do(t, h1Client(t), "GET", url+"/", nil)
		return resp.StatusCode, resp.Header.Get("weft-failure")
	}
	deadline := time.Now().Add(30 * time.Second)
	for {
		if code, flag := status(); code == 503 && flag == flagOverload {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("a request is taken though too much waits")
		}
	}
	close(release)
	if code := <-done; code != 200 {
		t.Errorf("the request that waited: %d", code)
	}
	for {
		if code, _ := status(); code == 200 {
			return
		}
		if time.Now().After(deadline.Add(5 * time.Second)) {
			t.Fatal("requests are refused for ever")
		}
	}
}
