package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

const kindUDPRoute = "UDPRoute"

// ReasonUnsupportedProtocol is of a route whose backend does not speak what the route carries (Gateway API,
// RouteReasonUnsupportedProtocol).
const ReasonUnsupportedProtocol = "UnsupportedProtocol"

// servesPort reports why a service has no such port for what a kind of route carries: datagrams or connections.
func servesPort(kind string, s *model.Service, port uint16) (f *failure, remedy string) {
	_, connections := s.Port(port)
	datagrams := s.HasDatagrams(port)
	switch {
	case kind == kindUDPRoute && datagrams || kind != kindUDPRoute && connections:
		return nil, ""
	case connections:
		return &failure{ReasonUnsupportedProtocol, fmt.Sprintf("port %d of service %s takes connections, and a UDPRoute carries datagrams", port, s.Name)},
			"write protocol: UDP for the port of the Service, or a TCPRoute"
	case datagrams:
		return &failure{ReasonUnsupportedProtocol, fmt.Sprintf("port %d of service %s takes datagrams, and a %s carries connections", port, s.Name, kind)},
			"write a UDPRoute"
	}
	if len(s.Ports) > 0 {
		remedy = portRemedy(s)
	}
	return &failure{ReasonBackendNotFound, fmt.Sprintf("service %s has no port %d", s.Name, port)}, remedy
}

// datagramBackend reports why a gateway of the mesh cannot send datagrams to a service: endpoints behind sidecars take
// none.
func datagramBackend(s *model.Service, port uint16) (f *failure, remedy string) {
	behind := func(e model.Endpoint) bool { return !e.Plain }
	if slices.ContainsFunc(s.Endpoints, behind) && !slices.ContainsFunc(s.Endpoints, func(e model.Endpoint) bool { return e.Plain && e.Protocol == model.UDP }) {
		return &failure{ReasonUnsupportedProtocol, fmt.Sprintf("the endpoints of service %s are behind sidecars, which carry no datagrams", s.Name)},
			"declare endpoints outside the mesh by a ServiceEntry with a port of protocol UDP"
	}
	return servesPort(kindUDPRoute, s, port)
}
