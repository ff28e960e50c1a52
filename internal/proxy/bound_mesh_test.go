package proxy

import (
	"net/http"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestBoundOnConnectionsOfTheMesh has a bound on connections hold between proxies, where HTTP/1.1 requests share one
// connection: a request stands for the connection it would have. One is served, one waits, the third is refused at
// once. That is no fault of the endpoint, which one fault would eject.
func TestBoundOnConnectionsOfTheMesh(t *testing.T) {
	release, arrived := make(chan struct{}), make(chan struct{}, 8)
	p := boundPair(t, func(http.ResponseWriter, *http.Request) {
		arrived <- struct{}{}
		<-release
	})
	codes := make(chan int, 2)
	get := func() {
		code, _, _ := newClient(t, p.at).get("/")
		codes <- code
	}
	go get()
	<-arrived
	go get()
	w := p.client.workers[0]
	waiting := func() (n int) {
		w.loop.Call(func() {
			for _, s := range w.sets {
				if s != nil {
					n += len(s.waiters)
				}
			}
		})
		return n
	}
	eventually(t, "the second request waits", func() bool { return waiting() == 1 })
	for range 3 {
		if code, body, h := newClient(t, p.at).get("/"); code != 503 || h.Get(failureHeader) != flagOverload {
			t.Errorf("the third request: %d %s", code, body)
		}
	}
	if len(arrived) != 0 {
		t.Error("more than one request is at the program")
	}
	close(release)
	for range 2 {
		if code := <-codes; code != 200 {
			t.Errorf("a request within the bound: %d", code)
		}
	}
	<-arrived
	if code, body, _ := newClient(t, p.at).get("/"); code != 200 {
		t.Errorf("afterwards: %d %s", code, body)
	}
}

// boundPair is a pair whose client's proxy may have one connection to the program, and one request that waits.
func boundPair(t *testing.T, program http.HandlerFunc) *pair {
	t.Helper()
	l := newLab(t)
	p := l.pair(server(t, program), model.HTTP)
	s := *p.client.workers[0].config.snapshot
	s.Services = append([]model.Service(nil), s.Services...)
	s.Services[0].Upstream = &model.Upstream{
		Connections: model.Connections{Max: 1, Pending: 1}, Ejection: &model.Ejection{Consecutive5xx: 1, MaxShare: 1},
	}
	l.apply(p.client, &s)
	return p
}
