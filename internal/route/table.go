package route

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

// Table is the compiled form of a service's rules. The zero Table has no rules and matches nothing.
type Table struct {
	refs  []model.RuleRef
	order []*candidate // all of them, in the order in which they are tried
	hosts hostIndex

	addresses bool // some rule asks for them

	ordered bool // as the rules stand, not by precedence
}

// Options say how rules are tried, and for whom.
type Options struct {
	// Ordered tables try rules as they stand: the first that matches takes the request. The most specific host
	// that any rule names goes first all the same, and hides the rules of less specific ones (as Envoy's virtual hosts).
	Ordered bool

	// Layer is whose rules the table has; those of the others are left out.
	Layer model.Layer

	// Client is who makes the requests: conditions on the source are decided for it, once. For nil they do not hold.
	Client *model.Workload
}

// Compile builds the table of the rules, which stand in order of precedence between equals. It compiles
// every regular expression once. An error names the rule and the field. The table keeps no reference to
// the slice, but to the strings in it.
func Compile(rules []model.Rule) (*Table, error) { return CompileWith(rules, Options{}) }

// CompileWith is Compile with options.
func CompileWith(rules []model.Rule, o Options) (*Table, error) {
	t := &Table{refs: make([]model.RuleRef, len(rules)), ordered: o.Ordered}
	for i := range rules {
		if t.refs[i] = rules[i].Ref; rules[i].Layer != o.Layer {
			continue
		}
		cs, err := ruleCandidates(&rules[i], i)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", ruleName(rules[i].Ref, i), err)
		}
		t.order = append(t.order, cs...)
	}
	slices.SortStableFunc(t.order, t.compare)
	t.hosts.exclusive = o.Ordered
	for i, c := range t.order {
		c.order = i
		if c.more != nil {
			c.more.decide(o.Client)
			t.addresses = t.addresses || c.more.addresses != nil
		}
		if c.more == nil || c.more.foreign == "" {
			t.hosts.add(c)
		}
	}
	t.hosts.finish(!o.Ordered)
	return t, nil
}

// compare tells which of two candidates is tried first.
func (t *Table) compare(a, b *candidate) int {
	if !t.ordered {
		return precedence(a, b)
	}
	return cmp.Or(cmp.Compare(b.host.rank(), a.host.rank()), cmp.Compare(a.rule, b.rule), cmp.Compare(a.match, b.match))
}

// Match returns the rule that takes the request h for the service's port: its index among the rules given
// to Compile, and the index of the match in it that holds, or -1 when the rule has none and takes
// everything. When ok is false no rule takes the request.
//
// It allocates only when a regular expression meets a repeated field or an encoded query parameter.
func (t *Table) Match(h *message.Head, port uint16) (rule, match int, ok bool) {
	return t.MatchBetween(h, port, nil)
}

// MatchBetween is Match for a request on a connection between addresses.
func (t *Table) MatchBetween(h *message.Head, port uint16, e *Ends) (rule, match int, ok bool) {
	if c := t.find(h, port, e); c != nil {
		return c.rule, c.match, true
	}
	return 0, 0, false
}

// Addresses reports whether any rule asks for addresses, so that MatchBetween is called for.
func (t *Table) Addresses() bool { return t.addresses }

// find is the decision: the first candidate in order whose conditions all hold. The index only leaves
// out candidates whose host or path cannot hold.
func (t *Table) find(h *message.Head, port uint16, e *Ends) *candidate {
	r := newRequest(h, port)
	r.ends = e
	if !t.hosts.named {
		return t.hosts.any.find(&r)
	}
	return t.hosts.find(&r)
}

// Has reports whether any rule of the table is for a port. Its cost grows with the number of rules.
func (t *Table) Has(port uint16) bool {
	return slices.ContainsFunc(t.order, func(c *candidate) bool { return c.port == 0 || c.port == port })
}

func ruleName(ref model.RuleRef, i int) string {
	if ref.Kind == "" {
		return fmt.Sprintf("rule %d", i)
	}
	return ref.String()
}
