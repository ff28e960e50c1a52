package gateway

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// coreService is what is read of a core/v1 Service. Fields with type any are known and either refused or
// without effect.
type coreService struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              coreServiceSpec `json:"spec"`
}

type coreServiceSpec struct {
	Ports    []corePort        `json:"ports"`
	Selector map[string]string `json:"selector"`
	Type     string            `json:"type"`

	ClusterIP                any `json:"clusterIP"`
	ClusterIPs               any `json:"clusterIPs"`
	IPFamilies               any `json:"ipFamilies"`
	IPFamilyPolicy           any `json:"ipFamilyPolicy"`
	InternalTrafficPolicy    any `json:"internalTrafficPolicy"`
	SessionAffinity          any `json:"sessionAffinity"`
	SessionAffinityConfig    any `json:"sessionAffinityConfig"`
	PublishNotReadyAddresses any `json:"publishNotReadyAddresses"`
	ExternalName             any `json:"externalName"`
	ExternalIPs              any `json:"externalIPs"`
	ExternalTrafficPolicy    any `json:"externalTrafficPolicy"`
	LoadBalancerIP           any `json:"loadBalancerIP"`
	LoadBalancerClass        any `json:"loadBalancerClass"`
	LoadBalancerSourceRanges any `json:"loadBalancerSourceRanges"`
	AllocateNodePorts        any `json:"allocateLoadBalancerNodePorts"`
	HealthCheckNodePort      any `json:"healthCheckNodePort"`
	TrafficDistribution      any `json:"trafficDistribution"`
}

type corePort struct {
	Name        string  `json:"name"`
	Protocol    string  `json:"protocol"`
	AppProtocol *string `json:"appProtocol"`
	Port        int32   `json:"port"`
	TargetPort  any     `json:"targetPort"`
	NodePort    any     `json:"nodePort"`
}

// ParseService checks a core/v1 Service.
func ParseService(d *document.Document, place Place) (*Service, document.Problems) {
	c := &checker{doc: d, parent: place}
	var in coreService
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	if why := document.CheckLabel(d.Name); why != "" && document.CheckSubdomain(d.Name) == "" {
		c.add(document.Path("metadata", "name"), fmt.Sprintf("%q is no valid Service name", d.Name), why)
	}
	spec := document.Path("spec")
	if in.Spec.Type != "" && in.Spec.Type != "ClusterIP" {
		if c.oneOf(in.Spec.Type, []string{"ClusterIP", "NodePort", "LoadBalancer", "ExternalName"}, spec.Key("type")) {
			c.add(spec.Key("type"), fmt.Sprintf("a Service of type %s is not supported in this version of Weft", in.Spec.Type), "write ClusterIP or remove it")
		}
	}
	c.ignored(&in.Spec, spec)
	out := &Service{Selector: in.Spec.Selector}
	out.Ports = c.servicePorts(in.Spec.Ports, spec.Key("ports"))
	for _, k := range slices.Sorted(maps.Keys(out.Selector)) {
		c.label(k, out.Selector[k], spec.Key("selector").Key(k))
	}
	return out, c.problems
}

// ignored refuses the fields that would change behaviour and warns of those that are without effect.
func (c *checker) ignored(s *coreServiceSpec, f *document.Field) {
	for _, x := range []struct {
		name string
		v    any
	}{
		{"sessionAffinityConfig", s.SessionAffinityConfig},
		{"externalName", s.ExternalName},
		{"externalIPs", s.ExternalIPs},
		{"externalTrafficPolicy", s.ExternalTrafficPolicy},
		{"loadBalancerIP", s.LoadBalancerIP},
		{"loadBalancerClass", s.LoadBalancerClass},
		{"loadBalancerSourceRanges", s.LoadBalancerSourceRanges},
		{"allocateLoadBalancerNodePorts", s.AllocateNodePorts},
		{"healthCheckNodePort", s.HealthCheckNodePort},
		{"trafficDistribution", s.TrafficDistribution},
	} {
		if x.v != nil {
			c.unsupported(f.Key(x.name))
		}
	}
	if s.SessionAffinity != nil && s.SessionAffinity != "None" {
		c.unsupported(f.Key("sessionAffinity"))
	}
	if s.InternalTrafficPolicy != nil && s.InternalTrafficPolicy != "Cluster" {
		c.unsupported(f.Key("internalTrafficPolicy"))
	}
	for _, x := range []struct {
		name string
		v    any
	}{
		{"clusterIP", s.ClusterIP},
		{"clusterIPs", s.ClusterIPs},
		{"ipFamilies", s.IPFamilies},
		{"ipFamilyPolicy", s.IPFamilyPolicy},
		{"publishNotReadyAddresses", s.PublishNotReadyAddresses},
	} {
		if x.v != nil {
			p := c.doc.KeyProblem(f.Key(x.name), "has no effect").With("Weft assigns addresses and readiness itself")
			c.problems = append(c.problems, p.AsWarning())
		}
	}
}

