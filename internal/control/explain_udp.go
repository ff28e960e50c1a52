package control

import (
	"fmt"

	"github.com/weft-mesh/weft/internal/model"
)

// datagrams goes the way of a client's first datagram at a UDP listener: those that follow go by its session, to the
// same endpoint (ADR 15).
func (e *explanation) datagrams(ln *model.Listener) {
	if len(ln.Rules) == 0 {
		e.step("route", false, ln.Name, "no route is attached to the listener", model.RuleRef{})
		e.out.Outcome = "dropped (no_route): the listener has no route"
		return
	}
	for i := range ln.Rules {
		r := &ln.Rules[i]
		if i > 0 {
			e.step("route", false, r.Ref.String(), "the first rule takes every datagram", r.Ref)
			continue
		}
		e.step("route", true, r.Ref.String(), "takes every datagram of the listener", r.Ref)
	}
	r := &ln.Rules[0]
	if p := r.Policy; p != nil && p.IdleTimeout > 0 {
		e.step("policy", true, "timeout of silence", fmt.Sprintf("a session without a datagram for %s ends", p.IdleTimeout), policyRef(p.Ref))
	}
	e.udp = true
	e.backends(r, 0)
	if e.out.Outcome == "" {
		e.out.Outcome = "a session is sent to one endpoint by " + r.Ref.String()
	}
}

// udpEndpoint shows whether an endpoint may be given sessions.
func (e *explanation) udpEndpoint(ep *model.Endpoint, port uint16, up *model.Upstream) {
	subject := fmt.Sprintf("%s at %s", ep.ID, ep.Place())
	switch {
	case !ep.Plain:
		e.step("endpoint", false, subject, "is behind a sidecar, which carries no datagrams", model.RuleRef{})
	case ep.Protocol != model.UDP:
		e.step("endpoint", false, subject, "takes connections, not datagrams", model.RuleRef{})
	case ep.Draining:
		e.step("endpoint", false, subject, "is draining", model.RuleRef{})
	case !servesPort(ep, port):
		e.step("endpoint", false, subject, fmt.Sprintf("does not serve port %d", port), model.RuleRef{})
	default:
		e.step("endpoint", true, subject, "may be picked for a session: "+chosenBy(up), model.RuleRef{})
	}
}

// udpUpstream shows what of a policy of endpoints holds for datagrams.
func (e *explanation) udpUpstream(s *model.Service, up *model.Upstream) {
	if p := s.Policy; p != nil && p.IdleTimeout > 0 {
		e.step("policy", true, "timeout of silence", fmt.Sprintf("a session without a datagram for %s ends, unless the route says otherwise", p.IdleTimeout), policyRef(p.Ref))
	}
	if up == nil {
		return
	}
	ref := policyRef(up.Ref)
	if up.Ejection != nil {
		e.step("endpoints", true, "ejection", "endpoints that refuse datagrams are left out for a while", ref)
	}
	if h := up.Health; h != nil {
		e.step("endpoints", true, "health checks", string(h.Type), ref)
	}
	if n := up.Connections.Max; n > 0 {
		e.step("endpoints", true, "limit", fmt.Sprintf("%d sessions at each proxy", n), ref)
	}
}
