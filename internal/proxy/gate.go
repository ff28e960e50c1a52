package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// gate is an open socket of a gateway. It stays open over snapshots as long as its address is in them,
// whatever else about it changes, so that no connection is lost.
type gate struct {
	address netip.AddrPort
	ln      *loop.Listener
	current atomic.Pointer[socket] // where handshakes look certificates up

	// TLS for clients, with ALPN for HTTP and without. They live as long as the gate, so that sessions can be
	// resumed over changes of the configuration.
	http, opaque *tls.Config
}

// entry is one worker's view of a gate: what the connections that came in by it are routed by.
type entry struct {
	gate   *gate
	socket *socket
	stop   func() // of accepting
	closed bool   // the gate is gone: connections end with their present exchange
}

// openGates opens the sockets that a configuration has and the engine has not. On failure nothing is open
// that was not before.
func (e *Engine) openGates(c *config) (opened []*gate, err error) {
	for _, s := range c.sockets {
		if e.gates[s.Address] != nil {
			continue
		}
		ln, err := loop.Listen(s.Address)
		switch {
		case err == nil:
		case s.Optional && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
			e.o.Logger.Debug("the system lacks an address", "address", s.Address.String())
			continue
		default:
			closeGates(opened)
			return nil, fmt.Errorf("%s: %w", s.name(), err)
		}
		g := &gate{address: s.Address, ln: ln}
		g.http, g.opaque = g.serverConfig("h2", "http/1.1"), g.serverConfig()
		opened = append(opened, g)
	}
	return opened, nil
}

func (s *socket) name() string {
	if len(s.Listeners) == 0 {
		return "a socket without listeners"
	}
	return "listener " + s.Listeners[0].Name
}

func closeGates(gates []*gate) {
	for _, g := range gates {
		_ = g.ln.Close()
	}
}

// serverConfig is TLS for clients from outside the mesh. Certificates are looked up at each handshake.
func (g *gate) serverConfig(alpn ...string) *tls.Config {
	c := &tls.Config{
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  alpn,
		GetCertificate:              g.certificate,
		DynamicRecordSizingDisabled: true, // what leaves together is gathered into few records
	}
	c.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		ln := g.current.Load().listener(hello.ServerName)
		if ln != nil && ln.challenge != nil && slices.Equal(hello.SupportedProtos, []string{protocolACME}) {
			return ln.challenge, nil
		}
		if ln == nil || !ln.own {
			return nil, nil
		}
		return ln.config(c, hello), nil
	}
	return c
}

var errNoCertificate = errors.New("no listener has a certificate for the server name")

// certificate chooses by server name, then by what the client can verify.
func (g *gate) certificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	ln := g.current.Load().listener(hello.ServerName)
	if ln == nil || len(ln.certificates) == 0 {
		return nil, errNoCertificate
	}
	return &ln.certificates[ln.choose(hello)], nil
}

// adoptGates makes a worker's entries those of its configuration. It runs on the worker's loop.
func (w *worker) adoptGates(gates map[netip.AddrPort]*gate) {
	for address, ent := range w.entries {
		if w.config.sockets[address] == nil {
			w.leave(ent)
			delete(w.entries, address)
		}
	}
	for address, s := range w.config.sockets {
		if ent := w.entries[address]; ent != nil {
			ent.socket = s
			continue
		}
		g := gates[address]
		if g == nil || w.draining {
			continue // an address the system lacks
		}
		ent := &entry{gate: g, socket: s}
		stop, err := w.accept(g.ln, func(raw *loop.Conn) { w.acceptGate(ent, raw) })
		if err != nil {
			w.log.Error("cannot accept connections", "address", address.String(), "error", err)
			continue
		}
		ent.stop = stop
		w.entries[address] = ent
	}
}

// leave stops taking connections by an entry and lets those there are finish.
func (w *worker) leave(ent *entry) {
	ent.stop()
	ent.closed = true
	for s := range w.servers {
		if s.o.entry == ent && !s.busy {
			_ = s.c.raw.Close()
		}
	}
	for c := range w.served {
		if c.origin.entry == ent {
			c.drain()
		}
	}
}

