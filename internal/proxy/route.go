package proxy

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// route finds who is to answer: service, rule, backend; or, for a request from the mesh, the local program.
func (x *exchange) route() *Failure {
	if x.o.kind == fromMesh {
		return x.routeInbound()
	}
	// What only proxies say to each other is never taken from a program.
	x.req.Del(headerPort)
	x.req.Del(headerSource)
	if x.o.kind == fromGateway {
		return x.routeGateway()
	}
	if f := x.resolve(); f != nil || x.fixed != nil || x.backend != nil {
		return f
	}
	if x.aim(x.service, x.service.pool, x.service.plan, x.port); len(x.service.rules) == 0 {
		return nil
	}
	if x.opaque {
		return x.routeBytes()
	}
	i, match, ok := x.ruleIn(x.service.table, x.req)
	if !ok && !x.service.table.Has(x.port) {
		return x.takeBytes() // no rule is for requests on the port
	}
	if !ok {
		return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no rule of service %s matches the request", x.service.Name)}
	}
	return x.take(x.service.rules[i], match)
}

// routeBytes routes a connection of bytes: one of TLS by its server name, where the service has rules for names.
func (x *exchange) routeBytes() *Failure {
	if found, f := x.routeName(); found {
		return f
	}
	if f := x.takeBytes(); f != nil || x.rule != nil {
		return f
	}
	return x.nameless()
}

// takeBytes takes the first rule for connections of bytes on the port, if there is one.
func (x *exchange) takeBytes() *Failure {
	r := x.firstFor(x.service.rules, func(r *rule) bool {
		return r.Layer == model.Bytes && (r.Port == 0 || r.Port == x.port)
	})
	if r == nil {
		return nil
	}
	return x.take(r, -1)
}

// aim sets who is to answer, on which port. The endpoints are those of the present configuration, even if another is
// adopted before the exchange ends.
func (x *exchange) aim(s *service, p *pool, with *plan, port uint16) {
	x.target, x.plan, x.tport = s, with, port
	if len(p.ports) > 0 {
		p = p.of(port)
	}
	x.set = x.w.sets[p.index]
}

// take makes the rule the request's, by the match of that index.
func (x *exchange) take(r *rule, match int) *Failure {
	x.rule, x.match = r, match
	x.rec.Rule = &r.Ref
	if r.Filters.Redirect != nil || r.Filters.Direct != nil {
		x.plan = r.plan // nobody else is to answer
		return nil
	}
	return x.chooseBackend()
}

// chooseBackend takes a share of the rule by weight.
func (x *exchange) chooseBackend() *Failure {
	i := route.PickBackend(x.rule.Rule, x.w.random.Uint64())
	if i < 0 {
		return &Failure{"route", 500, flagBadBackend, fmt.Errorf("%s has no backend with a weight", x.rule.Ref)}
	}
	b := &x.rule.backends[i]
	if b.service == nil {
		why := b.Invalid
		if why == "" {
			why = fmt.Sprintf("service %s does not exist", b.Service)
		}
		return &Failure{"route", 500, flagBadBackend, fmt.Errorf("%s: %s", x.rule.Ref, why)}
	}
	x.aim(b.service, b.pool, b.plan, cmp.Or(b.Port, x.tport))
	x.backend = b
	return nil
}

// resolve finds the service that the client asks for.
func (x *exchange) resolve() *Failure {
	c := x.w.config
	switch x.o.kind {
	case fromCapture:
		x.service, x.port = c.byVIP[x.o.dst.Addr()], x.o.dst.Port()
		if x.service == nil {
			return x.resolveElsewhere()
		}
	case fromUpstream:
		x.port = x.o.port
		if x.service = x.w.find(x.o.service); x.service == nil {
			return x.unknown(x.o.service.String())
		}
	default:
		return x.resolveHost()
	}
	return nil
}

// resolveHost finds a service by the request's authority, or a host outside the mesh.
func (x *exchange) resolveHost() *Failure {
	x.opaque = x.req.Method == "CONNECT" && x.req.Protocol == "" // a tunnel through us, to the service itself
	x.port = authorityPort(x.req.Authority)
	if x.service = x.named(); x.service != nil {
		return nil
	}
	if x.w.config.registryOnly() {
		return x.unknown(hostOf(x.req.Authority))
	}
	return x.outside(x.req.Authority)
}

// named finds the service that the request's authority names; nil is none.
func (x *exchange) named() *service {
	own := x.w.config.snapshot.Workload.Namespace()
	if name, _, ok := parseHost(x.req.Authority, own); ok {
		if s := x.w.find(name); s != nil {
			return s
		}
	}
	if host, is := outsideHost(x.req.Authority); is {
		// A host outside of which the workload's namespace has made a service (Istio, ServiceEntry).
		return x.w.find(model.ServiceName{Namespace: own, Name: host})
	}
	return x.w.config.addressed(x.req.Authority)
}

// find returns a service by name, asking the control plane for it if it is not known here yet.
func (w *worker) find(name model.ServiceName) *service {
	if s := w.config.byName[name]; s != nil {
		return s
	}
	lookup := w.e.o.Lookup
	if lookup == nil {
		return nil
	}
	// The name is borrowed from the request, and whoever looks it up may keep it.
	name = model.ServiceName{Namespace: strings.Clone(name.Namespace), Name: strings.Clone(name.Name)}
	var known bool
	w.blocking(func() { known = lookup(name) })
	if !known {
		return nil
	}
	return w.config.byName[name]
}

