package route

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// Verdict is what became of one candidate: a match of a rule, or a rule without matches.
type Verdict struct {
	Rule   int // index among the rules given to Compile
	Match  int // index in the rule's matches; -1 when it has none
	Ref    model.RuleRef
	Host   string // the rule's host this candidate stands for; "" for any
	Chosen bool
	Reason string // why it was chosen or not
}

// Explain returns every candidate in order of precedence, at most one of them Chosen: the one that Match
// returns for the same arguments. Its cost grows with the number of rules.
func (t *Table) Explain(h *message.Head, port uint16) []Verdict {
	return t.ExplainBetween(h, port, nil)
}

// ExplainBetween is Explain for a request on a connection between addresses.
func (t *Table) ExplainBetween(h *message.Head, port uint16, e *Ends) []Verdict {
	chosen := t.find(h, port, e)
	r := newRequest(h, port)
	r.ends = e
	out := make([]Verdict, 0, len(t.order))
	for _, c := range t.order {
		v := Verdict{Rule: c.rule, Match: c.match, Ref: t.refs[c.rule], Host: c.host.text()}
		o := c.check(&r)
		switch {
		case c == chosen:
			v.Chosen, v.Reason = true, c.String()
		case o.holds():
			v.Reason = t.behind(chosen, c, &r)
		default:
			v.Reason = c.why(o, &r)
		}
		out = append(out, v)
	}
	return out
}

// behind says why c does not take a request that it matches.
func (t *Table) behind(chosen, c *candidate, r *request) string {
	switch {
	case t.ordered && (chosen == nil || chosen.host != c.host):
		return fmt.Sprintf("the host %s has rules of its own, which stand alone", quote(r.head.Authority))
	case t.ordered:
		return "comes after " + t.describe(chosen) + ", which matches too"
	}
	return "less specific than " + t.describe(chosen) + ": " + lessSpecific(chosen, c)
}

func (t *Table) describe(c *candidate) string {
	s := ruleName(t.refs[c.rule], c.rule)
	if c.match > 0 {
		s += fmt.Sprintf(" match %d", c.match)
	}
	return s
}

// String says what the candidate asks for: `path prefix "/a", method GET, header end-user exact "jason"`.
func (c *candidate) String() string {
	var parts []string
	if c.host != "" {
		parts = append(parts, fmt.Sprintf("host %q", c.host.text()))
	}
	if c.port != 0 {
		parts = append(parts, fmt.Sprintf("port %d", c.port))
	}
	if c.path.rank != rankAny {
		parts = append(parts, "path "+c.path.String())
	}
	if c.method != "" {
		parts = append(parts, "method "+c.method)
	}
	for i := range c.headers {
		parts = append(parts, "header "+c.headers[i].name+" "+c.headers[i].String())
	}
	for i := range c.query {
		parts = append(parts, "query parameter "+c.query[i].name+" "+c.query[i].String())
	}
	if parts = c.more.words(parts); len(parts) == 0 {
		return "takes every request"
	}
	return "matches " + strings.Join(parts, ", ")
}

// why words the condition that failed: what the request has, what the rule wants.
func (c *candidate) why(o outcome, r *request) string {
	switch o.failed {
	case onPort:
		return fmt.Sprintf("port is %d, rule wants %d", r.port, c.port)
	case onHost:
		return fmt.Sprintf("host is %s, rule wants %q", quote(r.head.Authority), c.host.text())
	case onPath:
		return fmt.Sprintf("path is %s, rule wants %s", quote(r.path), c.path.String())
	case onMethod:
		return fmt.Sprintf("method is %s, rule wants %s", r.method, c.method)
	case onHeader:
		p := &c.headers[o.index]
		v, ok := headerValue(r.head, p.name)
		return fmt.Sprintf("header %s is %s, rule wants %s", p.name, present(v, ok), p.String())
	case onQuery:
		p := &c.query[o.index]
		raw, ok := queryRaw(r.head.Query(), p.name)
		return fmt.Sprintf("query parameter %s is %s, rule wants %s", p.name, present(decode(raw), ok), p.String())
	}
	return c.more.why(o.failed, r)
}

// lessSpecific names the first step of precedence that put a before b.
func lessSpecific(a, b *candidate) string {
	switch {
	case a.host.rank() != b.host.rank():
		return fmt.Sprintf("its host is %s, not %s", hostWords(b.host), hostWords(a.host))
	case a.path.rank != b.path.rank || comparePrefix(a, b) != 0:
		return fmt.Sprintf("its path is %s, not %s", b.path.String(), a.path.String())
	case (a.method != "") != (b.method != ""):
		return "it asks for no method"
	case len(a.headers) != len(b.headers):
		return fmt.Sprintf("it has %d header conditions, not %d", len(b.headers), len(a.headers))
	case len(a.query) != len(b.query):
		return fmt.Sprintf("it has %d query conditions, not %d", len(b.query), len(a.query))
	}
	return "as specific, but later"
}

func hostWords(h hostPattern) string {
	if h == "" {
		return "any"
	}
	return fmt.Sprintf("%q", h.text())
}

func (p *pathPattern) String() string {
	var s string
	switch p.rank {
	case rankExact:
		s = "exact " + quote(p.value)
	case rankPrefix:
		s = "prefix " + quote(p.value)
		if p.text {
			s = "text " + s
		}
	case rankRegex:
		s = "regex " + quote(p.value)
	default:
		return `prefix "/"`
	}
	if p.fold {
		s += " in any letter case"
	}
	return s
}

func present(v string, ok bool) string {
	if !ok {
		return "absent"
	}
	return quote(v)
}

// quote bounds what a request can put into an explanation.
func quote(s string) string {
	const most = 128
	if len(s) > most {
		return fmt.Sprintf("%q...", s[:most])
	}
	return fmt.Sprintf("%q", s)
}
