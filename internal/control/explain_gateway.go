package control

import (
	"cmp"
	"context"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
	"github.com/weft-mesh/weft/internal/xds"
)

// explainGateway says what a gateway does with a request: listener, rule, backends, endpoints, and what its proxies
// leave out at the moment.
func (a *admin) explainGateway(ctx context.Context, e *explanation, req *adminv1.ExplainRequest) (*connect.Response[adminv1.ExplainResponse], error) {
	var name model.ServiceName
	if err := name.UnmarshalText([]byte(req.GetGateway())); err != nil || name.IsZero() {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("gateway %q is not NAMESPACE/NAME", req.GetGateway()))
	}
	at, err := readPlace(req.GetUrl())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	g := a.gatewayNamed(e, name)
	if g == nil {
		return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no Gateway %s, and no gateway of that name is connected", name))
	}
	h := &message.Head{Method: cmp.Or(req.GetMethod(), "GET"), Path: cmp.Or(at.path, "/"), Authority: at.authority}
	for _, f := range req.GetHeaders() {
		h.Add(strings.ToLower(f.GetName()), f.GetValue())
	}
	e.out.Request, e.out.Proxy = fmt.Sprintf("%s %s at gateway %s", h.Method, req.GetUrl(), name), g.proxies.String()
	e.atGateway(g, at, h)
	e.ask(ctx, a, g.proxies.String())
	return connect.NewResponse(e.out), nil
}

// explainedGateway is a gateway as its proxies have it.
type explainedGateway struct {
	name    model.ServiceName // as it was asked for
	proxies model.ServiceName // the service of its proxies
	sockets []model.Socket
	egress  bool
}

// gatewayNamed finds a Gateway of the Gateway API, a gateway that is connected, or a Gateway of Istio's by the labels
// that it selects; nil when there is none.
func (a *admin) gatewayNamed(e *explanation, name model.ServiceName) *explainedGateway {
	out := &explainedGateway{name: name, proxies: name, sockets: e.mesh.Gateway(name.Namespace, name.Name, nil)}
	found := len(out.sockets) > 0 || len(e.mesh.Egress(name)) > 0
	out.egress = len(e.mesh.Egress(name)) > 0
	for _, p := range a.s.xds.Proxies() {
		n := p.Node
		placed := n.GetPlacement() == xds.PlacedGateway || n.GetPlacement() == xds.PlacedEgress
		if !placed || p.Identity.Namespace != name.Namespace || n.GetService() != name.Name {
			continue
		}
		found, out.egress = true, n.GetPlacement() == xds.PlacedEgress
		if n.GetGateway() == "" {
			out.sockets = e.mesh.Selected(n.GetLabels(), name.Namespace, nil)
		}
		return out
	}
	if selector := e.mesh.Selector(name.Namespace, name.Name); selector != nil && !found {
		out.sockets, found = e.mesh.SelectedBy(selector), true
		out.proxies = a.selectedProxies(selector, name)
	}
	if !found {
		return nil
	}
	return out
}

// selectedProxies returns the service of the first proxies that have the labels; else the name itself.
func (a *admin) selectedProxies(selector map[string]string, otherwise model.ServiceName) model.ServiceName {
	for _, p := range a.s.xds.Proxies() {
		has := p.Node.GetGateway() == "" && p.Node.GetPlacement() != "sidecar"
		for k, v := range selector {
			has = has && p.Node.GetLabels()[k] == v
		}
		if has {
			return model.ServiceName{Namespace: p.Identity.Namespace, Name: p.Node.GetService()}
		}
	}
	return otherwise
}

// place is where a request comes in.
type place struct {
	scheme, host, authority, path string
	port                          uint16
}

func readPlace(text string) (place, error) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" {
		return place{}, fmt.Errorf("%q is no URL such as https://shop.example.com/cart", text)
	}
	ports := map[string]uint16{"http": 80, "https": 443, "tls": 443}
	out := place{scheme: u.Scheme, host: u.Hostname(), authority: u.Host, path: u.RequestURI(), port: ports[u.Scheme]}
	if text := u.Port(); text != "" {
		n, err := strconv.ParseUint(text, 10, 16)
		if err != nil || n == 0 {
			return out, fmt.Errorf("port %q is not a number from 1 to 65535", text)
		}
		out.port = uint16(n)
	}
	switch {
	case !slices.Contains([]string{"http", "https", "tcp", "tls", "udp"}, u.Scheme):
		return out, fmt.Errorf("%q: write http, https, tcp, tls or udp", u.Scheme)
	case out.port == 0:
		return out, fmt.Errorf("%s wants a port", u.Scheme)
	}
	return out, nil
}