// blocking runs f, which may block, on a goroutine of its own and parks the current task meanwhile.
func (w *worker) blocking(f func()) {
	t, done := w.loop.Current(), false
	go func() {
		f()
		w.loop.Post(func() { done = true; w.loop.Wake(t) })
	}()
	for !done {
		w.loop.Park()
	}
}

// routeInbound finds the local program a mesh request is for.
func (x *exchange) routeInbound() *Failure {
	portText, via, target := cutHint(x.req.Get(headerPort))
	port, err := parsePort(portText)
	if err != nil {
		return &Failure{"route", 400, flagBadRequest, fmt.Errorf("field %s: %w", headerPort, err)}
	}
	x.rec.Source = x.claimedSource()
	x.req.Del(headerPort)
	x.req.Del(headerSource)
	x.port = port
	x.opaque = via == "tcp" || via == hintNamed
	if x.w.config.snapshot.Workload.Egress {
		if out, f := x.routeOut(via, target); out {
			return f
		}
	}
	if x.inbound = x.w.config.inbound[port]; x.inbound == nil {
		return &Failure{"route", 503, flagNotInbound, fmt.Errorf("this workload serves no port %d", port)}
	}
	x.fixed, x.set = x.w.program(x.inbound, via), x.w.comeIn[port]
	if x.w.config.own != nil && !x.opaque {
		return x.limited(x.w.config.own)
	}
	return nil
}

// claimedSource is the name the client's proxy gives for its workload, if it fits the proven identity.
func (x *exchange) claimedSource() string {
	s := x.req.Get(headerSource)
	if s == x.o.source {
		return x.o.source
	}
	if ns, _, ok := strings.Cut(s, "/"); !ok || ns != x.o.peer.Namespace || len(s) > 256 {
		return ""
	}
	x.o.source = strings.Clone(s)
	return x.o.source
}

// program returns the endpoint that stands for a port of the local program. A port whose protocol is not
// declared is spoken to as the client speaks.
func (w *worker) program(in *model.Inbound, via string) *endpoint {
	http2 := in.Protocol == model.HTTP2 || in.Protocol == model.GRPC || in.Protocol == model.Auto && via == "h2"
	key := localKey{in.ServicePort, in.Port, http2}
	ep := w.local[key]
	if ep == nil {
		ep = newEndpoint(w, &model.Endpoint{
			ID: w.config.snapshot.Workload.ID, Address: localAddr(in.Port), Plain: true,
		})
		ep.http2 = http2
		w.local[key] = ep
		w.bound(ep, key)
	}
	return ep
}

// prepare writes into the request what this hop adds, for the stream it leaves by.
func (x *exchange) prepare() {
	h := x.req
	if x.ep.model.Plain {
		h.Del(headerPort)
		h.Del(headerSource)
		if t := x.tunnelFor(x.ep); t != nil {
			x.address(t)
			return
		}
		if h.Protocol != "" && !x.opaque {
			h.Method = "CONNECT"
			if !x.up.HTTP2() {
				h.Method = "GET"
			}
			x.challenge()
		}
		if h.Scheme == "" {
			h.Scheme = "http"
		}
		return
	}
	h.Scheme = "http"
	via := hintH1
	switch {
	case x.opaque:
		via = hintTCP
	case x.down.HTTP2():
		via = hintH2
	}
	if x.opaque && x.o.hello && x.o.sni != "" {
		h.Authority = x.o.sni // by which a gateway may choose its rule
	}
	h.Set(headerPort, x.hint(via))
	if s := x.w.config.source; s != "" {
		h.Set(headerSource, s)
	}
	if h.Protocol != "" {
		h.Method = "CONNECT"
	}
}

// The protocols a mesh request says its client speaks.
const (
	hintH1 = iota
	hintH2
	hintTCP
	hintTLS // bytes that begin with a hello of TLS, whose server name is the authority
)

// hints are the values of headerPort, made once for each port.
type hints map[uint32]string

func (hs hints) get(port uint16, via int) string {
	key := uint32(port)<<2 | uint32(via)
	s, ok := hs[key]
	if !ok {
		s = strconv.Itoa(int(port)) + [...]string{" h1", " h2", " tcp", " " + hintNamed}[via]
		hs[key] = s
	}
	return s
}

// noEndpoint says why nobody can be picked.
func (x *exchange) noEndpoint() *Failure {
	all := x.set.all
	switch {
	case x.target != nil && x.target.through != nil:
		return &Failure{"pick", 503, flagNoEgress, fmt.Errorf("service %s leaves the mesh by the gateway %s, of which no proxy is there", x.target.Name, x.target.through.Name)}
	case len(all) == 0 && x.backend != nil && len(x.backend.Subset) > 0:
		return &Failure{"pick", 503, flagNoEndpoints, fmt.Errorf("service %s has no endpoints with the labels of the subset", x.target.Name)}
	case len(all) == 0:
		return &Failure{"pick", 503, flagNoEndpoints, fmt.Errorf("service %s has no endpoints", x.target.Name)}
	}
	return &Failure{"pick", 503, flagNoEndpoints, fmt.Errorf("none of the %d endpoints of %s serves port %d", len(all), x.target.Name, x.tport)}
}

// refusedBy reports whether an answer says that the endpoint's proxy did not pass the request on, so that
// another endpoint may be tried. Only a proxy can say so: it takes the field from its program's answers.
func (ep *endpoint) refusedBy(h *message.Head) bool {
	if ep.model.Plain {
		return false
	}
	switch h.Get(failureHeader) {
	case flagConnect, flagDraining, flagNotInbound, flagOverload:
		return true
	}
	return false
}
