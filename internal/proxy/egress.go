package proxy

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// The way out of the mesh. A service that leaves by a gateway is reached, by everybody else, through the gateway's
// proxies: mesh requests to them whose headerPort names the service. What the gateway's Gateways say is asked for by
// mesh requests to their ports, without a service.

// sendOut ties services to the gateways by which they leave, and notes those that leave here. It comes before pools are
// made.
func (c *config) sendOut(services []model.Service) {
	for i := range services {
		m := &services[i]
		g := m.Upstream.EgressGateway()
		switch {
		case g.IsZero():
		case c.leavesHere(g):
			if c.leaving == nil {
				c.leaving = map[string]*service{}
			}
			c.leaving[m.Name.String()] = nil // compile fills it in
		default:
			if c.through == nil {
				c.through = map[model.ServiceName]*service{}
			}
			c.through[m.Name] = throughOf(g, services)
		}
	}
}

// leavesHere reports whether this proxy is one of the gateway's.
func (c *config) leavesHere(g model.ServiceName) bool {
	w := &c.snapshot.Workload
	return w.Egress && w.Service == g
}

// throughOf returns a gateway as those see it who leave by it: its endpoints of the mesh. It has none when it is not
// there; nobody is asked in its place.
func throughOf(g model.ServiceName, services []model.Service) *service {
	out := &model.Service{Name: g}
	for i := range services {
		if services[i].Name != g {
			continue
		}
		out.Upstream = services[i].Upstream
		for _, ep := range services[i].Endpoints {
			if !ep.Plain {
				out.Endpoints = append(out.Endpoints, ep)
			}
		}
	}
	return &service{Service: out}
}

// leave completes a service that leaves here: the rate limits are this proxy's to see to, which sees all clients.
func (c *config) leave(svc *service) error {
	name := svc.Name.String()
	if _, ok := c.leaving[name]; !ok {
		return nil
	}
	c.leaving[name] = svc
	if svc.Policy == nil || len(svc.Policy.Limits) == 0 {
		return nil
	}
	var err error
	svc.limits, err = newPlan(&model.Policy{Ref: svc.Policy.Ref, Limits: svc.Policy.Limits})
	return err
}

// routeOut finds who is to answer a request of the mesh that leaves it here, if it does: a service, or whom the rules
// of a Gateway name. More says what follows the port in headerPort: the protocol, and the service.
func (x *exchange) routeOut(via, target string) (out bool, f *Failure) {
	c := x.w.config
	if target != "" {
		s := c.leaving[target]
		if s == nil {
			return true, &Failure{"route", 503, flagNotInbound, fmt.Errorf("service %s does not leave the mesh by this gateway", clipText(target))}
		}
		x.service = s
		x.aim(s, s.pool, s.limits, x.port)
		return true, nil
	}
	socket := c.meshSockets[x.port]
	if socket == nil {
		return false, nil
	}
	name := ""
	if x.opaque && socket.Kind == model.SocketPassthrough {
		if name = hostOf(x.req.Authority); via != hintNamed {
			return true, &Failure{"route", 404, flagNoRoute, fmt.Errorf("the connection has no server name, by which listeners of port %d are chosen", x.port)}
		}
	}
	if x.opaque == socket.Kind.HTTP() {
		return true, &Failure{"route", 400, flagBadRequest, fmt.Errorf("port %d of the gateway speaks %s", x.port, socket.Kind)}
	}
	return true, x.routeSocket(socket, name)
}

// hintNamed is hintTCP for a connection whose authority is the server name of its hello of TLS.
const hintNamed = "tls"

func clipText(s string) string {
	const most = 128
	return s[:min(len(s), most)]
}

// outHint is what headerPort says to a gateway for a service that leaves by it.
type outHint struct {
	service string
	port    uint16
	via     int
}

// hint is the value of headerPort for the present try.
func (x *exchange) hint(via int) string {
	w := x.w
	if via == hintTCP && x.o.hello && x.o.sni != "" {
		via = hintTLS
	}
	if x.target == nil || x.target.through == nil {
		return w.hints.get(x.tport, via)
	}
	key := outHint{x.target.Name.String(), x.tport, via}
	s, ok := w.outHints[key]
	if !ok {
		if len(w.outHints) >= maxOutside || w.outHints == nil {
			w.outHints = map[outHint]string{}
		}
		s = w.hints.get(x.tport, via) + " " + key.service
		w.outHints[key] = s
	}
	return s
}

// leavesMesh reports whether the request came from the mesh and goes outside.
func (x *exchange) leavesMesh() bool {
	return x.o.kind == fromMesh && x.inbound == nil && x.target != nil
}

// compileMeshSocket notes a socket whose clients are of the mesh.
func (c *config) compileMeshSocket(s *socket) error {
	port := s.Address.Port()
	switch {
	case s.Kind.TLS():
		return fmt.Errorf("port %d is for clients of the mesh and ends TLS of its own", port)
	case c.meshSockets[port] != nil:
		return fmt.Errorf("the port %d is there twice", port)
	}
	if c.meshSockets == nil {
		c.meshSockets = map[uint16]*socket{}
	}
	c.meshSockets[port] = s
	return nil
}

// cutHint reads headerPort: the port, how the client speaks, and the service that leaves the mesh.
func cutHint(s string) (port, via, target string) {
	port, rest, _ := strings.Cut(s, " ")
	via, target, _ = strings.Cut(rest, " ")
	return port, via, target
}