// acceptGate takes a client's connection. Where the client speaks first, it costs neither task nor buffer
// until it does.
func (w *worker) acceptGate(ent *entry, raw *loop.Conn) {
	o := &origin{kind: fromGateway, remote: raw.Remote(), entry: ent}
	if ent.socket.addresses {
		o.local = raw.Local()
	}
	if ent.socket.Kind == model.SocketTCP {
		w.loop.Go(func() {
			if err := w.introduce(raw, o); err != nil {
				w.refused(o.remote, flagBadHandshake, err)
				_ = raw.Close()
				w.closedDownstream()
				return
			}
			w.serveTCP(raw, nil, o, nil)
		})
		return
	}
	s := w.newH1Server(raw, o)
	switch {
	case ent.socket.Kind == model.SocketPassthrough, ent.socket.Kind == model.SocketMixed:
		s.turn = s.begin(s.introduced(s.serveNamed))
	case ent.socket.Kind.TLS():
		s.turn = s.begin(s.introduced(func() { s.serveTLS(ent.socket.Kind, nil) }))
	default:
		s.turn = s.begin(s.introduced(s.serveEither))
	}
	raw.OnReadable(s.turn)
}

// begin returns the first turn of a connection, which finds out what it speaks.
func (s *h1server) begin(first func()) func() {
	return func() {
		s.busy, s.turn = true, s.serve
		first()
	}
}

// serveEither serves HTTP/1.1 or HTTP/2 with prior knowledge, as the first bytes show.
func (s *h1server) serveEither() {
	w, raw := s.w, s.c.raw
	buf := w.loop.Get(loop.SmallBuffer)
	_ = raw.SetReadDeadline(w.loop.Now().Add(headTimeout))
	h := &hearing{w: w, raw: raw, o: s.o, declared: model.HTTP, buf: buf}
	kind, err := h.first(-1)
	_ = raw.SetReadDeadline(time.Time{})
	switch {
	case err != nil:
		w.loop.Put(buf)
		s.close()
	case !maybeHTTP(buf[:h.n]):
		w.refused(s.o.remote, flagBadRequest, errNotHTTP) // who sent this understands no answer of ours
		w.loop.Put(buf)
		s.close()
	case kind == speaksH2:
		delete(w.servers, s)
		w.serveH2Conn(raw, nil, s.o, buf[:h.n])
		w.loop.Put(buf)
	default:
		s.c.buf, s.c.w = buf, h.n
		s.serve()
	}
}

var errNotHTTP = errors.New("the first bytes are not HTTP")

// maybeHTTP reports whether b may be the beginning of a request, however wrong. An empty line before it is
// ignored (RFC 9112, section 2.2).
func maybeHTTP(b []byte) bool {
	b = bytes.TrimPrefix(b, []byte("\r\n"))
	return recognise(b) != opaque || knownMethod(b)
}

// knownMethod reports whether b begins with a method of RFC 9110 or RFC 5789: then an answer may be understood,
// however wrong the rest is.
func knownMethod(b []byte) bool {
	method, _, _ := bytes.Cut(b, []byte(" "))
	switch string(method) {
	case "GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH":
		return true
	}
	return false
}

// serveTLS makes the handshake, of which some bytes may have been read, and serves what was agreed on in it.
func (s *h1server) serveTLS(kind model.SocketKind, hello []byte) {
	w, raw, ent := s.w, s.c.raw, s.o.entry
	tc := ent.gate.http
	if kind == model.SocketTLS {
		tc = ent.gate.opaque
	}
	t, err := w.secure(raw, func(k *wire) *tls.Conn {
		k.unread(hello)
		return tls.Server(k, tc)
	})
	if err != nil {
		w.refused(s.o.remote, flagBadHandshake, err)
		s.close()
		return
	}
	state := t.ConnectionState()
	s.o.sni = state.ServerName
	switch {
	case state.NegotiatedProtocol == protocolACME:
		s.close()
	case kind == model.SocketTLS:
		delete(w.servers, s)
		w.serveTCP(raw, t, s.o, nil)
	case state.NegotiatedProtocol == "h2":
		delete(w.servers, s)
		w.serveH2Conn(raw, t, s.o, nil)
	default:
		s.c.tls = t
		s.serve()
	}
}
