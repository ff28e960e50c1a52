package control

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// Explain says which rule, backend and endpoints a request gets, and why not the others. It runs the same
// functions as the proxies, and asks those of the client which endpoints they leave out at the moment.
func (a *admin) Explain(ctx context.Context, req *connect.Request[adminv1.ExplainRequest]) (*connect.Response[adminv1.ExplainResponse], error) {
	mesh := a.s.mesh.Load()
	e := &explanation{mesh: mesh, out: &adminv1.ExplainResponse{Revision: mesh.Revision}}
	if id := req.Msg.GetRequestId(); id != "" {
		ev := a.s.taps.find(id)
		if ev == nil {
			return a.explainElsewhere(ctx, req.Msg)
		}
		e.client = a.clientOf(ev.GetSource())
		e.happened(ev)
		e.ask(ctx, a, ev.GetSource())
		return connect.NewResponse(e.out), nil
	}
	if req.Msg.GetGateway() != "" {
		return a.explainGateway(ctx, e, req.Msg)
	}
	e.client = a.clientOf(req.Msg.GetFrom())
	if err := e.might(req.Msg); err != nil {
		return nil, err
	}
	e.ask(ctx, a, req.Msg.GetFrom())
	return connect.NewResponse(e.out), nil
}

// explainElsewhere asks the other control planes for a request that none of our proxies reported.
func (a *admin) explainElsewhere(ctx context.Context, req *adminv1.ExplainRequest) (*connect.Response[adminv1.ExplainResponse], error) {
	for _, r := range fanOut(ctx, a.s, func(ctx context.Context, c adminv1connect.AdminServiceClient) (*adminv1.ExplainResponse, error) {
		resp, err := c.Explain(ctx, connect.NewRequest(req))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}) {
		return connect.NewResponse(r), nil
	}
	return nil, connect.NewError(connect.CodeNotFound,
		fmt.Errorf("no request %q is remembered: only those that a tap has shown are, the last 10,000", req.GetRequestId()))
}

// explanation is built step by step.
type explanation struct {
	mesh   *config.Mesh
	out    *adminv1.ExplainResponse
	client *model.Workload // who calls; its names are empty where nobody is named

	asked []model.ServiceName // whose endpoints a proxy would choose from

	patience time.Duration // of questions to authorization services; 0: the default
	udp      bool          // it is about datagrams: from the route on
	within   string        // put before the names of stages: where they take place, if that is not the client's proxy
}

func (e *explanation) step(stage string, chosen bool, subject, reason string, ref model.RuleRef) {
	e.out.Steps = append(e.out.Steps, &adminv1.ExplainStep{
		Stage: e.within + stage, Chosen: chosen, Subject: subject, Reason: reason, File: ref.File, Line: int32(ref.Line),
	})
}

// happened explains a request that a proxy reported.
func (e *explanation) happened(ev *discoveryv1.TapEvent) {
	e.out.Proxy = ev.GetSource()
	h := &message.Head{Method: ev.GetMethod(), Path: ev.GetPath(), Authority: ev.GetAuthority()}
	for _, f := range ev.GetHeaders() {
		h.Add(f.GetName(), f.GetValue())
	}
	e.out.Request = fmt.Sprintf("%s %s%s at %s", ev.GetMethod(), ev.GetService(), ev.GetPath(), ev.GetStart().AsTime().Format("15:04:05.000"))
	var name model.ServiceName
	if err := name.UnmarshalText([]byte(ev.GetService())); err == nil {
		e.decide(name, uint16(ev.GetPort()), h)
	} else if ev.GetFailure() == failedRegistryOnly {
		e.refusedOutside(ev)
	}
	outcome := fmt.Sprintf("answered %d by %s (%s) after %.1f ms, %d attempt(s)", ev.GetStatus(), ev.GetDestination(),
		ev.GetDestinationId(), ev.GetSeconds()*1000, max(1, ev.GetAttempts()))
	if ev.GetFailure() != "" {
		outcome += ", failure " + ev.GetFailure()
	}
	if ev.GetRoute() != "" {
		outcome += "; the proxy used " + ev.GetRoute()
	}
	e.out.Outcome = outcome
}

