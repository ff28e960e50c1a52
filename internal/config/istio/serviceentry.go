package istio

import (
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// ParseServiceEntry checks a ServiceEntry. When the problems Failed it must not be used.
func ParseServiceEntry(d *document.Document) (*ServiceEntry, document.Problems) {
	c, in, ok := parse[serviceEntry](d)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &ServiceEntry{Namespace: d.Namespace, Hosts: c.hosts(in.Hosts, spec.Key("hosts")), Names: in.SubjectAltNames}
	for i, h := range out.Hosts {
		if strings.HasPrefix(h.Name, "*") {
			c.add(spec.Key("hosts").Index(i), "a wildcard is no service that Weft could find endpoints for", "write an entry for each host")
		}
	}
	c.addresses(in.Addresses, out, spec.Key("addresses"))
	c.entryPorts(in.Ports, out, spec.Key("ports"))
	c.resolution(in, out, spec)
	location := in.Location
	if c.enum(&location, []string{"MESH_EXTERNAL", "MESH_INTERNAL"}, spec.Key("location")) && location == "MESH_INTERNAL" && len(in.Endpoints) > 0 {
		p := c.doc.Problem(spec.Key("location"), "MESH_INTERNAL: endpoints written here are reached without the mesh's TLS, as in Istio where they have no sidecar")
		c.problems = append(c.problems, p.With("run the program with `weft run`: it registers by itself").AsWarning())
	}
	c.atMost(len(in.Endpoints), maxEntries, "endpoints", spec.Key("endpoints"))
	for i := range in.Endpoints {
		at := spec.Key("endpoints").Index(i)
		e := c.entry(&in.Endpoints[i], at)
		if e.Host != "" && in.Resolution == "STATIC" {
			c.add(at.Key("address"), fmt.Sprintf("%q is a name, and resolution is STATIC", clip(e.Host)), "write an IP address, or resolution: DNS")
		}
		for _, name := range slices.Sorted(maps.Keys(e.Ports)) {
			if !out.hasPort(name) {
				c.add(at.Key("ports").Key(name), fmt.Sprintf("there is no port named %q", clip(name)), "name one of spec.ports")
			}
		}
		out.Endpoints = append(out.Endpoints, e)
	}
	if in.WorkloadSelector != nil {
		at := spec.Key("workloadSelector")
		if len(in.Endpoints) > 0 {
			c.add(at, "stands beside endpoints", "remove one of them")
		}
		if out.Selector = in.WorkloadSelector.Labels; len(out.Selector) == 0 {
			c.add(at.Key("labels"), "is missing or empty", "write the labels of the workloads")
		}
		c.labels(out.Selector, at.Key("labels"))
	}
	out.ExportTo = c.exportTo(in.ExportTo, spec.Key("exportTo"))
	return out, c.problems
}

func (e *ServiceEntry) hasPort(name string) bool {
	for i := range e.Ports {
		if e.Ports[i].Name == name {
			return true
		}
	}
	return false
}

func (c *checker) addresses(in []string, out *ServiceEntry, f *document.Field) {
	for i, s := range in {
		at := f.Index(i)
		ip, err := netip.ParseAddr(s)
		switch {
		case strings.Contains(s, "/"):
			c.add(at, fmt.Sprintf("%q is a range of addresses, which is not supported in this version of Weft", clip(s)), "write the one address that stands for the service, or none")
		case err != nil || ip.Zone() != "" || ip.IsUnspecified():
			c.add(at, fmt.Sprintf("%q is no address", clip(s)), "write an IP address, which clients call the service by, or leave addresses out")
		case i > 0:
			c.add(at, "a second address is not supported in this version of Weft", "write one address, or one ServiceEntry for each")
		case len(out.Hosts) > 1:
			c.add(at, "an address for several hosts does not tell which of them is meant", "write one ServiceEntry for each host")
		default:
			out.Address = ip.Unmap()
		}
	}
}

// resolution reads how endpoints are found.
func (c *checker) resolution(in *serviceEntry, out *ServiceEntry, spec *document.Field) {
	at, kind := spec.Key("resolution"), in.Resolution
	if !c.enum(&kind, []string{"NONE", "STATIC", "DNS", "DNS_ROUND_ROBIN", "DYNAMIC_DNS"}, at) {
		return
	}
	const remedy = "write STATIC and endpoints with their addresses, or DNS"
	switch {
	case kind == "NONE":
		c.add(at, "NONE (the default) is not supported in this version of Weft: an endpoint is always chosen", remedy)
	case kind == "DYNAMIC_DNS":
		c.add(at, "DYNAMIC_DNS is not supported in this version of Weft: an entry has no wildcards, so its names are known", "write DNS")
	case kind != "STATIC":
		out.DNS, out.OneHost = true, kind == "DNS_ROUND_ROBIN"
		if out.OneHost && (len(in.Endpoints) > 1 || in.WorkloadSelector != nil) {
			c.add(at, "DNS_ROUND_ROBIN is for one name", "write one endpoint or none, or DNS")
		}
	case len(in.Endpoints) == 0 && in.WorkloadSelector == nil:
		c.add(at, "STATIC without endpoints", "write endpoints, or workloadSelector")
	}
}

func (c *checker) entryPorts(in []servicePort, out *ServiceEntry, f *document.Field) {
	if len(in) == 0 {
		c.add(f, "is missing", "write the ports that the service is called on")
	}
	c.atMost(len(in), maxItems, "ports", f)
	for i, p := range in {
		at := f.Index(i)
		port := EntryPort{Name: p.Name, Target: c.port(p.TargetPort, at.Key("targetPort"))}
		port.Number = c.wantedPort(p.Number, at.Key("number"))
		switch {
		case p.Name == "":
			c.add(at.Key("name"), "is missing or empty", "name every port")
		case out.hasPort(p.Name):
			c.add(at.Key("name"), fmt.Sprintf("the port name %q is here twice", clip(p.Name)), "names of ports are unique")
		}
		port.Protocol = c.protocol(p.Protocol, at.Key("protocol"))
		for _, other := range out.Ports {
			if other.Number == port.Number && port.Number != 0 && (other.Protocol == model.UDP) == (port.Protocol == model.UDP) {
				c.add(at.Key("number"), fmt.Sprintf("the port %d is here twice", port.Number), "numbers of ports are unique")
			}
		}
		out.Ports = append(out.Ports, port)
	}
}

// protocol reads Istio's names of protocols. HTTPS and TLS are bytes that the program's own TLS encrypted.
func (c *checker) protocol(s string, f *document.Field) model.Protocol {
	switch strings.ToUpper(s) {
	case "":
		return model.Auto
	case "HTTP":
		return model.HTTP
	case "HTTP2":
		return model.HTTP2
	case "GRPC", "GRPC-WEB":
		return model.GRPC
	case "TCP", "TLS", "HTTPS", "MONGO", "MYSQL", "REDIS":
		return model.TCP
	case "UDP": // for UDPRoutes of gateways: the mesh carries no datagrams
		return model.UDP
	}
	c.add(f, fmt.Sprintf("unknown protocol %q", clip(s)), document.DidYouMean(s, []string{"HTTP", "HTTPS", "GRPC", "HTTP2", "MONGO", "TCP", "TLS", "UDP"}))
	return model.Auto
}

// ParseWorkloadEntry checks a WorkloadEntry. When the problems Failed it must not be used.
func ParseWorkloadEntry(d *document.Document) (*Entry, document.Problems) {
	c, in, ok := parse[workloadEntry](d)
	if !ok {
		return nil, c.problems
	}
	e := c.entry(in, document.Path("spec"))
	return &e, c.problems
}

func (c *checker) entry(in *workloadEntry, f *document.Field) Entry {
	c.idleAny(f, "WorkloadEntry", "network", "serviceAccount")
	out := Entry{Labels: in.Labels, Locality: in.Locality, Weight: in.Weight, Ports: map[string]uint16{}, At: c.position(f)}
	at := f.Key("address")
	ip, err := netip.ParseAddr(in.Address)
	switch {
	case strings.HasPrefix(in.Address, "unix://"):
		c.add(at, "a Unix socket as endpoint is not supported in this version of Weft", "write an IP address")
	case err != nil && document.CheckSubdomain(strings.ToLower(in.Address)) == "":
		out.Host = strings.ToLower(in.Address)
	case err != nil || ip.IsUnspecified() || ip.IsMulticast():
		c.add(at, fmt.Sprintf("%q is no address of an endpoint", clip(in.Address)), "write an IP address or a DNS name")
	}
	out.Address = ip.Unmap()
	c.atMost(len(in.Ports), maxItems, "ports", f.Key("ports"))
	for _, name := range slices.Sorted(maps.Keys(in.Ports)) {
		out.Ports[name] = c.wantedPort(in.Ports[name], f.Key("ports").Key(name))
	}
	c.labels(in.Labels, f.Key("labels"))
	if parts := strings.Split(in.Locality, "/"); len(parts) > 3 || len(in.Locality) > 253 || in.Locality != "" && parts[0] == "" {
		c.add(f.Key("locality"), fmt.Sprintf("%q is no locality", clip(in.Locality)), "write region/zone/subzone, cut where it is not known")
	}
	if in.Weight > 1_000_000 {
		c.add(f.Key("weight"), fmt.Sprintf("wants an integer 0 to 1000000, has %d", in.Weight), "")
	}
	return out
}
