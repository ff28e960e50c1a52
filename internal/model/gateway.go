package model

import (
	"encoding/json"
	"log/slog"
	"net/netip"
	"slices"
)

// Socket is an address that a gateway listens on, with the listeners that share it.
type Socket struct {
	Address  netip.AddrPort `json:"address"`
	Kind     SocketKind     `json:"kind"`
	Optional bool           `json:"optional,omitempty"` // left out where the system lacks the address, as [::1] without IPv6

	// Mesh means that clients are of the mesh: they reach the port of Address by the mesh's transport, and none is opened.
	Mesh bool `json:"mesh,omitempty"`

	// ProxyProtocol says whose connections begin with a header of the PROXY protocol; nil: nobody's.
	ProxyProtocol *ProxyClients `json:"proxyProtocol,omitempty"`

	// Listeners share the socket: the one with the most specific Hostname takes a connection (by SNI) or a
	// request (by authority). A socket of TCP or UDP has one.
	Listeners []Listener `json:"listeners"`
}

// ProxyClients are the load balancers that say by a header of the PROXY protocol whose connections they pass on.
type ProxyClients struct {
	Trusted []netip.Prefix `json:"trusted"`          // where they are; a connection from there without a header is refused
	Direct  bool           `json:"direct,omitempty"` // connections from elsewhere are served, without header; else they are refused
}

// SocketKind says what a socket speaks to its clients.
type SocketKind string

// The kinds of sockets.
const (
	SocketHTTP  SocketKind = "http"  // HTTP/1.1, and HTTP/2 with prior knowledge
	SocketHTTPS SocketKind = "https" // the same under TLS 1.2 or 1.3; HTTP/2 by ALPN
	SocketTCP   SocketKind = "tcp"   // opaque bytes, to the backends of the first rule
	SocketTLS   SocketKind = "tls"   // the same under TLS

	// SocketPassthrough carries TLS connections without ending them. The server name of the client's hello (RFC 6066,
	// section 3) chooses the listener by Hostname and the rule by Hosts; a connection that none takes is closed. What a
	// service's Upstream says of TLS is not for these connections: they have their own.
	SocketPassthrough SocketKind = "passthrough"

	// SocketMixed has listeners of several kinds under TLS: each says its own. The server name chooses the listener before
	// it is known whether TLS ends here.
	SocketMixed SocketKind = "mixed"

	// SocketUDP carries datagrams, to the backends of the first rule. It has an address space of its own: a socket of
	// another kind may have the same address and port.
	SocketUDP SocketKind = "udp"
)

// Datagrams reports whether the socket carries datagrams and not connections.
func (k SocketKind) Datagrams() bool { return k == SocketUDP }

// TLS reports whether the socket ends TLS, so that its listeners need certificates.
func (k SocketKind) TLS() bool { return k == SocketHTTPS || k == SocketTLS }

// ByName reports whether the server name of a client's hello chooses the listener: sockets of these kinds may be one.
func (k SocketKind) ByName() bool { return k.TLS() || k == SocketPassthrough || k == SocketMixed }

// HTTP reports whether the socket's connections carry HTTP.
func (k SocketKind) HTTP() bool { return k == SocketHTTP || k == SocketHTTPS }

// KindOf returns the kind of one of the socket's listeners.
func (s *Socket) KindOf(ln *Listener) SocketKind {
	if s.Kind == SocketMixed {
		return ln.Kind
	}
	return s.Kind
}

// Add adds a listener of a kind to a socket that has others, all of which the server name chooses if their kinds differ.
func (s *Socket) Add(ln Listener, kind SocketKind) {
	if kind != s.Kind && s.Kind != SocketMixed {
		for i := range s.Listeners {
			s.Listeners[i].Kind = s.Kind
		}
		s.Kind = SocketMixed
	}
	if s.Kind == SocketMixed {
		ln.Kind = kind
	}
	s.Listeners = append(s.Listeners, ln)
}

// Listener is a listener of a Gateway.
type Listener struct {
	Name         string        `json:"name"`               // "namespace/gateway/listener"
	Kind         SocketKind    `json:"kind,omitempty"`     // in a mixed socket; else it is the socket's
	Hostname     string        `json:"hostname,omitempty"` // "x.y", "*.y" (any name below y), or "" for every name
	Certificates []Certificate `json:"certificates,omitempty"`

	// ACME means that the certificate for Hostname, which is exact, is asked for by ACME (RFC 8555) and comes by
	// Managed. Until it is there handshakes fail.
	ACME bool `json:"acme,omitempty"`
	// Challenge answers the CA's TLS-ALPN-01 (RFC 8737).
	Challenge *Certificate `json:"challenge,omitempty"`

	// ClientCA is what certificates of clients are verified by, PEM; "" means that clients are not asked for one.
	ClientCA   string     `json:"clientCA,omitempty"`
	ClientMode ClientMode `json:"clientMode,omitempty"` // "" is ClientRequired
	// ClientCAFile is in place of ClientCA: a file that a mesh's gateway reads from its directory of certificates.
	ClientCAFile string `json:"clientCAFile,omitempty"`
	// ClientChecks are what certificates of clients have to be besides; nil: nothing.
	ClientChecks *ClientChecks `json:"clientChecks,omitempty"`

	Terms *TLSTerms `json:"terms,omitempty"` // of TLS; nil: the defaults

	// Rules of the routes attached, in order of precedence between equals; their Hosts are those of both
	// route and listener. When none matches, the answer is 404.
	Rules []Rule `json:"rules,omitempty"`

	// Ordered means that Rules are tried as they stand, after the most specific of their Hosts: see Service.Ordered.
	Ordered bool `json:"ordered,omitempty"`
}

