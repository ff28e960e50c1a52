package proxy

import (
	"bytes"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// A program's connection to a service that has rules for server names (TLSRoute; VirtualService.tls) is looked at for
// the hello of TLS, whose server name (RFC 6066, section 3) chooses the rule. Every byte goes on unchanged: TLS is between
// the program and whoever answers.

// recordHandshake is the first byte of a hello: the type of its record (RFC 8446, section 5.1).
const recordHandshake = 22

// nameTable is a service's rules for server names.
type nameTable struct {
	table  *route.Table
	rules  []*rule
	strict bool // a name that no rule has is refused, as a request that no rule matches
}

// compileNames builds the table of a service's rules for server names; nil when it has none.
func (c *config) compileNames(s *service) (*nameTable, error) {
	t := &nameTable{}
	var rules []model.Rule
	for _, r := range s.rules {
		if r.Layer == model.ServerNames {
			rules, t.rules = append(rules, *r.Rule), append(t.rules, r)
			t.strict = t.strict || r.Ref.Kind == "TLSRoute"
		}
	}
	if len(rules) == 0 {
		return nil, nil
	}
	var err error
	t.table, err = c.table(rules, s.Ordered, model.ServerNames)
	return t, err
}

// find returns the rule for the server name of a connection, which may be "", nil if there is none.
func (t *nameTable) find(x *exchange) *rule {
	h := &x.w.sni
	h.Reset()
	h.Method, h.Authority = "CONNECT", x.o.sni
	if i, _, ok := x.ruleIn(t.table, h); ok {
		return t.rules[i]
	}
	return nil
}

// helloWait is how long a connection may be silent before it is taken for one without TLS; ok is false when the hello
// is not looked at: no rule for names is for the port, or it is declared to carry HTTP.
func (s *service) helloWait(port uint16, declared model.Protocol) (wait time.Duration, ok bool) {
	if s.names == nil || declared != model.TCP && declared != model.Auto {
		return 0, false
	}
	for _, r := range s.names.rules {
		switch {
		case r.Port == port || r.Port == 0 && len(s.Ports) == 1:
			return handshakeTimeout, true // the port is for TLS
		case r.Port == 0 && !serverFirst(port):
			wait, ok = detectWait, true
		}
	}
	return wait, ok
}

// serveHello serves a connection that begins with a hello.
func (w *worker) serveHello(h *hearing) {
	l := &listening{Conn: h.raw, kept: bytes.Clone(h.buf[:h.n])}
	w.loop.Put(h.buf)
	var err error
	h.o.sni, err = l.serverName(w)
	if h.o.hello = err == nil; err != nil {
		w.log.Debug("bytes like a hello of TLS are none", "remote", h.o.remote.String(), "error", err)
	}
	w.serveTCP(h.raw, nil, h.o, l.kept)
}

// routeName takes the rule for the server name of a connection. found is false when rules for bytes, or the service
// itself, are to take it.
func (x *exchange) routeName() (found bool, f *Failure) {
	t := x.service.names
	if t == nil || !x.o.hello {
		return false, nil
	}
	if r := t.find(x); r != nil {
		return true, x.take(r, -1)
	}
	return false, nil
}

// nameless refuses a connection whose server name no rule is for, where rules of a TLSRoute are for its port.
func (x *exchange) nameless() *Failure {
	t := x.service.names
	if t == nil || !x.o.hello || !t.strict {
		return nil
	}
	for _, r := range t.rules {
		if r.Port == 0 || r.Port == x.port {
			return &Failure{"route", 404, flagNoRoute, fmt.Errorf("no rule of service %s is for the server name %q", x.service.Name, x.o.sni)}
		}
	}
	return nil
}
