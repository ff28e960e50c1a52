package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/balance"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

const (
	connectTimeout = 3 * time.Second
	idleUpstream   = 60 * time.Second // how long an unused connection is kept
	maxIdle        = 128              // HTTP/1.1 connections kept for each endpoint
)

// endpointKey is what makes two endpoints of different snapshots the same.
type endpointKey struct {
	id       string
	address  netip.AddrPort
	plain    bool
	protocol model.Protocol
	own      string // see pool.own
	tls      string // what its service says of TLS to it: services that share an address may differ
}

func keyOf(m *model.Endpoint) endpointKey {
	return endpointKey{id: m.ID, address: m.Address, plain: m.Plain, protocol: m.Protocol}
}

// endpoint is one worker's view of an endpoint: its connections, load and health.
type endpoint struct {
	w     *worker
	model *model.Endpoint
	key   endpointKey
	http2 bool // plain: speaks HTTP/2 with prior knowledge

	inflight int
	idle     []*h1conn // most recently used last
	conns    []*h2conn // usable HTTP/2 connections
	dialing  bool      // an HTTP/2 connection is being made
	waiters  []*loop.Task
	dialErr  error

	proxyHeader int               // plain: version of the PROXY protocol; 0: none
	tls         *upstreamTLS      // plain: nil without TLS
	timing      model.Connections // of the service
	latency     balance.EWMA
	checker     *checker  // nil: not looked at, or by another loop
	sick        bool      // fails its health checks
	failures    int       // consecutive failures to connect
	retryAt     time.Time // not picked before, while others are there
	pausedUntil time.Time // as long it asked to be left alone: see pause.go
	pausedBy    int       // the status that it asked with
	series      map[seriesKey]*telemetry.Series
	used        time.Time // when the pool was last given a connection back
	left        bool      // no longer configured: closes as it falls idle
}

func newEndpoint(w *worker, m *model.Endpoint) *endpoint {
	http2 := m.Plain && (m.Protocol == model.HTTP2 || m.Protocol == model.GRPC)
	ep := &endpoint{w: w, http2: http2}
	ep.adopt(m, nil, nil)
	return ep
}

// adopt takes over what a snapshot says of the endpoint, and up of connections to it.
func (ep *endpoint) adopt(m *model.Endpoint, svc *service, up *model.Upstream) {
	ep.model = m
	ep.series = nil // rules and services may have gone
	ep.timing = model.Connections{}
	var t *upstreamTLS
	if svc != nil {
		t = svc.tlsFor(m)
		if up != nil {
			ep.timing = up.Connections
		}
	}
	ep.proxyHeader = 0
	if !m.Plain {
		t = nil
	} else if svc != nil && svc.Upstream != nil {
		ep.proxyHeader = svc.Upstream.ProxyHeader
	}
	switch {
	case (t == nil) != (ep.tls == nil) || t != nil && !reflect.DeepEqual(t.model, ep.tls.model):
		ep.tls = t
		ep.closeIdle() // what is open was made otherwise
		for _, c := range slices.Clone(ep.conns) {
			c.drain()
			ep.retire(c)
		}
	}
	ep.timing.ConnectTimeout = cmp.Or(ep.timing.ConnectTimeout, connectTimeout)
	ep.timing.Idle = cmp.Or(ep.timing.Idle, idleUpstream)
	for _, c := range ep.conns {
		c.keepAlive()
	}
}

func contains(list []*endpoint, ep *endpoint) bool {
	for _, e := range list {
		if e == ep {
			return true
		}
	}
	return false
}

func (ep *endpoint) serves(port uint16) bool {
	if ep.model.Draining {
		return false
	}
	if len(ep.model.Ports) == 0 {
		return true
	}
	for _, p := range ep.model.Ports {
		if p == port {
			return true
		}
	}
	return false
}

// open returns a stream to the endpoint for an exchange, parking while it connects, as long as the exchange may
// wait. reused tells that the connection has carried exchanges before, and so may have been closed by the peer
// meanwhile.
func (ep *endpoint) open(x *exchange, fresh bool) (s stream, reused bool, err error) {
	tunnel := x.tunnelFor(ep)
	if ep.model.Plain && x.opaque && tunnel == nil {
		s, err := ep.dialBytes(x)
		if err != nil {
			return nil, false, err
		}
		return s, false, nil
	}
	if ep.model.Plain && !ep.speaksHTTP2(x) {
		if fresh = fresh || tunnel != nil; !fresh {
			if c := ep.takeIdle(); c != nil {
				return c, true, nil
			}
		}
		place, free, err := ep.place(x, fresh)
		if err != nil || free != nil {
			return free, free != nil, err
		}
		c, err := ep.dialH1(x)
		if err != nil {
			place.end()
			return nil, false, err
		}
		c.lease = place
		return c, false, nil
	}
	var place lease
	if x.boundAsConnection(ep) {
		if place, _, err = ep.place(x, true); err != nil {
			return nil, false, err
		}
	}
	st, err := ep.openH2(x)
	if err != nil {
		place.end()
		return nil, false, err
	}
	st.lease = place
	return st, true, nil
}

// speaksHTTP2 reports whether a plain endpoint is spoken to by HTTP/2: as it declares, or as the client does. Health checks
// and questions have no client.
func (ep *endpoint) speaksHTTP2(x *exchange) bool {
	if ep.timing.ClientProtocol && x.o.kind <= fromMirror {
		return x.down.HTTP2()
	}
	return ep.http2
}