// might explains a request that has not been made.
func (e *explanation) might(req *adminv1.ExplainRequest) error {
	host, portText, _ := strings.Cut(req.GetTo(), ":")
	name, s := e.named(host, clientNamespace(req.GetFrom()))
	if s == nil {
		e.out.Request, e.out.Proxy = "a call to "+host, req.GetFrom()
		if e.outside(strings.TrimSuffix(host, ".")) {
			return nil
		}
		return connect.NewError(connect.CodeNotFound, fmt.Errorf("there is no service %s", name))
	}
	port, err := explainPort(s, portText)
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	h := &message.Head{Method: req.GetMethod(), Path: req.GetPath(), Authority: host}
	if h.Method == "" {
		h.Method = "GET"
	}
	if h.Path == "" {
		h.Path = "/"
	}
	for _, f := range req.GetHeaders() {
		h.Add(strings.ToLower(f.GetName()), f.GetValue())
	}
	e.out.Request, e.out.Proxy = fmt.Sprintf("%s http://%s:%d%s", h.Method, called(name), port, h.Path), req.GetFrom()
	if !e.unseen(name) {
		e.decide(name, port, h)
	}
	return nil
}

// explainPort is the port asked for, or the only or first one.
func explainPort(s *model.Service, text string) (uint16, error) {
	if text == "" {
		if len(s.Ports) == 0 {
			return 0, nil
		}
		return s.Ports[0].Number, nil
	}
	n, err := strconv.ParseUint(text, 10, 16)
	if err != nil || n == 0 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", text)
	}
	return uint16(n), nil
}

// clientNamespace is that of NAMESPACE/NAME, "" if unknown.
func clientNamespace(source string) string {
	ns, _, _ := strings.Cut(source, "/")
	return ns
}

// decide goes the way of a request: service, rule, backends, endpoints.
func (e *explanation) decide(name model.ServiceName, port uint16, h *message.Head) {
	s, ok := e.mesh.ServiceFor(name, e.mesh.ClientOf(name, e.client))
	if !ok {
		e.step("resolve", false, name.String(), "there is no such service any more", model.RuleRef{})
		return
	}
	why := fmt.Sprintf("port %d", port)
	if s.VIP.IsValid() {
		why = fmt.Sprintf("address %s, port %d", s.VIP, port)
	}
	e.step("resolve", true, "service "+name.String(), why, model.RuleRef{})
	chosen, found := e.match(&s, port, h)
	switch {
	case !found:
		why := "the service has no rules: straight to its endpoints"
		if len(s.Rules) > 0 {
			why = "no rule of the service is for it: straight to its endpoints"
		}
		e.step("route", true, "default", why, model.RuleRef{})
		e.policy(s.Policy)
		up := s.Upstream.OfPort(port)
		e.upstream(&s, up)
		if e.endpoints(&s, port, nil, up); e.out.Outcome == "" {
			e.out.Outcome = "sent to " + name.String()
		}
		return
	case chosen == nil && e.out.Outcome == "":
		e.out.Outcome = "404: the service has rules and none matches"
		return
	case chosen == nil:
		return
	}
	policy := model.MergePolicy(chosen.Policy, s.Policy)
	e.patience = authPatience(policy)
	if e.rule(chosen) {
		return
	}
	e.policy(policy)
	e.backends(chosen, port)
	if e.out.Outcome == "" {
		e.out.Outcome = "sent by " + chosen.Ref.String()
	}
}

// match shows the rules for a port and returns the one that is chosen: of those for requests, or for bytes where the port
// is declared to carry them or has no others. found is false when it goes to the service: no rule for
// requests is for the port, and none for bytes takes it.
func (e *explanation) match(s *model.Service, port uint16, h *message.Head) (chosen *model.Rule, found bool) {
	layers := []model.Layer{model.Requests, model.Bytes}
	if p, ok := s.Port(port); ok && p.Protocol == model.TCP {
		layers = layers[1:]
	}
	for _, layer := range layers {
		table, err := route.CompileWith(s.Rules, route.Options{Ordered: s.Ordered, Layer: layer, Client: e.client})
		if err != nil {
			e.step("route", false, s.Name.String(), err.Error(), model.RuleRef{})
			e.out.Outcome = "unknown: the rules cannot be read"
			return nil, true
		}
		if !table.Has(port) {
			continue
		}
		for _, v := range table.ExplainBetween(h, port, &route.Ends{To: s.VIP}) {
			if v.Chosen {
				chosen = &s.Rules[v.Rule]
			}
			e.step("route", v.Chosen, v.Ref.String(), v.Reason, v.Ref)
		}
		if chosen != nil || layer == model.Requests {
			return chosen, true
		}
	}
	return nil, false
}

