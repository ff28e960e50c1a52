package istio

import (
	"net/netip"

	"github.com/weft-mesh/weft/internal/model"
)

// Host is a host as written, in lower case: a service, a DNS name, "*." and one, or "*".
type Host struct {
	Name string
	At   Position
}

// Mesh is the reserved name that stands for all sidecars in a list of gateways.
const Mesh = "mesh"

// VirtualService is a checked VirtualService.
type VirtualService struct {
	Namespace string
	Hosts     []Host   // none of one that others delegate to
	Gateways  []string // Mesh, or "namespace/name"
	ExportTo  []string // namespaces whose clients it is for; nil is all
	HTTP      []HTTPRoute
	Streams   []StreamRoute // in order: those of TLS, then those of TCP
}

// HTTPRoute is a rule before its hosts are resolved.
type HTTPRoute struct {
	Rule     model.Rule // Backends and Filters.Mirrors have weights and shares, but no services yet
	Gateways [][]string // for each of Rule.Matches; nil: those of the VirtualService. One for a rule without matches
	Backends []Destination
	Mirrors  []Destination
	Delegate *Delegate

	rewriteURI    string // replaces what the match asked for
	prefixRewrite string // the same in a redirect
	derivePort    bool   // the redirect keeps the request's port

	said said // what the document says itself, so that a delegate's silence can be told from its word
}

// said tells which fields a route was written with.
type said struct{ retries, timeout bool }

// Delegate names the VirtualService whose routes stand in place of one.
type Delegate struct {
	Name ObjectName
	At   Position
}

// Destination is a destination as written.
type Destination struct {
	Host   string
	Subset string
	Port   uint16
	At     Position
}

// StreamRoute is a rule for connections, before its hosts are resolved.
type StreamRoute struct {
	Rule     model.Rule // its Hosts are names for SNI, its Port the port; Backends as for HTTPRoute
	Source   *model.SourceMatch
	TLS      bool
	Gateways []string
	Backends []Destination

	Addresses *model.AddressMatch // nil: any
}

// DestinationRule is a checked DestinationRule.
type DestinationRule struct {
	Namespace string
	Host      Host
	ExportTo  []string
	Selector  map[string]string // of the clients of its namespace that it is for; nil: it is for all
	Traffic   Traffic
	Subsets   map[string]Subset
	TLSAt     Position // of the first mention of TLS
}

// Traffic is a trafficPolicy.
type Traffic struct {
	Upstream *model.Upstream // nil says nothing
	Plain    bool            // TLS is turned off in so many words
	Mutual   bool            // the mesh's own TLS is asked for
	Files    TLSFiles        // of Upstream.TLS
	Ports    []PortTraffic
	TunnelAt Position
}

// TLSFiles name what UpstreamTLS is made of.
type TLSFiles struct {
	Certificate, Key, CA string // paths
	Revoked              string // path
	Secret               string // or a Secret of the resource's namespace
	Mutual               bool   // a certificate is sent; else Secret has a CA alone
	At                   Position
}

// PortTraffic is what holds for one port.
type PortTraffic struct {
	Port    uint16
	Traffic Traffic
	At      Position
}

// Subset is a subset of a service's endpoints.
type Subset struct {
	Labels  map[string]string
	Traffic Traffic
	At      Position
}

// ServiceEntry is a checked ServiceEntry.
type ServiceEntry struct {
	Namespace string
	Hosts     []Host
	Address   netip.Addr // zero if it has none
	Ports     []EntryPort
	Endpoints []Entry
	DNS       bool              // names of endpoints are looked up; without endpoints and selector, the hosts themselves
	OneHost   bool              // DNS: one address of a name at a time (DNS_ROUND_ROBIN)
	Selector  map[string]string // of WorkloadEntries and workloads of the namespace, in place of Endpoints
	ExportTo  []string
	Names     []string // whom the certificates of endpoints may name
}

// EntryPort is a port of a ServiceEntry.
type EntryPort struct {
	model.Port
	Name   string
	Target uint16 // of endpoints that do not say otherwise
}

// Entry is an endpoint outside the mesh: of a ServiceEntry, or a WorkloadEntry.
type Entry struct {
	Address  netip.Addr        // zero where Host is set
	Host     string            // a DNS name
	Ports    map[string]uint16 // by name of the service's port
	Labels   map[string]string
	Locality string
	Weight   uint32
	At       Position
}

// Gateway is a checked Gateway.
type Gateway struct {
	Selector map[string]string
	Servers  []Server
}

// Server is a server of a Gateway.
type Server struct {
	Name       string
	Port       uint16
	Bind       netip.Addr // zero: where the gateway listens
	Kind       model.SocketKind
	Hosts      []ServerHost
	HTTP2      bool           // what Default speaks, where it speaks HTTP
	Default    netip.AddrPort // where what no VirtualService takes goes to; zero: it is answered 404, or closed
	Redirect   bool           // to HTTPS, whatever is asked for
	Mesh       bool           // for clients of the mesh alone, whose proxies speak its own TLS (ISTIO_MUTUAL)
	Keys       []TLSFiles
	ClientMode model.ClientMode    // "": clients are asked for no certificate
	ClientCA   string              // file, or
	CASecret   string              // Secret
	Checks     *model.ClientChecks // RevokedFile is as written; nil: nothing
	Terms      *model.TLSTerms     // nil: the defaults
	At, TLSAt  Position
}

// ServerHost is a host of a server, and the namespace whose VirtualServices may take it.
type ServerHost struct {
	Namespace string // "" for all
	Name      string
}
