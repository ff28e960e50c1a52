package proxy

import (
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/route"
)

// ends are the addresses of the client's connection, as rules match on them. A program calls a service by its address,
// whether it knows it or a name or port that stands for the service. Of a request of the mesh neither is known here.
func (x *exchange) ends() (e route.Ends) {
	o := x.o
	switch o.kind {
	case fromCapture:
		e.From, e.To = o.remote.Addr(), o.dst.Addr()
	case fromExplicit, fromUpstream:
		if e.From = o.remote.Addr(); x.service != nil {
			e.To = x.service.VIP
		}
	case fromGateway:
		if e.From, e.To = o.remote.Addr(), o.dst.Addr(); !e.To.IsValid() {
			e.To = o.local.Addr()
		}
	}
	return e
}

// ruleIn asks a table for the rule of a request, or of what stands for a connection.
func (x *exchange) ruleIn(t *route.Table, h *message.Head) (rule, match int, ok bool) {
	if !t.Addresses() {
		return t.Match(h, x.port)
	}
	e := x.ends()
	return t.MatchBetween(h, x.port, &e)
}

// firstFor returns the first of the rules that takes the connection and that fits; nil if there is none.
func (x *exchange) firstFor(rules []*rule, fits func(*rule) bool) *rule {
	e := x.ends()
	for _, r := range rules {
		if (fits == nil || fits(r)) && r.stream.Takes(&e) {
			return r
		}
	}
	return nil
}
