package route

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// Ends are the addresses of a connection. One that is not known is not valid.
type Ends struct{ From, To netip.Addr }

// holds reports whether a condition on addresses holds; nil always does, and nothing is known of nil ends.
func (e *Ends) holds(m *model.AddressMatch) bool {
	if m == nil {
		return true
	}
	if e == nil {
		e = &Ends{}
	}
	return within(e.From, m.Sources) && within(e.To, m.Destinations)
}

func within(ip netip.Addr, prefixes []netip.Prefix) bool {
	if len(prefixes) == 0 {
		return true
	}
	ip = ip.Unmap().WithZone("")
	for _, p := range prefixes {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// whyAddresses words why a condition on addresses fails.
func (e *Ends) whyAddresses(m *model.AddressMatch) string {
	if e == nil {
		e = &Ends{}
	}
	what, ip, want := "source", e.From, m.Sources
	if within(ip, want) {
		what, ip, want = "destination", e.To, m.Destinations
	}
	have := "is not known"
	if ip.IsValid() {
		have = "is " + ip.String()
	}
	return fmt.Sprintf("the %s address %s, rule wants %s", what, have, prefixText(want))
}

func prefixText(in []netip.Prefix) string {
	var parts []string
	for _, p := range in {
		parts = append(parts, p.String())
	}
	return strings.Join(parts, " or ")
}

// Stream is what a rule asks of a connection of bytes: who makes it, and between which addresses. The nil Stream asks
// nothing.
type Stream struct{ any []*morePattern }

// NewStream compiles the conditions of a rule's matches, for the connections of a client.
func NewStream(matches []model.Match, client *model.Workload) (*Stream, error) {
	s := &Stream{}
	for i := range matches {
		m := matches[i].More
		if m == nil || m.Source == nil && m.Addresses == nil {
			return nil, nil // one that asks nothing takes every connection
		}
		p, err := newMore(m)
		if err != nil {
			return nil, err
		}
		p.decide(client)
		s.any = append(s.any, p)
	}
	if len(s.any) == 0 {
		return nil, nil
	}
	return s, nil
}

// Takes reports whether any of the matches holds for a connection. It does not allocate.
func (s *Stream) Takes(e *Ends) bool {
	if s == nil {
		return true
	}
	for _, p := range s.any {
		if p.foreign == "" && e.holds(p.addresses) {
			return true
		}
	}
	return false
}