// dialBytes connects for opaque bytes.
func (ep *endpoint) dialBytes(x *exchange) (*rawStream, error) {
	place, _, err := ep.place(x, true)
	if err != nil {
		return nil, err
	}
	raw, err := ep.connect(x.patience())
	if err != nil {
		place.end()
		return nil, err
	}
	if err = ep.announce(x, raw); err != nil {
		place.end()
		return nil, err
	}
	var t *secured
	if !x.passesThrough() {
		if t, err = ep.dialTLS(raw, forBytes); err != nil {
			place.end()
			return nil, err
		}
	}
	s := newRawStream(ep.w, raw, t, nil)
	s.lease = place
	return s, nil
}

// connect makes a connection within a time and keeps account of failures.
func (ep *endpoint) connect(within time.Duration) (*loop.Conn, error) {
	raw, err := ep.w.loop.Dial(ep.model.Address, within)
	if err != nil {
		ep.unreachable()
		return nil, err
	}
	ep.failures, ep.retryAt = 0, time.Time{}
	ep.tune(raw)
	return raw, nil
}

// unreachable keeps the endpoint out of the choice for a time that doubles: 50 ms to 10 s.
func (ep *endpoint) unreachable() {
	const first, most = 50 * time.Millisecond, 10 * time.Second
	delay := min(first<<min(ep.failures, 8), most)
	ep.failures++
	ep.retryAt = ep.w.loop.Now().Add(delay)
}

func (ep *endpoint) dialH1(x *exchange) (*h1conn, error) {
	raw, err := ep.connect(x.patience())
	if err != nil {
		return nil, err
	}
	if err := ep.announce(x, raw); err != nil {
		return nil, err
	}
	t, err := ep.dialTLS(raw, forHTTP1)
	if err != nil {
		return nil, err
	}
	p := &pooled{ep: ep, born: ep.w.loop.Now()}
	c := &h1conn{loop: ep.w.loop, raw: raw, tls: t, client: true}
	p.c, p.broke = c, p.onReadable
	c.finished = p.finished
	c.begin()
	return c, nil
}

// pooled is an HTTP/1.1 connection's life in its endpoint's pool.
type pooled struct {
	ep    *endpoint
	c     *h1conn
	broke func()
	born  time.Time
	uses  int
}

// finished takes the connection back after an exchange, or closes it.
func (p *pooled) finished(c *h1conn) {
	p.uses++
	if !c.reusable() || c.r < c.w || p.ep.left || p.ep.proxyHeader > 0 || len(p.ep.idle) >= maxIdle || worn(&p.ep.timing, p.uses, p.born, p.ep.w.loop.Now()) {
		c.rest()
		_ = c.raw.Close()
		c.lease.end()
		return
	}
	c.rest()
	c.begin()
	p.ep.used = p.ep.w.loop.Now()
	c.raw.OnReadable(p.broke)
	p.ep.idle = append(p.ep.idle, c)
	if c.lease.set != nil {
		c.lease.set.wakeOne()
	}
}

// onReadable runs when an idle connection has something to say: its end, or bytes nobody asked for.
func (p *pooled) onReadable() {
	for i, c := range p.ep.idle {
		if c == p.c {
			p.ep.idle = append(p.ep.idle[:i], p.ep.idle[i+1:]...)
			break
		}
	}
	_ = p.c.raw.Close()
	p.c.lease.end()
}

// takeIdle returns the connection used last; those that ended meanwhile are skipped.
func (ep *endpoint) takeIdle() *h1conn {
	for n := len(ep.idle); n > 0; n = len(ep.idle) {
		c := ep.idle[n-1]
		if !c.raw.CancelReadable() {
			// Its end has been seen: onReadable is about to run and takes it out.
			ep.idle = ep.idle[:n-1]
			continue
		}
		ep.idle[n-1] = nil
		ep.idle = ep.idle[:n-1]
		return c
	}
	return nil
}

// sweep closes connections that have been idle too long: the oldest are at the front.
func (ep *endpoint) sweep(now time.Time) {
	if n := len(ep.idle); n > 0 && ep.inflight == 0 && now.Sub(ep.used) > ep.timing.Idle {
		ep.closeIdle()
	}
	if len(ep.conns) > 1 && ep.inflight == 0 && len(ep.waiters) == 0 {
		for _, c := range append([]*h2conn(nil), ep.conns[1:]...) {
			c.drain()
			ep.retire(c)
		}
	}
}

func (ep *endpoint) closeIdle() {
	for c := ep.takeIdle(); c != nil; c = ep.takeIdle() {
		_ = c.raw.Close()
		c.lease.end()
	}
}

// leave ends an endpoint that is no longer configured: what is in flight finishes.
func (ep *endpoint) leave() {
	ep.left = true
	ep.check(nil, 0)
	ep.closeIdle()
	for _, c := range append([]*h2conn(nil), ep.conns...) {
		c.drain()
	}
	ep.conns = nil
}

var errNoEndpoint = errors.New("no endpoint")

// describe names an endpoint for messages: its ID, which is no address.
func (ep *endpoint) describe() string { return fmt.Sprintf("endpoint %s", ep.model.ID) }