// atGateway goes the way of a request through a gateway.
func (e *explanation) atGateway(g *explainedGateway, at place, h *message.Head) {
	if g.egress && at.scheme != "udp" && e.leaves(g, at) {
		return
	}
	ln, socket := e.listener(g, at)
	if ln == nil {
		return
	}
	if socket.Kind.Datagrams() {
		e.out.Request = fmt.Sprintf("a datagram to udp://%s at gateway %s", at.authority, g.name)
		e.datagrams(ln)
		return
	}
	opaque := !socket.KindOf(ln).HTTP()
	if opaque {
		h = &message.Head{Method: "CONNECT", Authority: at.host}
	}
	if len(ln.Rules) == 0 {
		e.step("route", false, ln.Name, "no route is attached to the listener", model.RuleRef{})
		e.out.Outcome = "404: the listener has no route"
		return
	}
	table, err := route.CompileWith(ln.Rules, route.Options{Ordered: ln.Ordered, Client: &model.Workload{}})
	if err != nil {
		e.step("route", false, ln.Name, err.Error(), model.RuleRef{})
		return
	}
	chosen := -1
	for _, v := range table.Explain(h, at.port) {
		if v.Chosen {
			chosen = v.Rule
		}
		e.step("route", v.Chosen, v.Ref.String(), v.Reason, v.Ref)
	}
	if chosen < 0 {
		e.out.Outcome = "404: no rule of listener " + ln.Name + " matches"
		return
	}
	r := &ln.Rules[chosen]
	e.patience = authPatience(r.Policy)
	if e.rule(r) {
		return
	}
	e.policy(r.Policy)
	e.backends(r, at.port)
	if e.out.Outcome == "" {
		e.out.Outcome = "sent by " + r.Ref.String()
	}
}

// listener chooses the listener as the gateway's proxy does: by port, then by the most specific host.
func (e *explanation) listener(g *explainedGateway, at place) (*model.Listener, *model.Socket) {
	var ports []string
	for i := range g.sockets {
		s := &g.sockets[i]
		if s.Address.Port() != at.port || s.Kind.Datagrams() != (at.scheme == "udp") {
			text := fmt.Sprint(s.Address.Port())
			if s.Kind.Datagrams() {
				text += "/udp"
			}
			if !slices.Contains(ports, text) {
				ports = append(ports, text)
			}
			continue
		}
		if want := spokenBy(s); !slices.Contains(want, at.scheme) {
			e.step("listener", false, fmt.Sprintf("port %d", at.port), "speaks "+strings.Join(want, " or "), model.RuleRef{})
			e.out.Outcome = fmt.Sprintf("refused: port %d does not speak %s", at.port, at.scheme)
			return nil, nil
		}
		return e.mostSpecific(s, at), s
	}
	reason := "the gateway has no listener at all"
	if len(ports) > 0 {
		reason = "no listener has the port; others have " + strings.Join(ports, ", ")
	}
	e.step("listener", false, net.JoinHostPort(at.host, fmt.Sprint(at.port)), reason, model.RuleRef{})
	e.out.Outcome = "no connection: nothing listens on the port"
	return nil, nil
}

// spokenBy returns the schemes of URLs that a socket serves.
func spokenBy(s *model.Socket) []string {
	switch s.Kind {
	case model.SocketHTTP:
		return []string{"http"}
	case model.SocketHTTPS:
		return []string{"https"}
	case model.SocketTCP:
		return []string{"tcp"}
	case model.SocketUDP:
		return []string{"udp"}
	}
	return []string{"tls", "https"}
}

func (e *explanation) mostSpecific(s *model.Socket, at place) *model.Listener {
	var best *model.Listener
	for i := range s.Listeners {
		ln := &s.Listeners[i]
		if (s.Kind == model.SocketTCP || s.Kind == model.SocketUDP || route.HostTakes(ln.Hostname, at.host)) && (best == nil || route.HostRank(ln.Hostname) > route.HostRank(best.Hostname)) {
			best = ln
		}
	}
	for i := range s.Listeners {
		ln := &s.Listeners[i]
		host := "its host name is " + ln.Hostname
		if ln.Hostname == "" {
			host = "it is for every host"
		}
		why := host + ": not " + at.host
		switch {
		case ln == best:
			why = fmt.Sprintf("port %d, %s; %s", at.port, s.KindOf(ln), host)
		case route.HostTakes(ln.Hostname, at.host):
			why = host + ": another one is more specific"
		}
		e.step("listener", ln == best, ln.Name, why, model.RuleRef{})
	}
	if best == nil {
		e.out.Outcome = "404: no listener takes the host " + at.host
	}
	return best
}

// leaves shows a request that an egress gateway takes for a service which leaves the mesh by it.
func (e *explanation) leaves(g *explainedGateway, at place) bool {
	for _, n := range e.mesh.Egress(g.proxies) {
		s := e.mesh.Services[n]
		if s == nil || n.Name != at.host && called(n) != at.host {
			continue
		}
		e.step("service", true, n.String(), "leaves the mesh by this gateway; its clients' rules were theirs to follow", policyRef(s.Upstream.Ref))
		e.within = "at the gateway: "
		up := s.Upstream.OfPort(at.port)
		e.upstream(s, up)
		e.endpoints(s, at.port, nil, up)
		e.within = ""
		if e.out.Outcome == "" {
			e.out.Outcome = "sent to " + n.String()
		}
		return true
	}
	return false
}
