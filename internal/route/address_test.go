package route

import (
	"net/netip"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

func prefixes(in ...string) (out []netip.Prefix) {
	for _, s := range in {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// TestAddresses decides conditions on addresses, of requests and of connections of bytes alike, and words why they fail.
func TestAddresses(t *testing.T) {
	ends := func(from, to string) *Ends {
		var e Ends
		e.From, _ = netip.ParseAddr(from)
		e.To, _ = netip.ParseAddr(to)
		return &e
	}
	both := model.AddressMatch{Sources: prefixes("10.0.0.0/8", "2001:db8::/32"), Destinations: prefixes("192.0.2.7/32")}
	for _, x := range []struct {
		what string
		m    model.AddressMatch
		e    *Ends
		why  string // "": it holds
	}{
		{"both", both, ends("10.1.2.3", "192.0.2.7"), ""},
		{"the other source", both, ends("2001:db8::1", "192.0.2.7"), ""},
		{"a mapped source", both, ends("::ffff:10.1.2.3", "192.0.2.7"), ""},
		{"another source", both, ends("11.1.2.3", "192.0.2.7"), "the source address is 11.1.2.3, rule wants 10.0.0.0/8 or 2001:db8::/32"},
		{"another destination", both, ends("10.1.2.3", "192.0.2.8"), "the destination address is 192.0.2.8, rule wants 192.0.2.7/32"},
		{"no destination", both, ends("10.1.2.3", ""), "the destination address is not known, rule wants 192.0.2.7/32"},
		{"nothing known", both, nil, "the source address is not known, rule wants 10.0.0.0/8 or 2001:db8::/32"},
		{"source alone", model.AddressMatch{Sources: prefixes("127.0.0.0/8")}, ends("127.0.0.1", ""), ""},
		{"destination alone", model.AddressMatch{Destinations: prefixes("127.0.0.0/8")}, ends("", "127.0.0.1"), ""},
	} {
		matches := []model.Match{{More: &model.MoreMatch{Addresses: &x.m}}}
		table, err := CompileWith([]model.Rule{{Matches: matches}}, Options{Ordered: true})
		if err != nil || !table.Addresses() {
			t.Fatal(err, table.Addresses())
		}
		h := head("CONNECT", "/")
		_, _, ok := table.MatchBetween(h, 80, x.e)
		v := table.ExplainBetween(h, 80, x.e)[0]
		if ok != (x.why == "") || v.Chosen != ok || !ok && v.Reason != x.why {
			t.Errorf("%s: %v, %q", x.what, ok, v.Reason)
		}
		s, err := NewStream(matches, nil)
		if err != nil || s == nil {
			t.Fatal(err, s)
		}
		e := x.e
		if e == nil {
			e = &Ends{}
		}
		if got := s.Takes(e); got != ok {
			t.Errorf("%s: a connection of bytes is taken: %v", x.what, got)
		}
	}
}

// TestStreams: a connection is taken by any of a rule's matches, and a rule that asks nothing takes all.
func TestStreams(t *testing.T) {
	page := &model.Workload{Service: model.ServiceName{Namespace: "default", Name: "page"}}
	of := func(app string, destinations ...string) model.Match {
		m := &model.MoreMatch{Source: &model.SourceMatch{Labels: map[string]string{"app": app}}}
		if len(destinations) > 0 {
			m.Addresses = &model.AddressMatch{Destinations: prefixes(destinations...)}
		}
		return model.Match{More: m}
	}
	e := &Ends{To: netip.MustParseAddr("10.0.0.1")}
	for _, x := range []struct {
		what    string
		matches []model.Match
		want    bool
	}{
		{"no match", nil, true},
		{"one that asks nothing", []model.Match{of("other"), {}}, true},
		{"the client", []model.Match{of("page")}, true},
		{"another client", []model.Match{of("other")}, false},
		{"the client, to another address", []model.Match{of("page", "11.0.0.0/8")}, false},
		{"the second", []model.Match{of("page", "11.0.0.0/8"), of("page", "10.0.0.0/8")}, true},
	} {
		s, err := NewStream(x.matches, page)
		if err != nil {
			t.Fatal(err)
		}
		if got := s.Takes(e); got != x.want {
			t.Errorf("%s: %v", x.what, got)
		}
		if n := testing.AllocsPerRun(10, func() { s.Takes(e) }); n > 0 {
			t.Errorf("%s: %v allocations", x.what, n)
		}
	}
}
