package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// defaultLabels are those of a gateway that was given none: what the selectors of Istio's samples ask for.
func defaultLabels() map[string]string { return map[string]string{"istio": "ingressgateway"} }

// istioEdge compiles what was written in Istio's dialect for a standalone gateway.
type istioEdge struct {
	*standalone
	rules   *istioCompiler // resolves hosts and subsets, over the services of the documents
	sockets map[netip.AddrPort]*istioSocket
	virtual []*Resource // bound to gateways, oldest first
	bound   map[*Resource]bool
	home    string                     // namespace of the first Gateway: its DestinationRules go before those of the services
	outside map[model.ServiceName]bool // services of ServiceEntries that rules name
}

// istioSocket is a socket with its listeners by host ("" for every host).
type istioSocket struct {
	kind      model.SocketKind
	mesh      bool // for clients of the mesh alone
	from      *Resource
	optional  bool
	listeners map[string]*istioListener
}

// istioListener is a host of one server, or of several HTTP servers that share it.
type istioListener struct {
	model.Listener
	servers []istioServer
}

// kind is what the listener's servers speak.
func (ln *istioListener) kind() model.SocketKind { return ln.servers[0].server.Kind }

// istioServer is a server of a Gateway as it is seen by one listener.
type istioServer struct {
	resource  *Resource
	server    *istio.Server
	namespace string // whose VirtualServices may take the host; "" for all
}

func (s istioServer) gateway() string { return s.resource.Key.Namespace + "/" + s.resource.Key.Name }

// newIstioEdge reads what there is of the dialect; nil when there is no Gateway of it.
func newIstioEdge(c *standalone, resources []Resource) *istioEdge {
	if !slices.ContainsFunc(resources, func(r Resource) bool { _, ok := r.body.(*istio.Gateway); return ok }) {
		return nil
	}
	services := make(map[model.ServiceName]*model.Service, len(c.services))
	for name, r := range c.services {
		s := &model.Service{Name: name}
		for _, p := range r.body.(*gateway.Service).Ports {
			s.Ports = append(s.Ports, p.Port)
		}
		services[name] = s
	}
	inner := &compiler{mesh: &Mesh{Services: services, Status: c.out.Status}, names: map[string][]string{}}
	e := &istioEdge{standalone: c, rules: newIstioCompiler(inner), sockets: map[netip.AddrPort]*istioSocket{}, bound: map[*Resource]bool{}}
	e.rules.alone = true
	e.outside = map[model.ServiceName]bool{}
	e.rules.declareEntries(resources)
	for i := range resources {
		r := &resources[i]
		switch body := r.body.(type) {
		case *istio.VirtualService:
			e.rules.resources[istio.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = r
			e.virtual = append(e.virtual, r)
		case *istio.DestinationRule:
			e.rules.destinationRule(r, body)
		case *istio.Sidecar:
			c.warn(r, nowhere(r), "has no effect at a gateway", "")
		}
	}
	return e
}

// apply opens the sockets of Istio's Gateways and binds VirtualServices to them. It comes before the services of
// documents are compiled, so that those it uses are among them.
func (e *istioEdge) apply(resources []Resource) {
	labels := e.in.Labels
	if labels == nil {
		labels = defaultLabels()
	}
	e.out.Snapshot.Workload.Labels = labels
	for i := range resources {
		r := &resources[i]
		if g, ok := r.body.(*istio.Gateway); ok {
			e.gateway(r, g, labels)
		}
	}
	e.fillAll()
	e.reportUnbound()
}

// fillAll gives all listeners their rules.
func (e *istioEdge) fillAll() {
	for _, at := range slices.SortedFunc(maps.Keys(e.sockets), netip.AddrPort.Compare) {
		s := e.sockets[at]
		for _, host := range slices.Sorted(maps.Keys(s.listeners)) {
			e.fill(s.listeners[host])
		}
	}
}

// gateway opens the servers of a Gateway that selects this gateway.
func (e *istioEdge) gateway(r *Resource, g *istio.Gateway, labels map[string]string) {
	for _, k := range slices.Sorted(maps.Keys(g.Selector)) {
		if v, ok := labels[k]; !ok || v != g.Selector[k] {
			message := fmt.Sprintf("is not for this gateway, whose labels are %s: it selects %s=%s", labelText(labels), clip(k), clip(g.Selector[k]))
			e.warn(r, nowhere(r), message, "change the selector, or the gateway's labels")
			e.out.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, []failure{{ReasonInvalid, message}})}
			return
		}
	}
	e.home = cmp.Or(e.home, r.Key.Namespace)
	e.servers(r, g)
}

// servers opens the servers of a Gateway, and says what became of them.
func (e *istioEdge) servers(r *Resource, g *istio.Gateway) {
	var failures []failure
	for i := range g.Servers {
		failures = append(failures, e.server(r, &g.Servers[i])...)
	}
	e.out.Status[r.Key] = []Condition{
		newCondition(ConditionAccepted, ReasonAccepted, failures),
		newCondition(ConditionProgrammed, ReasonProgrammed, failures),
	}
}

func labelText(labels map[string]string) string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(labels)) {
		out = append(out, k+"="+labels[k])
	}
	return some(out)
}

