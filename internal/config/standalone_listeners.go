package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// edge is a Gateway or a ListenerSet. One that is not ours has no gates.
type edge struct {
	resource *Resource
	spec     *gateway.Gateway // of a ListenerSet: its parent's
	parent   *edge            // of a ListenerSet that is attached: its Gateway
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
	clientCA     string
	clientMode   model.ClientMode
	clientChecks *model.ClientChecks
	rules        []model.Rule
	waiting      map[ResourceKey]bool // routes that are attached, while an older one takes all
	clients      *model.ProxyClients  // whose connections begin with a header of the PROXY protocol
	bad          []failure            // why it is not accepted, besides conflicts
	refs         []failure            // references that do not resolve
	conflicts    []failure            // listeners it cannot share its port with
	closed       bool                 // conflicted, or TLS without a certificate: not served

	selector labels.Selector // of namespaces whose routes may attach; nil unless the listener has one
}

// bound is where a listener listens.
type bound struct {
	at       netip.AddrPort
	optional bool
}

// name returns "namespace/gateway/listener", or "namespace/listenerset:name/listener".
func (g *gate) name() string {
	k, name := g.edge.resource.Key, g.edge.resource.Key.Name
	if k.Kind == kindListenerSet {
		name = "listenerset:" + name
	}
	return k.Namespace + "/" + name + "/" + g.spec.Name
}

