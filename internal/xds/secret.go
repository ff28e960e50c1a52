package xds

import (
	"fmt"
	"strings"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// rootNamespace is the one whose gateways serve all others (Istio, MeshConfig.rootNamespace).
const rootNamespace = "istio-system"

// wantSecret adds the certificate of a Secret to what a proxy should hold, if it may have it: the proxies of the Secret's
// namespace may, the gateways of Istio's own, and the egress gateway by which a service of the Secret's namespace leaves
// the mesh; no others may for a service that leaves by a gateway. The proxy's namespace is that of its identity, which is
// proven. svc is nil for a gateway's own rules.
func (s *Server) wantSecret(st *stream, svc *model.Service, secret string, want map[string]string) {
	if s.mesh.Secret == nil {
		return
	}
	namespace, _, _ := strings.Cut(secret, "/")
	may := st.identity.Namespace == namespace || st.gateway != nil && st.identity.Namespace == rootNamespace
	if svc != nil && !svc.Upstream.EgressGateway().IsZero() {
		leaves := st.gateway != nil && st.gateway.egress && svc.Upstream.EgressGateway() == st.workload.Service
		may = leaves && (may || svc.Name.Namespace == namespace)
	}
	if !may {
		return
	}
	name := prefixSecret + secret
	r := s.cache[name]
	if r == nil {
		c := s.mesh.Secret(secret)
		if c == nil {
			return
		}
		r = secretResource(secret, c)
		s.cache[name] = r
	}
	want[name] = r.GetVersion()
}

func secretResource(secret string, c *model.Certificate) *discoveryv1.Resource {
	part := &discoveryv1.GatewayPart{Tls: jsonToWire(&listenerTLS{Certificates: []model.Certificate{*c}}, false)}
	return seal(prefixSecret+secret, &discoveryv1.Resource{Body: &discoveryv1.Resource_GatewayPart{GatewayPart: part}})
}

// secretsFromWire are the certificates among parts.
func secretsFromWire(parts map[string]*discoveryv1.GatewayPart) (out map[string]model.Certificate, err error) {
	for name := range parts {
		secret, ok := strings.CutPrefix(name, prefixSecret)
		if !ok {
			continue
		}
		tls, err := tlsFromWire(name, parts)
		switch {
		case err != nil:
			return nil, err
		case len(tls.Certificates) != 1:
			return nil, fmt.Errorf("part %q has %d certificates in place of one", name, len(tls.Certificates))
		case out == nil:
			out = map[string]model.Certificate{}
		}
		out[secret] = tls.Certificates[0]
	}
	return out, nil
}
