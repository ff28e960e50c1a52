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
	name model.ServiceName // of the Gateway
	bind []netip.Addr
}

// newGatewayNode reads what of a node concerns gateways; nil when it is none. Namespace and account of the identity
// have to be the Gateway's namespace and name.
func newGatewayNode(n *discoveryv1.Node, id model.Identity) (*gatewayNode, error) {
	if n.GetGateway() == "" {
		return nil, nil
	}
	out := &gatewayNode{}
	if err := out.name.UnmarshalText([]byte(n.GetGateway())); err != nil || out.name.IsZero() {
		return nil, fmt.Errorf("gateway %q is not NAMESPACE/NAME", n.GetGateway())
	}
	if id.Namespace != out.name.Namespace || id.Account != out.name.Name {
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
func (g *gatewayNode) key() string { return fmt.Sprintf("%s %s at %v", nameGateway, g.name, g.bind) }

// gatewayOf returns the listeners of a gateway's proxy as resources, and calls f with each service they lead to.
func (s *Server) gatewayOf(st *stream, f func(model.ServiceName)) *gatewayResources {
	key := st.gateway.key()
	g := s.gateways[key]
	if g == nil {
		var edge gatewayEdge
		if s.mesh.Gateway != nil {
			edge.sockets = s.mesh.Gateway(st.gateway.name, st.gateway.bind)
		}
		if s.mesh.ClientCertificate != nil {
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
