package istio

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Sidecar is a checked Sidecar.
type Sidecar struct {
	Namespace string
	Labels    map[string]string  // of the workloads it is for; nil: all of the namespace, and in the root namespace of the mesh
	Sees      []SeenHost         // services that they see; nil: egress is not written
	Egress    model.PolicyRef    // where Sees is written
	Inbound   *model.Connections // bounds for every port; nil: inboundConnectionPool is not written
	Ingress   []Ingress          // ports that are served; nil: ingress is not written
	Proxy     *Destination       // of Outbound; nil: there is none
	Outbound  *model.Outbound    // nil: outboundTrafficPolicy is not written
	At        Position           // of workloadSelector, or of the whole
}

// Ingress is a port that a workload serves.
type Ingress struct {
	Port     uint16 // of the service, as the program registered it
	Program  uint16 // where the program is; 0: as registered
	Protocol model.Protocol
	Pool     *model.Connections // nil: those for every port
	At       Position
}

// SeenHost is a host of Sidecar.egress.
type SeenHost struct {
	Namespace string // "*" is all
	Name      string // a host, a wildcard or "*"
}

// ParseSidecar checks a Sidecar. When the problems Failed it must not be used.
func ParseSidecar(d *document.Document) (*Sidecar, document.Problems) {
	c, in, ok := parse[sidecar](d)
	if !ok {
		return nil, c.problems
	}
	spec := document.Path("spec")
	out := &Sidecar{Namespace: d.Namespace, At: c.position(spec)}
	if s, at := in.WorkloadSelector, spec.Key("workloadSelector"); s != nil {
		if out.Labels, out.At = s.Labels, c.position(at); len(s.Labels) == 0 {
			c.add(at.Key("labels"), "is missing or empty", "write the labels of the workloads, or remove workloadSelector: the Sidecar is then for the namespace")
		}
		c.labels(out.Labels, at.Key("labels"))
	}
	out.Egress = c.policyRef(spec.Key("egress"))
	c.atMost(len(in.Egress), maxItems, "listeners", spec.Key("egress"))
	for i := range in.Egress {
		c.egress(&in.Egress[i], out, spec.Key("egress").Index(i))
	}
	out.Inbound = c.inboundPool(in.InboundConnectionPool, spec.Key("inboundConnectionPool"))
	c.ingresses(in.Ingress, out, spec.Key("ingress"))
	if p := in.OutboundTrafficPolicy; p != nil {
		at := spec.Key("outboundTrafficPolicy")
		mode := p.Mode
		c.enum(&mode, []string{"REGISTRY_ONLY", "ALLOW_ANY"}, at.Key("mode"))
		if p.EgressProxy != nil {
			to := c.destination(p.EgressProxy, at.Key("egressProxy"))
			if out.Proxy = &to; mode != "ALLOW_ANY" {
				c.add(at.Key("egressProxy"), "has no meaning with mode "+clip(mode)+": nothing unknown leaves", "write mode: ALLOW_ANY")
			}
		}
		out.Outbound = &model.Outbound{Ref: c.policyRef(at), RegistryOnly: mode == "REGISTRY_ONLY"}
	}
	return out, c.problems
}

// egress reads which services the workloads see.
func (c *checker) egress(in *egressListener, out *Sidecar, f *document.Field) {
	c.refuseAny(f, "IstioEgressListener", "port", "bind", "captureMode")
	at := f.Key("hosts")
	if len(in.Hosts) == 0 {
		c.add(at, "names no host", `write hosts such as "./*"`)
	}
	c.atMost(len(in.Hosts), maxHosts, "hosts", at)
	if out.Sees == nil {
		out.Sees = []SeenHost{}
	}
	for i, s := range in.Hosts {
		ns, name, ok := strings.Cut(s, "/")
		switch at := at.Index(i); {
		case !ok || ns == "" || name == "":
			c.add(at, fmt.Sprintf("%q is no namespace/host", clip(s)), `write "./*", "*/*" or such`)
			continue
		case ns != "*" && ns != "." && ns != "~" && document.CheckLabel(ns) != "":
			c.add(at, fmt.Sprintf("%q is no namespace", clip(ns)), `write "*" for all, "." for that of the Sidecar, "~" for none, or a namespace`)
			continue
		case !c.host(name, at) || ns == "~": // no namespace, so no service
			continue
		case ns == ".":
			ns = c.doc.Namespace
		}
		out.Sees = append(out.Sees, SeenHost{Namespace: ns, Name: strings.ToLower(name)})
	}
}
