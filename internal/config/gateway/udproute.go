package gateway

import (
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// noDatagrams is why the mesh takes no datagrams: only gateways do, from outside to endpoints outside.
const noDatagrams = "the mesh carries no datagrams: a sidecar takes connections alone"

// ParseUDPRoute checks a UDPRoute, which has one rule that takes the datagrams of a gateway's listener. When the
// problems Failed the route must not be used.
func ParseUDPRoute(d *document.Document, place Place) (*Route, document.Problems) {
	var in v1.UDPRoute
	c, ok := decodeRoute(d, place, &in)
	if !ok {
		return nil, c.problems
	}
	parents := document.Path("spec", "parentRefs")
	for i, ref := range in.Spec.ParentRefs {
		if deref(ref.Kind, "Gateway") == "Service" {
			c.add(parents.Index(i).Key("kind"), "a UDPRoute of a Service is not supported: "+noDatagrams, "name a Gateway")
		}
	}
	out := c.route(&in.Spec.CommonRouteSpec, nil, document.Path("spec"))
	out.Rules = c.streamRules(each(in.Spec.Rules, func(r v1.UDPRouteRule) streamRule { return streamRule{r.Name, r.BackendRefs} }))
	return out, c.problems
}
