package xds

import (
	"errors"
	"fmt"
	"net/netip"
	"slices"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// maxBind bounds the addresses that a gateway's proxy listens on.
const maxBind = 16

// errForeignGateway refuses a proxy that wants listeners, and with them private keys, which are not its own.
var errForeignGateway = errors.New("a Gateway is served by proxies of its own identity")

// gatewayNode is what a gateway's proxy said of itself.
type gatewayNode struct {
	name      model.ServiceName // of the Gateway; zero: Istio's Gateways that select labels
	bind      []netip.Addr
	labels    map[string]string
	namespace string // of its identity
	egress    bool   // its clients are programs of the mesh
}

// The placements that a node says of itself, besides that of a sidecar.
const (
	PlacedGateway = "gateway" // with Node.gateway, or by Istio's selectors
	PlacedEgress  = "egress"  // the same, for clients of the mesh
)

// newGatewayNode reads what of a node concerns gateways; nil when it is none. Namespace and account of the identity
// have to be the Gateway's namespace and name.
func newGatewayNode(n *discoveryv1.Node, id model.Identity) (*gatewayNode, error) {
	out := &gatewayNode{labels: n.GetLabels(), namespace: id.Namespace, egress: n.GetPlacement() == PlacedEgress}
	if n.GetGateway() == "" && n.GetPlacement() != PlacedGateway && !out.egress {
		return nil, nil
	}
	if err := out.name.UnmarshalText([]byte(n.GetGateway())); err != nil || n.GetGateway() != "" && out.name.IsZero() {
		return nil, fmt.Errorf("gateway %q is not NAMESPACE/NAME", n.GetGateway())
	}
	if !out.name.IsZero() && (id.Namespace != out.name.Namespace || id.Account != out.name.Name) {
		return nil, fmt.Errorf("%w: Gateway %s wants %s/%s, the proxy is %s", errForeignGateway, out.name, out.name.Namespace, out.name.Name, id)
	}
	if len(n.GetBind()) > maxBind {
		return nil, fmt.Errorf("%d addresses to listen on; at most %d are allowed", len(n.GetBind()), maxBind)
	}
	for _, text := range n.GetBind() {
		ip, err := netip.ParseAddr(text)
		if err != nil {
			return nil, fmt.Errorf("bind: %w", err)
		}
		if !slices.Contains(out.bind, ip.Unmap()) {
			out.bind = append(out.bind, ip.Unmap())
		}
	}
	return out, nil
}

// key is the cache's of the resource.
func (g *gatewayNode) key() string {
	if g.name.IsZero() {
		return fmt.Sprintf("%s of %s with %v at %v, egress %t", nameGateway, g.namespace, g.labels, g.bind, g.egress)
	}
	return fmt.Sprintf("%s %s at %v, egress %t", nameGateway, g.name, g.bind, g.egress)
}

// sockets returns what the gateway's proxy serves.
func (g *gatewayNode) sockets(m *Mesh) (out []model.Socket) {
	switch {
	case !g.name.IsZero() && m.Gateway != nil:
		out = m.Gateway(g.name, g.bind)
	case g.name.IsZero() && m.Selected != nil:
		out = m.Selected(g.labels, g.namespace, g.bind)
	}
	if g.egress {
		return forMesh(out)
	}
	return slices.DeleteFunc(out, func(s model.Socket) bool { return s.Mesh })
}

// forMesh makes sockets ones whose clients are programs of the mesh. Those that end TLS of clients are left out, for the
// mesh has its own, and those for datagrams, which it does not carry; where several addresses have a port, the first stands for all.
func forMesh(in []model.Socket) (out []model.Socket) {
	for _, s := range in {
		taken := slices.ContainsFunc(out, func(o model.Socket) bool { return o.Address.Port() == s.Address.Port() })
		if s.Kind == model.SocketMixed {
			s = passedThrough(s)
		}
		if s.Kind.TLS() || s.Kind.Datagrams() || taken {
			continue
		}
		s.Mesh, s.ProxyProtocol = true, nil
		out = append(out, s)
	}
	return out
}

// passedThrough returns a mixed socket with those of its listeners that do not end TLS, or, without any, as one that does.
func passedThrough(s model.Socket) model.Socket {
	all := s.Listeners
	s.Kind, s.Listeners = model.SocketTLS, nil
	for _, ln := range all {
		if ln.Kind == model.SocketPassthrough {
			s.Kind, ln.Kind = model.SocketPassthrough, ""
			s.Listeners = append(s.Listeners, ln)
		}
	}
	return s
}

// gatewayOf returns the listeners of a gateway's proxy as resources, and calls f with each service they lead to.
func (s *Server) gatewayOf(st *stream, f func(model.ServiceName)) *gatewayResources {
	key := st.gateway.key()
	g := s.gateways[key]
	if g == nil {
		edge := gatewayEdge{sockets: st.gateway.sockets(s.mesh)}
		if s.mesh.ClientCertificate != nil && !st.gateway.name.IsZero() {
			edge.client = s.mesh.ClientCertificate(st.gateway.name)
		}
		g = newGatewayResources(st.gateway.name, &edge)
		s.gateways[key] = g
	}
	for _, n := range g.services {
		f(n)
	}
	return g
}

// eachEgress calls f with each service whose requests leave the mesh through a gateway's proxy.
func (s *Server) eachEgress(st *stream, f func(model.ServiceName)) {
	if !st.gateway.egress || s.mesh.Egress == nil {
		return
	}
	for _, n := range s.mesh.Egress(st.workload.Service) {
		f(n)
		inboundPolicy(s.mesh.Services[n]).EachAsked(f) // the gateway keeps the rate limits
	}
}
