package route

import (
	"fmt"
	"maps"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// morePattern is a compiled model.MoreMatch. It is immutable once the table is.
type morePattern struct {
	port                      uint16
	scheme, authority, method *valuePattern
	source                    *model.SourceMatch
	addresses                 *model.AddressMatch
	foreign                   string // why the client is not the source that is wanted; "" when it is
}

func newMore(m *model.MoreMatch) (*morePattern, error) {
	p := &morePattern{port: m.Port, source: m.Source, addresses: m.Addresses}
	for _, x := range []struct {
		name string
		in   *model.ValueMatch
		out  **valuePattern
	}{{"scheme", m.Scheme, &p.scheme}, {"authority", m.Authority, &p.authority}, {"method", m.Method, &p.method}} {
		if x.in == nil {
			continue
		}
		v, err := newValue(*x.in)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", x.name, err)
		}
		*x.out = &v
	}
	return p, nil
}

// decide says whether the client is the source that is wanted.
func (p *morePattern) decide(client *model.Workload) {
	switch {
	case p.source == nil:
		return
	case client == nil:
		p.foreign = "it is for clients of its own, and the client is not known here"
		return
	case p.source.Namespace != "" && p.source.Namespace != client.Namespace():
		p.foreign = fmt.Sprintf("the client is of namespace %s, rule wants %s", client.Namespace(), p.source.Namespace)
		return
	}
	for _, name := range slices.Sorted(maps.Keys(p.source.Labels)) {
		want := p.source.Labels[name]
		if v, ok := client.Label(name); !ok || v != want {
			p.foreign = fmt.Sprintf("the client's label %s is %s, rule wants exact %s", name, present(v, ok), quote(want))
			return
		}
	}
}

// check returns the condition that fails, or all.
func (p *morePattern) check(r *request) condition {
	switch {
	case p.foreign != "":
		return onSource
	case p.port != 0 && p.port != r.port:
		return onMorePort
	case !p.scheme.optional(r.scheme()):
		return onScheme
	case !p.authority.optional(r.head.Authority):
		return onAuthority
	case !p.method.optional(r.method):
		return onMoreMethod
	case !r.ends.holds(p.addresses):
		return onAddresses
	}
	return all
}

// words appends what the pattern asks for to a list of conditions.
func (p *morePattern) words(parts []string) []string {
	if p == nil {
		return parts
	}
	if p.port != 0 {
		parts = append(parts, fmt.Sprintf("port %d", p.port))
	}
	for _, x := range []struct {
		name string
		p    *valuePattern
	}{{"scheme", p.scheme}, {"authority", p.authority}, {"method", p.method}} {
		if x.p != nil {
			parts = append(parts, x.name+" "+x.p.String())
		}
	}
	if a := p.addresses; a != nil {
		if len(a.Sources) > 0 {
			parts = append(parts, "source "+prefixText(a.Sources))
		}
		if len(a.Destinations) > 0 {
			parts = append(parts, "destination "+prefixText(a.Destinations))
		}
	}
	if p.source == nil {
		return parts
	}
	if p.source.Namespace != "" {
		parts = append(parts, "client of namespace "+p.source.Namespace)
	}
	for _, name := range slices.Sorted(maps.Keys(p.source.Labels)) {
		parts = append(parts, "client label "+name+" exact "+quote(p.source.Labels[name]))
	}
	return parts
}

// why words the condition that failed.
func (p *morePattern) why(failed condition, r *request) string {
	switch failed {
	case onMorePort:
		return fmt.Sprintf("port is %d, rule wants %d", r.port, p.port)
	case onScheme:
		return fmt.Sprintf("scheme is %s, rule wants %s", quote(r.scheme()), p.scheme)
	case onAuthority:
		return fmt.Sprintf("authority is %s, rule wants %s", quote(r.head.Authority), p.authority)
	case onMoreMethod:
		return fmt.Sprintf("method is %s, rule wants %s", r.method, p.method)
	case onAddresses:
		return r.ends.whyAddresses(p.addresses)
	}
	return p.foreign
}