// authPatience is how long a policy lets an authorization service take; 0 where it says nothing.
func authPatience(p *model.Policy) time.Duration {
	if p == nil {
		return 0
	}
	return p.AuthTimeout
}

// backends shows the shares of a rule.
func (e *explanation) backends(r *model.Rule, port uint16) {
	var total uint64
	for _, b := range r.Backends {
		total += uint64(b.Weight)
	}
	if total == 0 {
		how := map[bool]string{false: "500", true: "dropped (bad_backend)"}[e.udp]
		e.step("backend", false, r.Ref.String(), "no backend has a weight: "+how, r.Ref)
		e.out.Outcome = how + ": no backend has a weight"
		return
	}
	for i := range r.Backends {
		b := &r.Backends[i]
		what, refused := "requests", "answered 500"
		if e.udp {
			what, refused = "sessions", "dropped (bad_backend)"
		}
		share := fmt.Sprintf("weight %d of %d, %.4g%% of %s", b.Weight, total, 100*float64(b.Weight)/float64(total), what)
		if b.Invalid != "" {
			e.step("backend", b.Weight > 0, b.Service.String(), share+", "+refused+": "+b.Invalid, r.Ref)
			continue
		}
		e.step("backend", b.Weight > 0, b.Service.String(), share, r.Ref)
		to := port
		if b.Port != 0 {
			to = b.Port
		}
		if s := e.mesh.Services[b.Service]; s != nil && b.Weight > 0 {
			up := model.MergeUpstream(b.Upstream, s.Upstream).OfPort(to)
			if e.backendFilters(b, r.Ref) {
				continue
			}
			if e.udp {
				e.udpUpstream(s, up)
			} else {
				e.upstream(s, up)
			}
			e.endpoints(s, to, b.Subset, up)
		}
	}
}

// endpoints shows who may be picked.
func (e *explanation) endpoints(s *model.Service, port uint16, subset map[string]string, up *model.Upstream) {
	if !slices.Contains(e.asked, s.Name) && len(e.asked) < maxAskedFor {
		e.asked = append(e.asked, s.Name)
	}
	if g := up.EgressGateway(); !g.IsZero() && e.within == "" && !e.udp {
		e.detour(s, port, subset, up)
		return
	}
	if len(s.Endpoints) == 0 {
		how := map[bool]string{false: "503", true: "dropped (no_endpoints)"}[e.udp]
		e.step("endpoint", false, s.Name.String(), "has no endpoints: "+how, model.RuleRef{})
		e.out.Outcome = how + " for the share of " + s.Name.String() + ", which has no endpoints"
		return
	}
	for i := range s.Endpoints {
		ep := &s.Endpoints[i]
		if e.udp {
			e.udpEndpoint(ep, port, up)
			continue
		}
		subject := fmt.Sprintf("%s at %s (%s)", ep.ID, ep.Place(), ep.Identity)
		switch {
		case ep.Draining:
			e.step("endpoint", false, subject, "is draining", model.RuleRef{})
		case !hasLabels(ep, subset):
			e.step("endpoint", false, subject, fmt.Sprintf("has not the labels %v of the subset", subset), model.RuleRef{})
		case !servesPort(ep, port):
			e.step("endpoint", false, subject, fmt.Sprintf("does not serve port %d", port), model.RuleRef{})
		default:
			e.step("endpoint", true, subject, "may be picked: "+chosenBy(up), model.RuleRef{})
		}
	}
}

func hasLabels(ep *model.Endpoint, subset map[string]string) bool {
	for name, value := range subset {
		if ep.Labels[name] != value {
			return false
		}
	}
	return true
}

func servesPort(ep *model.Endpoint, port uint16) bool {
	for _, p := range ep.Ports {
		if p == port {
			return true
		}
	}
	return len(ep.Ports) == 0
}
