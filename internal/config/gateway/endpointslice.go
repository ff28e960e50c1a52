package gateway

import (
	"fmt"
	"net/netip"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// labelService names the Service that a slice belongs to (discovery.k8s.io/v1).
const labelService = "kubernetes.io/service-name"

// Bounds of the EndpointSlice schema.
const (
	maxEndpoints         = 1000
	maxSlicePorts        = 100
	maxEndpointAddresses = 100
)

// endpointSlice is what is read of a discovery.k8s.io/v1 EndpointSlice. Fields with type any are known and
// without effect.
type endpointSlice struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	AddressType       string          `json:"addressType"`
	Endpoints         []sliceEndpoint `json:"endpoints"`
	Ports             []slicePort     `json:"ports"`
}

type sliceEndpoint struct {
	Addresses  []string `json:"addresses"`
	Conditions struct {
		Ready       *bool `json:"ready"`
		Serving     *bool `json:"serving"`
		Terminating *bool `json:"terminating"`
	} `json:"conditions"`
	Hostname           any    `json:"hostname"`
	TargetRef          any    `json:"targetRef"`
	DeprecatedTopology any    `json:"deprecatedTopology"`
	NodeName           any    `json:"nodeName"`
	Zone               string `json:"zone"`
	Hints              struct {
		ForZones []zoneHint `json:"forZones"`
		ForNodes any        `json:"forNodes"`
	} `json:"hints"`
}

type zoneHint struct {
	Name string `json:"name"`
}

type slicePort struct {
	Name        string  `json:"name"`
	Protocol    string  `json:"protocol"`
	Port        *int32  `json:"port"`
	AppProtocol *string `json:"appProtocol"`
}

// EndpointSlice is a checked EndpointSlice: addresses of a service.
type EndpointSlice struct {
	Service   string // of the slice's namespace
	ServiceAt Position
	Ports     []SlicePort
	Endpoints []SliceEndpoint
}

// SlicePort is a port of the endpoints, for the Service's port of the same name.
type SlicePort struct {
	Name     string
	Port     uint16
	Protocol model.Protocol
	At       Position
}

// SliceEndpoint is an address of the service.
type SliceEndpoint struct {
	Address netip.Addr
	Ready   bool
	Leaving bool // it terminates, but serves: used when no endpoint is ready
	Zone    string
	Hints   []string // zones whose clients are to use it, wherever it is (KEP-2433)
}

// ParseEndpointSlice checks an EndpointSlice.
func ParseEndpointSlice(d *document.Document) (*EndpointSlice, document.Problems) {
	c := &checker{doc: d, parent: InStandalone}
	var in endpointSlice
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	label := document.Path("metadata", "labels").Key(labelService)
	out := &EndpointSlice{Service: in.Labels[labelService], ServiceAt: c.position(label)}
	if out.Service == "" {
		c.add(label, "is missing or empty", "name the Service whose endpoints these are")
	}
	kind := document.Path("addressType")
	switch in.AddressType {
	case "IPv4", "IPv6":
	case "FQDN":
		c.add(kind, "FQDN is not supported in this version of Weft", "write IPv4 or IPv6 and IP addresses")
		return nil, c.problems
	case "":
		c.add(kind, "is missing", "write IPv4 or IPv6")
		return nil, c.problems
	default:
		c.oneOf(in.AddressType, []string{"IPv4", "IPv6", "FQDN"}, kind)
		return nil, c.problems
	}
	out.Ports = c.slicePorts(in.Ports, document.Path("ports"))
	endpoints := document.Path("endpoints")
	c.atMost(len(in.Endpoints), maxEndpoints, "endpoints", endpoints)
	for i := range in.Endpoints {
		out.Endpoints = append(out.Endpoints, c.sliceEndpoint(&in.Endpoints[i], in.AddressType, endpoints.Index(i))...)
	}
	return out, c.problems
}

func (c *checker) slicePorts(in []slicePort, f *document.Field) []SlicePort {
	c.atMost(len(in), maxSlicePorts, "ports", f)
	names := map[string]bool{}
	var out []SlicePort
	for i, p := range in {
		at := f.Index(i)
		if p.Port == nil || *p.Port < 1 || *p.Port > 65535 {
			c.add(at.Key("port"), "wants a port 1 to 65535", "")
			continue
		}
		if names[p.Name] {
			c.add(at.Key("name"), fmt.Sprintf("the port name %q is here twice", clip(p.Name)), "names of ports are unique")
		}
		names[p.Name] = true
		c.transport(p.Protocol, at.Key("protocol"))
		out = append(out, SlicePort{
			Name: p.Name, Port: uint16(*p.Port), At: c.position(at.Key("port")),
			Protocol: c.protocol(corePort{Name: p.Name, Protocol: p.Protocol, AppProtocol: p.AppProtocol}, at),
		})
	}
	return out
}

// sliceEndpoint reads the addresses of an endpoint. A condition that is not given is as the API says:
// ready unless said otherwise, serving as it is ready.
func (c *checker) sliceEndpoint(in *sliceEndpoint, kind string, f *document.Field) []SliceEndpoint {
	addresses := f.Key("addresses")
	if len(in.Addresses) == 0 {
		c.add(addresses, "is missing or empty", "write the endpoint's IP address")
	}
	c.atMost(len(in.Addresses), maxEndpointAddresses, "addresses", addresses)
	ready := deref(in.Conditions.Ready, true)
	leaving := deref(in.Conditions.Serving, ready) && deref(in.Conditions.Terminating, false)
	var hints []string
	for _, h := range in.Hints.ForZones {
		hints = append(hints, c.zone(h.Name, f.Key("hints").Key("forZones")))
	}
	zone := c.zone(in.Zone, f.Key("zone"))
	var out []SliceEndpoint
	for i, s := range in.Addresses {
		ip, err := netip.ParseAddr(s)
		if err != nil || ip.Is4() != (kind == "IPv4") || ip.Is4In6() {
			c.add(addresses.Index(i), fmt.Sprintf("%q is no %s address", clip(s), kind), "write one of addressType, or a slice of its own for it")
			continue
		}
		if ip.IsUnspecified() || ip.IsMulticast() {
			c.add(addresses.Index(i), fmt.Sprintf("%s cannot be connected to", ip), "write the address of one endpoint")
			continue
		}
		out = append(out, SliceEndpoint{Address: ip, Ready: ready, Leaving: leaving, Zone: zone, Hints: hints})
	}
	return out
}

// zone checks the name of a zone: what follows a slash would be a part of it.
func (c *checker) zone(s string, f *document.Field) string {
	if strings.Contains(s, "/") {
		c.add(f, fmt.Sprintf("%q is no name of a zone", clip(s)), "a zone has no / in its name")
	}
	return s
}