// server opens the listeners of a server, on every address.
func (e *istioEdge) server(r *Resource, s *istio.Server) (failures []failure) {
	fail := func(at gateway.Position, message, remedy string, warning bool) {
		e.report(r, at, message, remedy, warning)
		failures = append(failures, failure{ReasonListenersNotValid, message})
	}
	base := model.Listener{Ordered: true}
	if s.Mesh && !e.joined {
		fail(s.TLSAt, "ISTIO_MUTUAL is for clients of a mesh, and this gateway is in none", "give the document to the control plane of a mesh (weft apply)", false)
		return failures
	}
	if s.Kind.TLS() {
		if base.Certificates = e.certificates(r, s); len(base.Certificates) == 0 {
			return []failure{{ReasonInvalidCertificateRef, "server " + s.Name + " has no certificate"}}
		}
		if why := e.clients(r, s, &base); why != "" {
			fail(s.TLSAt, why, "the server is not served without", false)
			return failures
		}
		base.Terms = s.Terms
	}
	spec := &gateway.Gateway{}
	if s.Bind.IsValid() {
		spec.Addresses = []netip.Addr{s.Bind}
	}
	for _, a := range e.addressesOf(spec) {
		at := netip.AddrPortFrom(a.ip, s.Port)
		socket := e.sockets[at]
		if socket == nil {
			socket = &istioSocket{kind: s.Kind, mesh: s.Mesh, from: r, optional: a.optional, listeners: map[string]*istioListener{}}
			e.sockets[at] = socket
		}
		socket.optional = socket.optional && a.optional
		if socket.mesh != s.Mesh || socket.kind != s.Kind && (s.Mesh || !mix(socket.kind, s.Kind)) {
			fail(s.At, fmt.Sprintf("server %s speaks %s on %s, where one of %s speaks %s", s.Name, spoken(s.Kind, s.Mesh), placeText(at), socket.from.Key, spoken(socket.kind, socket.mesh)), "give one of them another port", false)
			continue
		}
		for _, h := range s.Hosts {
			if f := e.listen(socket, at, istioServer{r, s, h.Namespace}, h.Name, base); f != "" {
				fail(s.At, f, "name a host once on a port", false)
			}
		}
	}
	return failures
}

// listen adds a listener for a host, or a server to the listener that has the host. It says why it cannot.
func (e *istioEdge) listen(socket *istioSocket, at netip.AddrPort, s istioServer, host string, ln model.Listener) string {
	if host == "*" {
		host = ""
	}
	if s.server.Kind == model.SocketTCP {
		host = "" // bytes name no host
	}
	old := socket.listeners[host]
	if old == nil {
		name := s.gateway() + "/" + s.server.Name
		if len(s.server.Hosts) > 1 && host != "" {
			name += "/" + host
		}
		ln.Name, ln.Hostname = name, host
		socket.listeners[host] = &istioListener{Listener: ln, servers: []istioServer{s}}
		return ""
	}
	switch s.server.Kind {
	case model.SocketHTTP:
		old.servers = append(old.servers, s)
		return ""
	case model.SocketTCP:
		if old.servers[0].server == s.server {
			return "" // several hosts of one server
		}
		return fmt.Sprintf("the connections on %s are those of listener %s", placeText(at), old.Name)
	}
	return fmt.Sprintf("the host %s on %s is that of listener %s", cmp.Or(host, "*"), placeText(at), old.Name)
}

// socket returns the socket with its listeners by host.
func (s *istioSocket) socket(at netip.AddrPort) model.Socket {
	out := model.Socket{Address: at, Optional: s.optional, Mesh: s.mesh}
	for i, host := range slices.Sorted(maps.Keys(s.listeners)) {
		ln := s.listeners[host]
		if i == 0 {
			out.Kind = ln.kind()
		}
		out.Add(ln.Listener, ln.kind())
	}
	return out
}

// finish puts the sockets and the services of ServiceEntries into the snapshot, and what DestinationRules say. It
// comes last.
func (e *istioEdge) finish() {
	services := &e.out.Snapshot.Services
	for _, n := range sortedNames(e.outside) {
		*services = append(*services, *e.rules.mesh.Services[n])
	}
	slices.SortFunc(*services, func(a, b model.Service) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	for i := range *services {
		s := &(*services)[i]
		if d, r := e.rules.ruleFor(s.Name, e.home); d != nil {
			s.Upstream = model.MergeUpstream(s.Upstream, e.upstream(r, &d.Traffic, s))
		}
	}
	for _, at := range slices.SortedFunc(maps.Keys(e.sockets), netip.AddrPort.Compare) {
		s := e.sockets[at]
		if slices.ContainsFunc(e.out.Snapshot.Sockets, func(other model.Socket) bool { return other.Address == at && !other.Kind.Datagrams() }) {
			e.report(s.from, nowhere(s.from), fmt.Sprintf("the address %s is that of a Gateway of the Gateway API", at), "give one of them another port", false)
			continue
		}
		if socket := s.socket(at); len(socket.Listeners) > 0 {
			e.out.Snapshot.Sockets = append(e.out.Snapshot.Sockets, socket)
		}
	}
	slices.SortFunc(e.out.Snapshot.Sockets, compareSockets)
	for key, failures := range e.rules.refs {
		e.out.Status[key] = append(e.out.Status[key], newCondition(ConditionResolvedRefs, ReasonResolvedRefs, failures))
	}
	e.problems = append(e.problems, e.rules.warnings...)
}