// ClientMode says what becomes of clients without a valid certificate (Gateway API, FrontendValidationModeType).
type ClientMode string

// The modes of client certificates.
const (
	ClientRequired ClientMode = "required" // the handshake fails
	ClientOptional ClientMode = "optional" // they are served; the certificate, valid or not, is only asked for
	ClientIfGiven  ClientMode = "ifGiven"  // they are served without one; with one that is not valid the handshake fails
	ClientAny      ClientMode = "any"      // they need a certificate, which nobody verifies
)

// Verifies reports whether certificates of clients are verified, for which there has to be a CA.
func (m ClientMode) Verifies() bool { return m == "" || m == ClientRequired || m == ClientIfGiven }

// Certificate is a certificate with its key, both PEM: as text, or as the names of files that a mesh's gateway reads
// from its own directory of certificates.
type Certificate struct {
	Chain string `json:"chain,omitempty"`
	Key   Secret `json:"key,omitempty"`

	ChainFile string `json:"chainFile,omitempty"`
	KeyFile   string `json:"keyFile,omitempty"`

	// Of a listener: what clients that are shown this certificate are verified by, in place of Listener.ClientCA.
	ClientCA     string `json:"clientCA,omitempty"`
	ClientCAFile string `json:"clientCAFile,omitempty"`
}

// Secret is text that must not reach a log. Printing it shows that there is one; its JSON form is the text,
// for the pipe between `weft gateway` and its proxy: whoever writes JSON for people calls Snapshot.Redacted.
type Secret string

// redacted stands for a secret where it is printed.
const redacted = "[secret]"

// String hides the secret.
func (s Secret) String() string {
	if s == "" {
		return ""
	}
	return redacted
}

// GoString hides the secret from %#v.
func (s Secret) GoString() string { return s.String() }

// LogValue hides the secret from slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalJSON writes the secret itself: see Secret.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(string(s)) }

// Redacted returns a copy without private keys, fit to be shown.
func (s *Snapshot) Redacted() *Snapshot {
	out := *s
	out.Sockets = make([]Socket, len(s.Sockets))
	for i, socket := range s.Sockets {
		listeners := make([]Listener, len(socket.Listeners))
		for j, l := range socket.Listeners {
			certs := make([]Certificate, len(l.Certificates))
			for k, c := range l.Certificates {
				if c.Key != "" {
					c.Key = redacted
				}
				certs[k] = c
			}
			if len(certs) > 0 {
				l.Certificates = certs
			}
			if l.Challenge != nil {
				l.Challenge = &Certificate{Chain: l.Challenge.Chain, Key: redacted}
			}
			l.Rules = redactedRules(l.Rules)
			listeners[j] = l
		}
		socket.Listeners = listeners
		out.Sockets[i] = socket
	}
	if len(s.Sockets) == 0 {
		out.Sockets = nil
	}
	out.Services = make([]Service, len(s.Services))
	for i, service := range s.Services {
		service.Upstream, service.Rules = service.Upstream.redacted(), redactedRules(service.Rules)
		out.Services[i] = service
	}
	if len(s.Services) == 0 {
		out.Services = nil
	}
	if c := s.ClientCertificate; c != nil {
		out.ClientCertificate = &Certificate{Chain: c.Chain, Key: redacted}
	}
	if len(s.Secrets) > 0 {
		out.Secrets = make(map[string]Certificate, len(s.Secrets))
		for name, c := range s.Secrets {
			out.Secrets[name] = Certificate{Chain: c.Chain, Key: redacted}
		}
	}
	return &out
}

// redacted returns a copy without the private key of the certificate that endpoints are shown.
func (u *Upstream) redacted() *Upstream {
	return u.withTLS(func(t *UpstreamTLS) bool { return t.Certificate != nil }, func(t *UpstreamTLS) {
		t.Certificate = &Certificate{Chain: t.Certificate.Chain, Key: redacted}
	})
}

// redactedRules returns rules whose backends are redacted; rules itself when there is nothing to hide.
func redactedRules(rules []Rule) []Rule {
	hides := func(b Backend) bool { return b.Upstream.redacted() != b.Upstream }
	if !slices.ContainsFunc(rules, func(r Rule) bool { return slices.ContainsFunc(r.Backends, hides) }) {
		return rules
	}
	out := slices.Clone(rules)
	for i := range out {
		out[i].Backends = slices.Clone(out[i].Backends)
		for j := range out[i].Backends {
			out[i].Backends[j].Upstream = out[i].Backends[j].Upstream.redacted()
		}
	}
	return out
}
