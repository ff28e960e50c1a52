package bookinfo_test

import (
	"context"
	"errors"
	"net"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/weft-mesh/weft/samples/bookinfo/details"
	"github.com/weft-mesh/weft/samples/bookinfo/productpage"
	"github.com/weft-mesh/weft/samples/bookinfo/ratings"
	"github.com/weft-mesh/weft/samples/bookinfo/reviews"
)

// lab is the four services on a network of pipes, so that synctest's clock drives all their timeouts.
type lab struct {
	t     *testing.T
	mu    sync.Mutex
	hosts map[string]*pipeListener
	seen  map[string][]http.Header // headers each service received
	tr    *http.Transport
}

type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error   { l.once.Do(func() { close(l.done) }); return nil }
func (l *pipeListener) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func newLab(t *testing.T) *lab {
	l := &lab{t: t, hosts: map[string]*pipeListener{}, seen: map[string][]http.Header{}}
	l.tr = &http.Transport{DialContext: l.dial}
	return l
}

func (l *lab) dial(ctx context.Context, _, addr string) (net.Conn, error) {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	ln := l.hosts[host]
	l.mu.Unlock()
	if ln == nil {
		return nil, errors.New("no such host " + host)
	}
	ours, theirs := net.Pipe()
	select {
	case ln.conns <- theirs:
		return ours, nil
	case <-ln.done:
		return nil, errors.New("connection refused")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// serve puts a handler on the network under a name.
func (l *lab) serve(name string, h http.Handler) {
	ln := &pipeListener{conns: make(chan net.Conn), done: make(chan struct{})}
	l.mu.Lock()
	l.hosts[name] = ln
	l.mu.Unlock()
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		l.mu.Lock()
		l.seen[name] = append(l.seen[name], r.Header.Clone())
		l.mu.Unlock()
		h.ServeHTTP(w, r)
	})}
	go srv.Serve(ln)
	l.t.Cleanup(func() {
		l.tr.CloseIdleConnections()
		srv.Close()
	})
}

// received returns the headers of the last request a service got.
func (l *lab) received(name string) http.Header {
	l.mu.Lock()
	defer l.mu.Unlock()
	if n := len(l.seen[name]); n > 0 {
		return l.seen[name][n-1]
	}
	return nil
}

func (l *lab) calls(name string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.seen[name])
}

func (l *lab) client() *http.Client {
	return &http.Client{
		Transport:     l.tr,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// bookinfo serves the whole application with that version of reviews and those ratings.
func (l *lab) bookinfo(version string, o ratings.Options) {
	l.serve("details", details.New())
	rt, err := ratings.New(o)
	if err != nil {
		l.t.Fatal(err)
	}
	l.serve("ratings", rt.Handler())
	l.reviews(version)
	l.page()
}

func (l *lab) reviews(version string) {
	rv, err := reviews.New(reviews.Options{
		Version: version, Ratings: "http://ratings:9080", Pod: "reviews-" + version, Client: l.client(),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.serve("reviews", rv.Handler())
}

func (l *lab) page() {
	p, err := productpage.New(productpage.Options{
		Details: "http://details:9080", Reviews: "http://reviews:9080", Ratings: "http://ratings:9080",
		Pod: "page", Client: l.client(),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	l.serve("productpage", p.Handler())
}

// inLab runs a test on the fake network and clock.
func inLab(t *testing.T, f func(*testing.T, *lab)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) { f(t, newLab(t)) })
}
