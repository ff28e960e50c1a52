package proxy

import (
	"crypto/tls"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/loop"
)

// The mesh transport: between two proxies, one HTTP/2 connection over TLS 1.3 for each endpoint and worker.
// HTTP requests are its streams; TCP connections are CONNECT streams. Two header fields, which programs can
// neither send nor see, say what HTTP/2 cannot:
const (
	headerPort   = "weft-port"   // service port and the client's protocol: "9080 h1", "9080 h2", "9080 tcp", "9080 tls"; a service that leaves the mesh: "443 h1 default/api"
	headerSource = "weft-source" // NAMESPACE/NAME of the client's workload, for metrics; not proven, so never for policy
)

const (
	handshakeTimeout = 5 * time.Second
	maxMeshConns     = 8 // HTTP/2 connections for each endpoint, opened as streams run out
)

// meshAbuseLimit is higher than for strangers: a peer has proven who it is, and one connection carries the
// requests of many clients, some of whom may cancel a lot.
const meshAbuseLimit = 100_000

var errOverload = errors.New("too many requests wait for the endpoint")

// maxWaiters bounds the requests that wait for a stream of one endpoint.
const maxWaiters = 4096

// openH2 returns a new stream on a connection to the endpoint, connecting if none has room.
func (ep *endpoint) openH2(x *exchange) (*h2stream, error) {
	for {
		for _, c := range ep.conns {
			if c.draining || c.dead != nil || !c.codec.CanOpen() || ep.timing.Streams > 0 && c.open >= ep.timing.Streams {
				continue
			}
			if worn(&ep.timing, c.used, c.born, ep.w.loop.Now()) {
				c.drain() // another is made for those who come
				ep.retire(c)
				return ep.openH2(x)
			}
			c.used++
			st := c.newStream(nil)
			s, err := c.codec.Open(st)
			if err != nil {
				st.abandon()
				continue
			}
			st.s = s
			return st, nil
		}
		if err := ep.await(x); err != nil {
			return nil, err
		}
	}
}

// abandon gives back a stream object that never came to be.
func (st *h2stream) abandon() {
	st.c.open--
	w := st.c.w
	st.passage, st.in = passage{}, st.in[:0]
	w.streams = append(w.streams, st)
}

// await waits for a change: a new connection, which a task of its own makes, or room on one. It ends early when
// the exchange must not wait any longer.
func (ep *endpoint) await(x *exchange) error {
	if len(ep.waiters) >= maxWaiters {
		return errOverload
	}
	if !ep.dialing && len(ep.conns) < maxMeshConns {
		ep.dialing, ep.dialErr = true, nil
		ep.w.loop.Go(ep.dialMore)
	}
	made := ep.dialing
	t := ep.w.loop.Current()
	ep.waiters = append(ep.waiters, t)
	x.parked = t
	for slices.Contains(ep.waiters, t) && !x.gone && !x.expired() {
		ep.w.loop.Park()
	}
	x.parked = nil
	if i := slices.Index(ep.waiters, t); i >= 0 {
		ep.waiters = slices.Delete(ep.waiters, i, i+1)
		return errStopped
	}
	if made {
		return ep.dialErr
	}
	return nil
}

// dialMore makes a connection for those who wait.
func (ep *endpoint) dialMore() {
	c, err := ep.dialH2()
	if err == nil && ep.left {
		c.drain()
		err = errNoEndpoint
	}
	if err == nil {
		ep.conns = append(ep.conns, c)
	}
	ep.dialing, ep.dialErr = false, err
	ep.wakeWaiters()
}

func (ep *endpoint) wakeWaiters() {
	for _, t := range ep.waiters {
		ep.w.loop.Wake(t)
	}
	clear(ep.waiters)
	ep.waiters = ep.waiters[:0]
}

// dialH2 connects and, but for a plain endpoint, proves both identities.
func (ep *endpoint) dialH2() (*h2conn, error) {
	raw, err := ep.connect(ep.timing.ConnectTimeout)
	if err != nil {
		return nil, err
	}
	cfg := h2.Config{Client: true, AbuseLimit: meshAbuseLimit, Pressed: ep.w.pressed}
	if ep.model.Plain {
		return ep.dialPlainH2(raw, cfg)
	}
	if ep.w.e.o.TLS == nil {
		_ = raw.Close()
		return nil, errors.New("this proxy has no identity, so it cannot join the mesh transport")
	}
	tc := ep.w.e.o.TLS.ClientConfig(ep.model.Identity)
	tc.DynamicRecordSizingDisabled = true
	c, err := ep.w.handshake(raw, func(k *wire) *tls.Conn { return tls.Client(k, tc) }, cfg)
	if err != nil {
		ep.unreachable()
		return nil, fmt.Errorf("TLS with %s: %w", ep.model.Address, err)
	}
	c.ep = ep
	c.start(nil)
	c.keepAlive()
	return c, nil
}

// handshake runs TLS between two proxies on a connection and makes it HTTP/2. On failure the connection is
// closed.
func (w *worker) handshake(raw *loop.Conn, start func(*wire) *tls.Conn, cfg h2.Config) (*h2conn, error) {
	t, err := w.secure(raw, start)
	if err != nil {
		return nil, err
	}
	state := t.ConnectionState()
	peer, err := identity.PeerIdentity(&state)
	if err != nil {
		_ = raw.Close()
		return nil, err
	}
	c := newH2(w, raw, t, cfg)
	c.peer = peer
	return c, nil
}

// retire takes a connection out of the choice; its streams finish.
func (ep *endpoint) retire(c *h2conn) {
	for i, have := range ep.conns {
		if have == c {
			ep.conns = append(ep.conns[:i], ep.conns[i+1:]...)
			break
		}
	}
}

// lost is told of a dead connection.
func (ep *endpoint) lost(c *h2conn) {
	ep.retire(c)
	ep.wakeWaiters()
}

// serveMesh accepts the mesh transport: whoever proves an identity of the trust domain may send requests.
func (w *worker) serveMesh(raw *loop.Conn) {
	remote := raw.Remote()
	tc := w.e.server
	c, err := w.handshake(raw, func(k *wire) *tls.Conn { return tls.Server(k, tc) }, h2.Config{ExtendedConnect: true, AbuseLimit: meshAbuseLimit, Pressed: w.pressed})
	if err != nil {
		w.closedDownstream()
		w.refused(remote, identity.Classify(err), err)
		return
	}
	c.origin = &origin{kind: fromMesh, peer: c.peer, peerID: c.peer.String(), remote: remote}
	w.served[c] = struct{}{}
	c.start(nil)
}
