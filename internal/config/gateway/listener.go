package gateway

import (
	"fmt"
	"net/netip"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of the Gateway schema.
const (
	maxListeners    = 64
	maxAddresses    = 16
	maxCertificates = 64
	maxKinds        = 8
)

// Options of a listener's TLS that name a certificate by files.
const (
	OptionCertificateFile = "weft.dev/certificate-file"
	OptionKeyFile         = "weft.dev/key-file"

	// OptionACME, "true", has the certificate of the listener's host asked for by ACME.
	OptionACME = "weft.dev/acme"
)

// Gateway is a checked Gateway.
type Gateway struct {
	Class     string
	ClassAt   Position
	Addresses []netip.Addr // none: wherever the command line says
	Listeners []Listener

	Sets      Admission                    // whose ListenerSets may attach
	Clients   *ClientValidation            // of HTTPS listeners; nil: clients are not asked for certificates
	ClientsOn map[uint16]*ClientValidation // of ports that have their own

	DefaultScope bool // it takes routes that want default Gateways

	ClientCertificate *SecretRef // to backends that are reached over TLS; nil is none
}

// Listener is a listener of a Gateway.
type Listener struct {
	Name     string
	Hostname string // "" means any
	Port     uint16
	Kind     model.SocketKind
	At       Position

	Certificates []SecretRef
	CertFile     string // relative to the document's file; "" is none
	KeyFile      string
	FilesAt      Position
	ACME         bool // it has no other certificate

	Admission          // whose routes may attach
	Kinds     []string // of routes that may attach
}

// SecretRef is a reference to a Secret.
type SecretRef struct {
	Secret ObjectName
	At     Position
}

// ParseGateway checks a Gateway. When the problems Failed it must not be used.
func ParseGateway(d *document.Document) (*Gateway, document.Problems) {
	c := &checker{doc: d}
	var in v1.Gateway
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &Gateway{Class: string(in.Spec.GatewayClassName), ClassAt: c.position(spec.Key("gatewayClassName"))}
	if out.Class == "" {
		c.add(spec.Key("gatewayClassName"), "is missing or empty", "write weft")
	}
	out.DefaultScope = c.defaultScope(in.Spec.DefaultScope, spec.Key("defaultScope"))
	out.Sets.From = v1.NamespacesFromNone
	if in.Spec.AllowedListeners != nil && in.Spec.AllowedListeners.Namespaces != nil {
		ns := in.Spec.AllowedListeners.Namespaces
		out.Sets = c.admission(ns.From, ns.Selector, v1.NamespacesFromNone, spec.Key("allowedListeners").Key("namespaces"))
	}
	c.gatewayTLS(in.Spec.TLS, out, spec.Key("tls"))
	if in.Spec.Infrastructure != nil {
		p := c.doc.KeyProblem(spec.Key("infrastructure"), "has no effect").With("there is no infrastructure to label")
		c.problems = append(c.problems, p.AsWarning())
	}
	out.Addresses = c.addresses(in.Spec.Addresses, spec.Key("addresses"))
	out.Listeners = c.listeners(in.Spec.Listeners, spec.Key("listeners"))
	return out, c.problems
}

func (c *checker) addresses(in []v1.GatewaySpecAddress, f *document.Field) []netip.Addr {
	c.atMost(len(in), maxAddresses, "addresses", f)
	seen := map[netip.Addr]bool{}
	var out []netip.Addr
	for i, a := range in {
		at := f.Index(i)
		if kind := deref(a.Type, v1.IPAddressType); kind != v1.IPAddressType {
			c.add(at.Key("type"), fmt.Sprintf("an address of type %q is not supported in this version of Weft", kind), "write type: IPAddress")
			continue
		}
		ip, err := netip.ParseAddr(a.Value)
		switch ip = ip.Unmap(); {
		case err != nil:
			c.add(at.Key("value"), fmt.Sprintf("%q is no IP address", clip(a.Value)), "for example 127.0.0.1, or 0.0.0.0 for all")
			continue
		case seen[ip]:
			c.add(at.Key("value"), fmt.Sprintf("the address %s is here twice", ip), "write it once")
		}
		seen[ip] = true
		out = append(out, ip)
	}
	return out
}

func (c *checker) listeners(in []v1.Listener, f *document.Field) []Listener {
	if len(in) == 0 {
		c.add(f, "is missing or empty", "write at least one listener")
	}
	c.atMost(len(in), maxListeners, "listeners", f)
	names := map[string]bool{}
	var out []Listener
	for i := range in {
		at := f.Index(i)
		l := c.listener(&in[i], at)
		if names[l.Name] && l.Name != "" {
			c.add(at.Key("name"), fmt.Sprintf("the listener name %q is here twice", l.Name), "names of listeners are unique within a Gateway")
		}
		names[l.Name] = true
		out = append(out, l)
	}
	return out
}

func (c *checker) listener(in *v1.Listener, f *document.Field) Listener {
	out := Listener{Name: string(in.Name), Hostname: string(deref(in.Hostname, "")), At: c.position(f.Key("name")), Admission: Admission{From: v1.NamespacesFromSame}}
	if out.Name == "" {
		c.add(f.Key("name"), "is missing", "every listener has a name")
	} else {
		c.sectionName(out.Name, f.Key("name"))
	}
	out.Port = c.port(&in.Port, f.Key("port"))
	out.Kind = c.listenerKind(in.Protocol, f.Key("protocol"))
	if out.Hostname != "" {
		c.hostname(out.Hostname, f.Key("hostname"))
		switch out.Kind {
		case model.SocketTCP:
			c.add(f.Key("hostname"), "is given, but a TCP connection names no host", "remove it, or use protocol TLS")
		case model.SocketUDP:
			c.add(f.Key("hostname"), "is given, but a datagram names no host", "remove it")
		}
	}
	switch {
	case out.Kind.TLS():
		c.listenerTLS(in.TLS, &out, f.Key("tls"))
	case in.TLS != nil && out.Kind != "":
		c.add(f.Key("tls"), fmt.Sprintf("is given, but protocol is %s", in.Protocol), "write protocol: HTTPS or TLS, or remove it")
	}
	out.Kinds = routeKinds(out.Kind)
	if in.AllowedRoutes != nil {
		c.allowedRoutes(in.AllowedRoutes, &out, f.Key("allowedRoutes"))
	}
	return out
}

func (c *checker) listenerKind(p v1.ProtocolType, f *document.Field) model.SocketKind {
	switch p {
	case v1.HTTPProtocolType:
		return model.SocketHTTP
	case v1.HTTPSProtocolType:
		return model.SocketHTTPS
	case v1.TCPProtocolType:
		return model.SocketTCP
	case v1.TLSProtocolType:
		return model.SocketTLS
	case v1.UDPProtocolType:
		return model.SocketUDP
	case "":
		c.add(f, "is missing", "write HTTP, HTTPS, TCP, TLS or UDP")
	default:
		c.oneOf(string(p), []string{"HTTP", "HTTPS", "TCP", "TLS", "UDP"}, f)
	}
	return ""
}
