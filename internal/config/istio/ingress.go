package istio

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// ingresses reads which ports the workloads serve, and where their programs are.
func (c *checker) ingresses(in []ingressListener, out *Sidecar, f *document.Field) {
	c.atMost(len(in), maxItems, "listeners", f)
	for i := range in {
		at := f.Index(i)
		one := c.ingress(&in[i], at)
		if one.Port != 0 && slices.ContainsFunc(out.Ingress, func(o Ingress) bool { return o.Port == one.Port }) {
			c.add(at.Key("port").Key("number"), fmt.Sprintf("the port %d is here twice", one.Port), "numbers of ports are unique")
			continue
		}
		out.Ingress = append(out.Ingress, one)
	}
}

func (c *checker) ingress(in *ingressListener, f *document.Field) Ingress {
	out := Ingress{At: c.position(f), Pool: c.inboundPool(in.ConnectionPool, f.Key("connectionPool"))}
	c.refuseAny(f, "IstioIngressListener", "bind", "tls")
	if p, at := in.Port, f.Key("port"); p == nil {
		c.add(at, "is missing", "write port: {number: ...}")
	} else {
		out.Port, out.Protocol = c.wantedPort(p.Number, at.Key("number")), c.protocol(p.Protocol, at.Key("protocol"))
		c.idleAny(at, "SidecarPort", "targetPort")
	}
	mode := in.CaptureMode
	if c.enum(&mode, []string{"DEFAULT", "IPTABLES", "NONE"}, f.Key("captureMode")) && mode == "NONE" {
		c.refuse(f.Key("captureMode"), "IstioIngressListener.captureMode")
	}
	out.Program = c.programAt(in.DefaultEndpoint, f.Key("defaultEndpoint"))
	return out
}

// programAt reads where the program is: a port of the loopback.
func (c *checker) programAt(s string, f *document.Field) uint16 {
	const remedy = "write 127.0.0.1:PORT, where the program listens"
	at, err := netip.ParseAddrPort(s)
	switch {
	case s == "":
		return 0
	case strings.HasPrefix(s, "unix://"):
		c.add(f, "a Unix socket is not supported in this version of Weft: proxies reach programs by TCP", remedy)
	case err != nil || at.Port() == 0:
		c.add(f, fmt.Sprintf("%q is no address with a port", clip(s)), remedy)
	case !at.Addr().IsUnspecified() && at.Addr() != netip.AddrFrom4([4]byte{127, 0, 0, 1}):
		c.add(f, fmt.Sprintf("%s is not 127.0.0.1, by which proxies reach programs", at.Addr()), remedy)
	default: // 0.0.0.0 is every address of the workload, the loopback too
		return at.Port()
	}
	return 0
}

// inboundPool reads the bounds of what comes in; nil without any.
func (c *checker) inboundPool(in *connectionPool, f *document.Field) *model.Connections {
	if in == nil {
		return nil
	}
	out := c.pool(in, f)
	if out.ClientProtocol {
		c.add(f.Key("http").Key("useClientProtocol"), "true is not supported for what comes in: programs are spoken to as their port declares, and as the client does where it declares nothing", "remove it")
	}
	return &out
}