func (c *checker) servicePorts(ports []corePort, f *document.Field) []ServicePort {
	type number struct {
		port int32
		udp  bool
	}
	numbers, names := map[number]bool{}, map[string]bool{}
	var out []ServicePort
	for i, p := range ports {
		at, n := f.Index(i), number{p.Port, p.Protocol == protocolUDP}
		switch {
		case p.Port < 1 || p.Port > 65535:
			c.add(at.Key("port"), fmt.Sprintf("wants a port 1 to 65535, has %d", p.Port), "")
			continue
		case numbers[n]:
			c.add(at.Key("port"), fmt.Sprintf("the port %d is here twice", p.Port), "numbers of ports are unique")
		case p.Name == "" && len(ports) > 1:
			c.add(at.Key("name"), "is missing", "name every port when there are several")
		case p.Name != "" && names[p.Name]:
			c.add(at.Key("name"), fmt.Sprintf("the port name %q is here twice", p.Name), "names of ports are unique")
		}
		numbers[n], names[p.Name] = true, true
		if p.Name != "" {
			if why := document.CheckLabel(p.Name); why != "" {
				c.add(at.Key("name"), fmt.Sprintf("%q is no valid port name", p.Name), why)
			}
		}
		c.transport(p.Protocol, at.Key("protocol"))
		if p.NodePort != nil {
			c.unsupported(at.Key("nodePort"))
		}
		port := ServicePort{Name: p.Name, Port: model.Port{Number: uint16(p.Port)}, At: c.position(at.Key("port"))}
		port.Protocol = c.protocol(p, at)
		out = append(out, port)
	}
	return out
}

// protocolUDP is how the core API writes it.
const protocolUDP = "UDP"

// transport checks the protocol of a port as the core API has it.
func (c *checker) transport(p string, f *document.Field) {
	switch {
	case p == "" || p == "TCP" || p == protocolUDP && c.parent == InStandalone:
	case p == protocolUDP:
		c.add(f, "UDP is not supported for a Service of the mesh: "+noDatagrams, "leave the port out; for a gateway, write a ServiceEntry with the endpoints")
	case c.oneOf(p, []string{"TCP", protocolUDP, "SCTP"}, f):
		c.add(f, p+" is not supported in this version of Weft", "write TCP or UDP")
	}
}

// protocol reads appProtocol, else the port name's first part as Istio does ("grpc-web", "http").
func (c *checker) protocol(p corePort, f *document.Field) model.Protocol {
	if p.Protocol == protocolUDP {
		return model.UDP // whatever is in the datagrams
	}
	if p.AppProtocol != nil {
		proto, err := model.ParseProtocol(*p.AppProtocol)
		if err != nil {
			c.add(f.Key("appProtocol"), err.Error(), "leave it out where the protocol is to be detected")
		}
		return proto
	}
	prefix, _, _ := strings.Cut(p.Name, "-")
	proto, err := model.ParseProtocol(prefix)
	if err != nil {
		return model.Auto // a name that says nothing of the protocol
	}
	return proto
}

var (
	labelName  = regexp.MustCompile(`^([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9]$`)
	labelValue = regexp.MustCompile(`^(([A-Za-z0-9][-A-Za-z0-9_.]{0,61})?[A-Za-z0-9])?$`)
)

func (c *checker) label(key, value string, f *document.Field) {
	prefix, name, ok := strings.Cut(key, "/")
	if !ok {
		prefix, name = "", key
	}
	if !labelName.MatchString(name) || ok && document.CheckSubdomain(prefix) != "" {
		c.add(f, fmt.Sprintf("%q is no valid label name", key), "wants at most 63 letters, digits, - _ ., and before a slash a DNS name")
	}
	if !labelValue.MatchString(value) {
		c.add(f, fmt.Sprintf("%q is no valid label value", value), "wants at most 63 letters, digits, - _ .")
	}
}
