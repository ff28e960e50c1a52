package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/config/native"
	"github.com/weft-mesh/weft/internal/model"
)

// anywhere is the address of listeners whose Gateway names none: each gateway puts its own in its place.
func anywhere() []netip.Addr { return []netip.Addr{{}} }

// meshEdge compiles the Gateways of a mesh. Listeners, their routes and their policies are those of a standalone
// gateway; backends are the mesh's services, which the routes have been resolved to already.
type meshEdge struct {
	*standalone
	c *compiler
}

// newMeshEdge opens the listeners of the mesh's Gateways; nil when it has none.
func newMeshEdge(c *compiler, resources []Resource) *meshEdge {
	if !slices.ContainsFunc(resources, func(r Resource) bool { return r.isGateway() }) {
		return nil
	}
	out := &Standalone{Snapshot: &model.Snapshot{}, Status: c.mesh.Status}
	s := newStandalone(StandaloneInput{Resources: resources, Bind: anywhere(), Now: c.now}, out)
	s.joined = true
	s.index(resources)
	s.listenerSets(resources)
	s.conflicts()
	return &meshEdge{standalone: s, c: c}
}

// isGateway reports whether r is a Gateway, of either dialect.
func (r *Resource) isGateway() bool {
	switch r.body.(type) {
	case *gateway.Gateway, *istio.Gateway:
		return true
	}
	return false
}

// attachRoutes gives the rules of routes to the listeners that they name, and the routes the reasons why one does
// not take them.
func (e *meshEdge) attachRoutes() {
	for _, p := range e.c.pending {
		route, _ := p.resource.Route()
		attached := map[*gate]bool{}
		for _, parent := range route.Gateways {
			state := parentState{ParentRef: gatewayParent(parent)}
			if f, remedy := e.attach(p.resource, route, parent, p.rules, attached); f != nil {
				state.failures = append(state.failures, *f)
				e.warn(p.resource, parent.At, f.message, remedy)
			}
			p.parents = append(p.parents, state)
		}
		byDefault := e.attachDefaults(p.resource, route, p.rules, attached)
		for _, d := range byDefault {
			state := parentState{ParentRef: gatewayParent(d.GatewayParent), byDefault: true}
			if d.failure != nil {
				state.failures = []failure{*d.failure}
			}
			p.parents = append(p.parents, state)
		}
		e.c.undefaulted(p, route, len(byDefault))
	}
}

// undefaulted notes that a route wants default Gateways, and there are none.
func (c *compiler) undefaulted(p *pending, route *gateway.Route, found int) {
	if f := noDefaults(route, found); f != nil {
		p.unbound = f
		c.warn(p.resource, route.DefaultsAt, f.message, remedyNoDefaults)
	}
}

// attachRoutes compiles the Gateways, and says of routes that name one when there is none.
func (c *compiler) attachRoutes(resources []Resource) {
	c.edge = newMeshEdge(c, resources)
	if c.edge != nil {
		c.edge.attachRoutes()
		return
	}
	for _, p := range c.pending {
		route, _ := p.resource.Route()
		for _, parent := range route.Gateways {
			f := failure{ReasonNoMatchingParent, fmt.Sprintf("there is no %s %s", parent.Kind, parent.Gateway)}
			p.parents = append(p.parents, parentState{ParentRef: gatewayParent(parent), failures: []failure{f}})
			c.warn(p.resource, parent.At, f.message, "")
		}
		c.undefaulted(p, route, 0)
	}
}

// finish puts the listeners of each Gateway into the mesh, and what is wrong with them among its warnings.
func (e *meshEdge) finish() {
	e.c.mesh.gateways = map[gateway.ObjectName][]model.Socket{}
	e.c.mesh.clientCertificates = map[gateway.ObjectName]*model.Certificate{}
	e.clientCertificates()
	e.gatewayStatus()
	e.listenerStatus()
	for _, g := range e.order {
		if g.parent == nil {
			e.c.mesh.gateways[g.objectName()] = e.socketsOf(g)
		}
	}
	for _, p := range e.problems.Distinct().Bound(document.Limits{}.WithDefaults().Problems) {
		p.Warning = true // the mesh runs all the same, without the listener
		e.c.warnings = append(e.c.warnings, p)
	}
}

// objectName is how parents refer to a Gateway.
func (e *edge) objectName() gateway.ObjectName {
	return gateway.ObjectName{Namespace: e.resource.Key.Namespace, Name: e.resource.Key.Name}
}

// of reports whether the listeners of e are those of Gateway g: its own, or of a ListenerSet attached to it.
func (e *edge) of(g *edge) bool { return e == g || e.parent == g }

// Gateway returns what the proxies of a Gateway listen on. Where it names no addresses they are bind, or the
// loopback when bind is empty. A Gateway that does not exist, or is not of class weft, has no sockets.
func (m *Mesh) Gateway(namespace, name string, bind []netip.Addr) []model.Socket {
	return placed(m.gateways[gateway.ObjectName{Namespace: namespace, Name: name}], bind)
}

// placed puts sockets without an address where a proxy listens.
func placed(sockets []model.Socket, bind []netip.Addr) (out []model.Socket) {
	for _, s := range sockets {
		if s.Address.Addr().IsValid() {
			out = append(out, s)
			continue
		}
		for _, a := range addressesAt(bind) {
			here := s
			here.Address, here.Optional = netip.AddrPortFrom(a.ip, s.Address.Port()), a.optional
			out = append(out, here)
		}
	}
	slices.SortFunc(out, compareSockets)
	return out
}

// attachListenerPolicies gives the rules of listeners what policies say of them and of their Gateway.
func (c *standalone) attachListenerPolicies(ps *policies) {
	for _, e := range c.order {
		own := e.resource.Key
		if e.parent != nil {
			own = e.parent.resource.Key // the listeners of a ListenerSet have the policy of their Gateway
		}
		t := target{kind: native.KindGateway, namespace: own.Namespace, name: own.Name}
		general, clients := ps.policyOf(t), ps.clientsOf(t)
		for _, g := range e.gates {
			listener := general
			g.clients = clients
			if e.parent == nil {
				t.section = g.spec.Name
				listener = model.MergePolicy(ps.policyOf(t), general)
				g.clients = cmp.Or(ps.clientsOf(t), clients)
			}
			ps.rulesOf(g.rules, listener)
		}
	}
}
