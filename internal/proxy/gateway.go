package proxy

import (
	"cmp"
	"crypto/tls"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// socket is a gateway's socket with the routing tables of its listeners.
type socket struct {
	*model.Socket
	listeners []*gateListener // the most specific host first
	addresses bool            // some rule asks for the addresses of connections
}

// gateListener is a listener with its routing table.
type gateListener struct {
	*model.Listener
	certificates []tls.Certificate
	challenge    *tls.Config // answers the CA of a certificate that is asked for; nil: nothing is asked
	handshakes
	table *route.Table
	rules []*rule
}

// compileSockets checks a gateway's sockets and builds what connections look up.
func (c *config) compileSockets(sockets []model.Socket) error {
	for i := range sockets {
		s := &socket{Socket: &sockets[i]}
		if err := c.place(s); err != nil {
			return err
		}
		for j := range s.Listeners {
			ln, err := c.compileListener(&s.Listeners[j], s.KindOf(&s.Listeners[j]))
			if err != nil {
				return fmt.Errorf("listener %s: %w", s.Listeners[j].Name, err)
			}
			s.listeners, s.addresses = append(s.listeners, ln), s.addresses || ln.table.Addresses()
		}
		slices.SortStableFunc(s.listeners, func(a, b *gateListener) int {
			return cmp.Compare(b.rank(), a.rank())
		})
		if s.Kind.Datagrams() {
			if err := c.resolveDatagrams(s); err != nil {
				return err
			}
		}
	}
	return nil
}

// place files a socket under where it is reached.
func (c *config) place(s *socket) error {
	if s.Mesh {
		return c.compileMeshSocket(s)
	}
	at := c.sockets
	if s.Kind.Datagrams() {
		at = c.udp
	}
	if at[s.Address] != nil {
		return fmt.Errorf("the address %s is there twice", s.Address)
	}
	at[s.Address] = s
	return nil
}

func (c *config) compileListener(m *model.Listener, kind model.SocketKind) (*gateListener, error) {
	ln := &gateListener{Listener: m}
	for _, cert := range m.Certificates {
		pair, err := tls.X509KeyPair([]byte(cert.Chain), []byte(cert.Key))
		if err != nil {
			return nil, fmt.Errorf("certificate: %w", err)
		}
		ln.certificates = append(ln.certificates, pair)
	}
	if err := ln.compileHandshakes(m); err != nil {
		return nil, err
	}
	if c := m.Challenge; c != nil {
		pair, err := tls.X509KeyPair([]byte(c.Chain), []byte(c.Key))
		if err != nil {
			return nil, fmt.Errorf("certificate of a challenge: %w", err)
		}
		ln.challenge = &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{protocolACME}, Certificates: []tls.Certificate{pair}}
	}
	if kind.TLS() && len(ln.certificates) == 0 && !m.ACME {
		return nil, fmt.Errorf("TLS without a certificate")
	}
	var err error
	if ln.table, err = c.table(m.Rules, m.Ordered, model.Requests); err != nil {
		return nil, err
	}
	ln.rules, err = c.resolve(m.Rules, nil)
	return ln, err
}

// protocolACME is agreed on with a CA that looks for a challenge's certificate; the connection ends with the handshake
// (RFC 8737, section 3).
const protocolACME = "acme-tls/1"

// rank orders listeners by how specific their host is: exact, wildcards by length, any.
func (ln *gateListener) rank() int { return route.HostRank(ln.Hostname) }

// takes reports whether the listener is for a host (Gateway API, Listener.hostname).
func (ln *gateListener) takes(host string) bool { return route.HostTakes(ln.Hostname, host) }

// listener returns the listener for a host name, or nil.
func (s *socket) listener(host string) *gateListener {
	for _, ln := range s.listeners {
		if ln.takes(host) {
			return ln
		}
	}
	return nil
}

// routeGateway finds the rule for a gateway's request.
func (x *exchange) routeGateway() *Failure {
	socket := x.o.entry.socket
	x.port = socket.Address.Port()
	return x.routeSocket(socket, x.o.sni)
}

// routeSocket finds the rule for a request that came by a socket; sni is the server name of a connection of bytes.
func (x *exchange) routeSocket(socket *socket, sni string) *Failure {
	if x.opaque {
		return x.routeOpaque(socket, sni)
	}
	ln := socket.listener(route.Host(x.req))
	switch {
	case socket.Kind.ByName() && len(socket.listeners) > 1 && ln != socket.listener(x.o.sni):
		// The connection was made to another host, whose certificate it was given (RFC 9110, section 15.5.20).
		return &Failure{"route", 421, flagNoRoute, fmt.Errorf("the connection was made to another host")}
	case ln == nil || !socket.KindOf(ln.Listener).HTTP():
		return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no listener takes the host")}
	case x.req.Method == "CONNECT" && x.req.Protocol == "":
		return &Failure{"route", 405, flagBadRequest, fmt.Errorf("the gateway makes no tunnels")}
	}
	x.gateway = ln
	i, match, ok := ln.table.Match(x.req, x.port)
	if !ok {
		return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no rule of listener %s matches the request", ln.Name)}
	}
	if !socket.Mesh {
		x.forwarded(socket) // who of the mesh asks is nobody's business outside
	}
	return x.take(ln.rules[i], match)
}

// routeOpaque takes the rule for a connection of bytes: by its server name, where it has one.
func (x *exchange) routeOpaque(s *socket, sni string) *Failure {
	ln := s.listener(sni)
	if ln == nil || len(ln.rules) == 0 {
		return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no route is attached to the listener of port %d", x.port)}
	}
	x.gateway = ln
	if sni == "" {
		if r := x.firstFor(ln.rules, nil); r != nil {
			return x.take(r, -1)
		}
		return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no rule of listener %s is for the addresses of the connection", ln.Name)}
	}
	x.w.sni.Reset()
	x.w.sni.Method, x.w.sni.Authority = "CONNECT", sni
	i, _, ok := x.ruleIn(ln.table, &x.w.sni)
	if !ok {
		return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no rule of listener %s is for the server name %q", ln.Name, sni)}
	}
	return x.take(ln.rules[i], -1)
}

// passesThrough reports whether the client's own TLS goes through a gateway to the endpoint.
func (x *exchange) passesThrough() bool {
	return x.o.entry != nil && x.gateway != nil && x.o.entry.socket.KindOf(x.gateway.Listener) == model.SocketPassthrough
}

// forwarded tells the program behind who asks, and how, in the fields that programs look for.
func (x *exchange) forwarded(s *socket) {
	const forwardedFor, forwardedProto = "x-forwarded-for", "x-forwarded-proto"
	if x.o.client == "" {
		x.o.client = x.o.remote.Addr().String()
	}
	if before := x.req.Get(forwardedFor); before != "" {
		x.req.Set(forwardedFor, before+", "+x.o.client)
	} else {
		x.req.Set(forwardedFor, x.o.client)
	}
	scheme := "http"
	if s.Kind.ByName() {
		scheme = "https"
	}
	x.req.Set(forwardedProto, scheme)
}
