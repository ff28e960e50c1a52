package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// edge is a Gateway. One that is not ours has no gates.
type edge struct {
	resource *Resource
	spec     *gateway.Gateway
	ours     bool
	gates    []*gate
	bad      []failure // why listeners are not accepted
	refs     []failure // certificates that do not resolve
}

// gate is a listener of a Gateway that is ours.
type gate struct {
	edge         *edge
	spec         *gateway.Listener
	addresses    []bound
	certificates []model.Certificate
	rules        []model.Rule
	closed       bool // conflicted, or TLS without a certificate: not served
}

// bound is where a listener listens.
type bound struct {
	at       netip.AddrPort
	optional bool
}

// name returns "namespace/gateway/listener".
func (g *gate) name() string {
	k := g.edge.resource.Key
	return k.Namespace + "/" + k.Name + "/" + g.spec.Name
}

// gateway opens the listeners of a Gateway.
func (c *standalone) gateway(r *Resource, spec *gateway.Gateway) {
	e := &edge{resource: r, spec: spec, ours: spec.Class == classWeft}
	c.gateways[gateway.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = e
	if !e.ours {
		c.warn(r, spec.ClassAt, fmt.Sprintf("a Gateway of class %q is not served", clip(spec.Class)), "write gatewayClassName: "+classWeft)
		return
	}
	c.order = append(c.order, e)
	for i := range spec.Listeners {
		g := &gate{edge: e, spec: &spec.Listeners[i]}
		for _, ip := range c.addressesOf(spec) {
			g.addresses = append(g.addresses, bound{netip.AddrPortFrom(ip.ip, g.spec.Port), ip.optional})
		}
		if g.spec.Kind.TLS() {
			c.certify(g)
		}
		e.gates = append(e.gates, g)
	}
}

type address struct {
	ip       netip.Addr
	optional bool
}

// addressesOf returns where a Gateway listens: its own addresses, those of the caller, or loopback.
func (c *standalone) addressesOf(spec *gateway.Gateway) []address {
	ips := spec.Addresses
	if len(ips) == 0 {
		ips = c.in.Bind
	}
	if len(ips) == 0 {
		return []address{{ip: netip.AddrFrom4([4]byte{127, 0, 0, 1})}, {ip: netip.IPv6Loopback(), optional: true}}
	}
	var out []address
	for _, ip := range ips {
		a := address{ip: ip.Unmap()}
		if !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// conflicts closes the listeners that cannot share an address: of no two of them one may win (Gateway API,
// GatewaySpec.listeners).
func (c *standalone) conflicts() {
	shared := map[netip.AddrPort][]*gate{}
	for _, e := range c.order {
		for _, g := range e.gates {
			for _, b := range g.addresses {
				for _, other := range shared[b.at] {
					if why := conflict(other.spec, g.spec); why != "" {
						c.conflict(g, other, fmt.Sprintf("%s on %s", why, b.at))
					}
				}
				shared[b.at] = append(shared[b.at], g)
			}
		}
	}
}

// conflict says why two listeners cannot share an address, or "".
func conflict(a, b *gateway.Listener) string {
	switch {
	case a.Kind != b.Kind:
		return fmt.Sprintf("protocols %s and %s", strings.ToUpper(string(a.Kind)), strings.ToUpper(string(b.Kind)))
	case a.Kind == model.SocketTCP:
		return "two TCP listeners"
	case a.Hostname == b.Hostname && a.Hostname == "":
		return "two listeners for every host"
	case a.Hostname == b.Hostname:
		return fmt.Sprintf("two listeners for host %s", a.Hostname)
	}
	return ""
}

// conflict closes both listeners. It is reported once for a pair, though they may share several addresses.
func (c *standalone) conflict(g, other *gate, why string) {
	message := fmt.Sprintf("listener %s is in conflict with listener %s: %s", g.name(), other.name(), why)
	reported := g.closed && other.closed && slices.ContainsFunc(g.edge.bad, func(f failure) bool {
		return strings.HasPrefix(f.message, message[:len(message)-len(why)])
	})
	g.closed, other.closed = true, true
	if reported {
		return
	}
	f := failure{ReasonListenersNotValid, message}
	g.edge.bad = append(g.edge.bad, f)
	if other.edge != g.edge {
		other.edge.bad = append(other.edge.bad, f)
	}
	c.report(g.edge.resource, g.spec.At, message,
		fmt.Sprintf("give one of them another port; the other is at %s:%d", other.edge.resource.File, other.spec.At.Line), false)
}

// sockets puts the listeners that are served where they listen.
func (c *standalone) sockets() {
	at := map[netip.AddrPort]*model.Socket{}
	for _, e := range c.order {
		for _, g := range e.gates {
			if g.closed {
				continue
			}
			for _, b := range g.addresses {
				s := at[b.at]
				if s == nil {
					s = &model.Socket{Address: b.at, Kind: g.spec.Kind, Optional: b.optional}
					at[b.at] = s
				}
				s.Optional = s.Optional && b.optional
				s.Listeners = append(s.Listeners, model.Listener{
					Name: g.name(), Hostname: g.spec.Hostname, Certificates: g.certificates, Rules: g.rules,
				})
			}
		}
	}
	for _, s := range at {
		slices.SortFunc(s.Listeners, func(a, b model.Listener) int { return cmp.Compare(a.Name, b.Name) })
		c.out.Snapshot.Sockets = append(c.out.Snapshot.Sockets, *s)
	}
	slices.SortFunc(c.out.Snapshot.Sockets, func(a, b model.Socket) int { return a.Address.Compare(b.Address) })
}

// gatewayStatus says what became of the Gateways that are ours.
func (c *standalone) gatewayStatus() {
	for _, e := range c.order {
		served := 0
		for _, g := range e.gates {
			if !g.closed {
				served++
			}
		}
		var dead []failure
		if served == 0 {
			dead = append(dead, failure{ReasonInvalid, "no listener is served"})
		}
		programmed := newCondition(ConditionProgrammed, ReasonProgrammed, dead)
		if served > 0 {
			programmed.Message = fmt.Sprintf("%d of %d listeners", served, len(e.gates))
		}
		c.out.Status[e.resource.Key] = []Condition{
			newCondition(ConditionAccepted, ReasonAccepted, e.bad),
			newCondition(ConditionResolvedRefs, ReasonResolvedRefs, e.refs),
			programmed,
		}
	}
}