// gateway opens the listeners of a Gateway.
func (c *standalone) gateway(r *Resource, spec *gateway.Gateway) {
	e := &edge{resource: r, spec: spec, ours: spec.Class == classWeft}
	c.gateways[gateway.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = e
	if !e.ours {
		c.warn(r, spec.ClassAt, fmt.Sprintf("a Gateway of class %q is not served", clip(spec.Class)), "write gatewayClassName: "+classWeft)
		return
	}
	c.open(e, spec.Listeners)
}

// open opens the listeners of a Gateway or ListenerSet that is ours.
func (c *standalone) open(e *edge, listeners []gateway.Listener) {
	c.order = append(c.order, e)
	for i := range listeners {
		g := &gate{edge: e, spec: &listeners[i], waiting: map[ResourceKey]bool{}, selector: selectorOf(listeners[i].Admission)}
		for _, ip := range c.addressesOf(e.spec) {
			g.addresses = append(g.addresses, bound{netip.AddrPortFrom(ip.ip, g.spec.Port), ip.optional})
		}
		if g.spec.Kind.TLS() {
			c.certify(g)
		}
		if g.spec.Kind == model.SocketHTTPS {
			c.verifyClients(g)
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
	if len(spec.Addresses) > 0 {
		return addressesAt(spec.Addresses)
	}
	return addressesAt(c.in.Bind)
}

// addressesAt returns where to listen: at the loopback when nothing is said.
func addressesAt(ips []netip.Addr) []address {
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
	type place struct {
		at  netip.AddrPort
		udp bool  // datagrams and connections do not meet
		by  *edge // whose proxies listen there; nil: one process does for all
	}
	shared := map[place][]*gate{}
	for _, e := range c.order {
		for _, g := range e.gates {
			for _, b := range g.addresses {
				p := place{at: b.at, udp: g.spec.Kind.Datagrams()}
				if c.joined {
					p.by = cmp.Or(e.parent, e)
				}
				for _, other := range shared[p] {
					if why := conflict(other.spec, g.spec); why != "" {
						c.conflict(g, other, why+" on "+placeText(b.at))
					}
				}
				shared[p] = append(shared[p], g)
			}
		}
	}
}

// placeText names an address, which may be a port alone.
func placeText(at netip.AddrPort) string {
	if at.Addr().IsValid() {
		return at.String()
	}
	return fmt.Sprintf("port %d", at.Port())
}

// conflict says why two listeners cannot share an address, or "".
func conflict(a, b *gateway.Listener) string {
	switch {
	case !mix(a.Kind, b.Kind):
		return fmt.Sprintf("protocols %s and %s", protocolName(a.Kind), protocolName(b.Kind))
	case a.Kind == model.SocketTCP || a.Kind == model.SocketUDP:
		return fmt.Sprintf("two %s listeners", protocolName(a.Kind))
	case a.Hostname == b.Hostname && a.Hostname == "":
		return "two listeners for every host"
	case a.Hostname == b.Hostname:
		return fmt.Sprintf("two listeners for host %s", a.Hostname)
	}
	return ""
}

// mix reports whether listeners of two kinds can share an address: the server name of a client's hello tells those under
// TLS apart (Gateway API, GatewaySpec.listeners: HTTPS and TLS are one group).
func mix(a, b model.SocketKind) bool { return a == b || a.ByName() && b.ByName() }

// protocolName is what documents call a kind of sockets.
func protocolName(k model.SocketKind) string {
	if k == model.SocketPassthrough {
		return "TLS with mode Passthrough"
	}
	return strings.ToUpper(string(k))
}

// conflict closes both listeners; when one of them is of a ListenerSet, that of lower precedence alone, which is g
// (Gateway API, ListenerSetSpec.listeners). It is reported once for a pair, though they may share several addresses.
func (c *standalone) conflict(g, other *gate, why string) {
	message := fmt.Sprintf("listener %s is in conflict with listener %s: %s", g.name(), other.name(), why)
	reported := g.closed && slices.ContainsFunc(g.edge.bad, func(f failure) bool {
		return strings.HasPrefix(f.message, message[:len(message)-len(why)])
	})
	reason := ReasonHostnameConflict
	if !mix(g.spec.Kind, other.spec.Kind) {
		reason = ReasonProtocolConflict
	}
	outranked := g.edge.parent != nil && other.edge != g.edge
	g.closed, other.closed = true, other.closed || !outranked
	if reported {
		return
	}
	g.conflicts = append(g.conflicts, failure{reason, message})
	if !outranked {
		other.conflicts = append(other.conflicts, failure{reason, message})
	}
	f := failure{ReasonListenersNotValid, message}
	g.edge.bad = append(g.edge.bad, f)
	if other.edge != g.edge && !outranked {
		other.edge.bad = append(other.edge.bad, f)
	}
	c.report(g.edge.resource, g.spec.At, message,
		fmt.Sprintf("give one of them another port; the other is at %s:%d", other.edge.resource.File, other.spec.At.Line), outranked)
}

// sockets puts the listeners that are served where they listen.
func (c *standalone) sockets() { c.out.Snapshot.Sockets = c.socketsOf(nil) }

// socketsOf returns the sockets of one Gateway, or of all when it is nil.
func (c *standalone) socketsOf(gw *edge) (out []model.Socket) {
	type place struct {
		at  netip.AddrPort
		udp bool
	}
	at := map[place]*model.Socket{}
	for _, e := range c.order {
		if gw != nil && !e.of(gw) {
			continue
		}
		for _, g := range e.gates {
			if g.closed {
				continue
			}
			for _, b := range g.addresses {
				p := place{b.at, g.spec.Kind.Datagrams()}
				s := at[p]
				if s == nil {
					s = &model.Socket{Address: b.at, Kind: g.spec.Kind, Optional: b.optional}
					at[p] = s
				}
				c.introduce(g, s)
				s.Optional = s.Optional && b.optional
				s.Add(model.Listener{
					Name: g.name(), Hostname: g.spec.Hostname, Certificates: g.certificates, Rules: g.ordered(),
					ClientCA: g.clientCA, ClientMode: g.clientMode, ClientChecks: g.clientChecks, ACME: g.spec.ACME,
				}, g.spec.Kind)
			}
		}
	}
	for _, s := range at {
		slices.SortFunc(s.Listeners, func(a, b model.Listener) int { return cmp.Compare(a.Name, b.Name) })
		out = append(out, *s)
	}
	slices.SortFunc(out, compareSockets)
	return out
}

func compareSockets(a, b model.Socket) int {
	return cmp.Or(a.Address.Compare(b.Address), cmp.Compare(a.Kind, b.Kind))
}

// introduce tells a socket whose connections begin with a header of the PROXY protocol. That is known before it is
// known which of its listeners a connection is for: the first one's word holds.
func (c *standalone) introduce(g *gate, s *model.Socket) {
	if len(s.Listeners) == 0 {
		if s.ProxyProtocol = g.clients; s.Kind.Datagrams() {
			s.ProxyProtocol = nil // it is of connections
		}
		return
	}
	if !reflect.DeepEqual(s.ProxyProtocol, g.clients) {
		message := fmt.Sprintf("listener %s shares %s with listener %s, of which policies say otherwise of the PROXY protocol", g.name(), placeText(s.Address), s.Listeners[0].Name)
		c.warn(g.edge.resource, g.spec.At, message, "write clients.proxyProtocol for the whole Gateway, or give the listeners different ports")
		if s.ProxyProtocol == nil {
			s.ProxyProtocol = g.clients // a header that is not expected would be taken for the client's first bytes
		}
	}
}

// ordered returns the listener's rules. Those that are chosen by server name have one host each, the most specific
// first, so that the first one whose host has the name is right.
func (g *gate) ordered() []model.Rule {
	if g.spec.Kind != model.SocketTLS && g.spec.Kind != model.SocketPassthrough {
		return g.rules
	}
	var out []model.Rule
	for _, rule := range g.rules {
		if len(rule.Hosts) == 0 {
			out = append(out, rule)
		}
		for _, host := range rule.Hosts {
			rule.Hosts = []string{host}
			out = append(out, rule)
		}
	}
	rank := func(r *model.Rule) (exact, length int) {
		if len(r.Hosts) == 0 {
			return 0, 0
		}
		if strings.HasPrefix(r.Hosts[0], "*") {
			return 1, len(r.Hosts[0])
		}
		return 2, len(r.Hosts[0])
	}
	slices.SortStableFunc(out, func(a, b model.Rule) int {
		ea, la := rank(&a)
		eb, lb := rank(&b)
		return cmp.Or(cmp.Compare(eb, ea), cmp.Compare(lb, la))
	})
	return out
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
		if e.parent == nil && e.spec.DefaultScope {
			c.out.Status[e.resource.Key] = append(c.out.Status[e.resource.Key], defaultCondition())
		}
		if e.parent == nil && insecure(e.spec) {
			c.out.Status[e.resource.Key] = append(c.out.Status[e.resource.Key], Condition{
				Type: ConditionInsecureFrontend, Status: "True", Reason: ReasonConfigurationChanged,
				Message: "clients without a valid certificate are served: mode is AllowInsecureFallback",
			})
		}
	}
}

// insecure reports whether clients are asked for certificates that they need not have.
func insecure(spec *gateway.Gateway) bool {
	if spec.Clients != nil && spec.Clients.Mode == model.ClientOptional {
		return true
	}
	for _, v := range spec.ClientsOn {
		if v != nil && v.Mode == model.ClientOptional {
			return true
		}
	}
	return false
}
