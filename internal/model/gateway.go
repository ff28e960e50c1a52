package model

import (
	"encoding/json"
	"log/slog"
	"net/netip"
)

// Socket is an address that a gateway listens on, with the listeners that share it.
type Socket struct {
	Address  netip.AddrPort `json:"address"`
	Kind     SocketKind     `json:"kind"`
	Optional bool           `json:"optional,omitempty"` // left out where the system lacks the address, as [::1] without IPv6

	// Listeners share the socket: the one with the most specific Hostname takes a connection (by SNI) or a
	// request (by authority). A TCP socket has one.
	Listeners []Listener `json:"listeners"`
}

// SocketKind says what a socket speaks to its clients.
type SocketKind string

// The kinds of sockets.
const (
	SocketHTTP  SocketKind = "http"  // HTTP/1.1, and HTTP/2 with prior knowledge
	SocketHTTPS SocketKind = "https" // the same under TLS 1.2 or 1.3; HTTP/2 by ALPN
	SocketTCP   SocketKind = "tcp"   // opaque bytes, to the backends of the first rule
	SocketTLS   SocketKind = "tls"   // the same under TLS
)

// TLS reports whether the socket's connections begin with a TLS handshake.
func (k SocketKind) TLS() bool { return k == SocketHTTPS || k == SocketTLS }

// HTTP reports whether the socket's connections carry HTTP.
func (k SocketKind) HTTP() bool { return k == SocketHTTP || k == SocketHTTPS }

// Listener is a listener of a Gateway.
type Listener struct {
	Name         string        `json:"name"`               // "namespace/gateway/listener"
	Hostname     string        `json:"hostname,omitempty"` // "x.y", "*.y" (any name below y), or "" for every name
	Certificates []Certificate `json:"certificates,omitempty"`

	// Rules of the routes attached, in order of precedence between equals; their Hosts are those of both
	// route and listener. When none matches, the answer is 404.
	Rules []Rule `json:"rules,omitempty"`

	// Ordered means that Rules are tried as they stand, after the most specific of their Hosts: see Service.Ordered.
	Ordered bool `json:"ordered,omitempty"`
}

// Certificate is a certificate with its key, both PEM.
type Certificate struct {
	Chain string `json:"chain"`
	Key   Secret `json:"key"`
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
				certs[k] = Certificate{Chain: c.Chain, Key: redacted}
			}
			if len(certs) > 0 {
				l.Certificates = certs
			}
			listeners[j] = l
		}
		socket.Listeners = listeners
		out.Sockets[i] = socket
	}
	if len(s.Sockets) == 0 {
		out.Sockets = nil
	}
	return &out
}
