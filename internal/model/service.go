package model

import (
	"fmt"
	"net/netip"
	"strings"
)

// ServiceName identifies a service within a mesh. Its text form is "namespace/name".
type ServiceName struct {
	Namespace string
	Name      string
}

// String returns "namespace/name".
func (n ServiceName) String() string { return n.Namespace + "/" + n.Name }

// IsZero reports whether the name is unset.
func (n ServiceName) IsZero() bool { return n == ServiceName{} }

// MarshalText writes the text form, so a ServiceName can be a JSON string and a JSON map key.
func (n ServiceName) MarshalText() ([]byte, error) {
	if n.IsZero() {
		return nil, nil
	}
	return []byte(n.String()), nil
}

// UnmarshalText reads the text form.
func (n *ServiceName) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*n = ServiceName{}
		return nil
	}
	ns, name, ok := strings.Cut(string(b), "/")
	if !ok || ns == "" || name == "" || strings.Contains(name, "/") {
		return fmt.Errorf("service name %q is not namespace/name", clip(string(b), 128))
	}
	*n = ServiceName{Namespace: ns, Name: name}
	return nil
}

// Protocol says what a port speaks.
type Protocol string

// The protocols of a port. Auto means: found out from the first bytes, once.
const (
	Auto  Protocol = ""
	HTTP  Protocol = "http"  // HTTP/1.1
	HTTP2 Protocol = "http2" // HTTP/2 with prior knowledge
	GRPC  Protocol = "grpc"  // gRPC, which is HTTP2 with its own status
	TCP   Protocol = "tcp"   // opaque bytes; the server may speak first

	// UDP is of datagrams. Gateways alone carry them, to endpoints outside the mesh. ParseProtocol does not know it: it
	// says what is in a connection.
	UDP Protocol = "udp"
)

// ParseProtocol reads a protocol as users write it ("" is Auto).
func ParseProtocol(s string) (Protocol, error) {
	switch p := Protocol(strings.ToLower(s)); p {
	case Auto, HTTP, HTTP2, GRPC, TCP:
		return p, nil
	case "auto":
		return Auto, nil
	case "h2c", "h2", "kubernetes.io/h2c":
		return HTTP2, nil
	case "http1", "http/1.1", "https", "kubernetes.io/ws", "kubernetes.io/wss": // TLS is a policy of its own; a WebSocket begins as HTTP/1.1 (KEP-3726)
		return HTTP, nil
	}
	return Auto, fmt.Errorf("unknown protocol %q; known are http, http2, grpc, tcp, auto", clip(s, 40))
}

// Service is a name that programs call, with everything its clients' proxies need.
type Service struct {
	Name  ServiceName `json:"name"`
	VIP   netip.Addr  `json:"vip,omitzero"` // the address the name resolves to; zero if it has none
	Ports []Port      `json:"ports,omitempty"`

	// Rules route requests to the service, in order of precedence between equals. None means: to the
	// service itself. When there are rules and none matches, the answer is 404 (GEP-1294).
	Rules []Rule `json:"rules,omitempty"`

	// Ordered means that Rules are tried as they stand and the first that matches takes the request, in place of
	// the order of precedence.
	Ordered bool `json:"ordered,omitempty"`

	Policy    *Policy    `json:"policy,omitempty"`   // of requests for the service
	Upstream  *Upstream  `json:"upstream,omitempty"` // of its endpoints
	Endpoints []Endpoint `json:"endpoints,omitempty"`
}

// Port is a port a service is called on.
type Port struct {
	Number   uint16   `json:"number"`
	Protocol Protocol `json:"protocol,omitempty"`
}

// Port returns the service's port of that number for connections.
func (s *Service) Port(number uint16) (Port, bool) {
	for _, p := range s.Ports {
		if p.Number == number && p.Protocol != UDP {
			return p, true
		}
	}
	return Port{}, false
}

// HasDatagrams reports whether the service has a port of that number for datagrams. One for connections may have the
// same number.
func (s *Service) HasDatagrams(number uint16) bool {
	for _, p := range s.Ports {
		if p.Number == number && p.Protocol == UDP {
			return true
		}
	}
	return false
}

// Endpoint is one instance of a service.
type Endpoint struct {
	ID       string            `json:"id"`                 // unique in the mesh and stable for the instance's life
	Address  netip.AddrPort    `json:"address"`            // its sidecar's mesh listener, or the program itself when Plain
	Host     string            `json:"host,omitempty"`     // "name:port" in place of Address: the proxy looks the name up, and there is an endpoint for each address it has
	OneHost  bool              `json:"oneHost,omitempty"`  // Host: for one of its addresses only
	Identity Identity          `json:"identity,omitzero"`  // who must answer there
	Plain    bool              `json:"plain,omitempty"`    // outside the mesh: no TLS, no mesh transport
	Protocol Protocol          `json:"protocol,omitempty"` // of a plain endpoint; Auto is HTTP/1.1; one with UDP takes datagrams and nothing else
	Labels   map[string]string `json:"labels,omitempty"`   // "version" among them
	Ports    []uint16          `json:"ports,omitempty"`    // service ports it serves; none means all
	Draining bool              `json:"draining,omitempty"` // takes no new work
	Locality string            `json:"locality,omitempty"` // "region/zone/subzone", cut where it is not known
	Weight   uint32            `json:"weight,omitempty"`   // share among the endpoints; 1 when 0
}

// Place is where the endpoint is, in words: its address, or the name that stands for it.
func (e *Endpoint) Place() string {
	if e.Host != "" {
		return e.Host
	}
	return e.Address.String()
}

// LabelVersion is the label that tells versions of a service apart.
const LabelVersion = "version"
