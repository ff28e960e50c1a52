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

// gatewayOf returns the listeners of a gateway's proxy as a resource, and calls f with each service they lead to.
func (s *Server) gatewayOf(st *stream, f func(model.ServiceName)) *discoveryv1.Resource {
	var sockets []model.Socket
	if s.mesh.Gateway != nil {
		sockets = s.mesh.Gateway(st.gateway.name, st.gateway.bind)
	}
	for i := range sockets {
		for j := range sockets[i].Listeners {
			for k := range sockets[i].Listeners[j].Rules {
				sockets[i].Listeners[j].Rules[k].EachUsed(f)
			}
		}
	}
	key := st.gateway.key()
	r := s.cache[key]
	if r == nil {
		r = gatewayResource(st.gateway.name, sockets)
		s.cache[key] = r
	}
	return r
}

func gatewayResource(name model.ServiceName, sockets []model.Socket) *discoveryv1.Resource {
	return seal(nameGateway, &discoveryv1.Resource{Body: &discoveryv1.Resource_Gateway{Gateway: &discoveryv1.Gateway{
		Name: nameText(name), Sockets: jsonToWire(sockets, len(sockets) == 0),
	}}})
}

// socketsFromWire is the inverse of gatewayResource.
func socketsFromWire(w *discoveryv1.Gateway) ([]model.Socket, error) {
	var out []model.Socket
	return out, jsonFromWire(w.GetSockets(), &out, "sockets")
}
