package istio

import (
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// tlsRoute reads a rule for TLS connections, by SNI: one for each of its matches, or for several that differ in nothing
// but their names.
func (c *checker) tlsRoute(in *tlsRoute, f *document.Field, index int) []StreamRoute {
	base := c.streamRoute(in.Route, f, index)
	base.TLS = true
	matches := f.Key("match")
	c.atMost(len(in.Match), maxMatches, "matches", matches)
	if len(in.Match) == 0 {
		c.add(matches, "is missing", "write match with sniHosts")
	}
	var out []StreamRoute
	for i := range in.Match {
		m, at := &in.Match[i], matches.Index(i)
		one := c.streamMatch(base, streamMatch{m.Port, c.source(m.SourceLabels, m.SourceNamespace, at), m.Gateways, m.DestinationSubnets, ""}, at)
		for j, h := range m.SNIHosts {
			if c.host(h, at.Key("sniHosts").Index(j)) {
				one.Rule.Hosts = append(one.Rule.Hosts, strings.ToLower(h))
			}
		}
		if len(m.SNIHosts) == 0 {
			c.add(at.Key("sniHosts"), "is missing", "name the hosts that clients ask for")
		}
		out = addStream(out, one)
	}
	for i := range out {
		if slices.Contains(out[i].Rule.Hosts, "*") {
			out[i].Rule.Hosts = nil
		}
	}
	return out
}

// tcpRoute reads a rule for connections of any kind: one for each of its matches.
func (c *checker) tcpRoute(in *tcpRoute, f *document.Field, index int) []StreamRoute {
	base := c.streamRoute(in.Route, f, index)
	c.atMost(len(in.Match), maxMatches, "matches", f.Key("match"))
	if len(in.Match) == 0 {
		return []StreamRoute{base}
	}
	var out []StreamRoute
	for i := range in.Match {
		m, at := &in.Match[i], f.Key("match").Index(i)
		out = addStream(out, c.streamMatch(base, streamMatch{m.Port, c.source(m.SourceLabels, m.SourceNamespace, at), m.Gateways, m.DestinationSubnets, m.SourceSubnet}, at))
	}
	return out
}

// addStream adds a rule, or its hosts to one that differs in nothing else.
func addStream(all []StreamRoute, one StreamRoute) []StreamRoute {
	for i := range all {
		o := &all[i]
		if o.Rule.Port == one.Rule.Port && slices.Equal(o.Gateways, one.Gateways) && reflect.DeepEqual(o.Source, one.Source) && reflect.DeepEqual(o.Addresses, one.Addresses) {
			o.Rule.Hosts = append(o.Rule.Hosts, one.Rule.Hosts...)
			return all
		}
	}
	return append(all, one)
}

func (c *checker) streamRoute(in []routeDestination, f *document.Field, index int) StreamRoute {
	out := StreamRoute{Rule: model.Rule{Ref: c.ref(f, index)}}
	if len(in) == 0 {
		c.add(f.Key("route"), "is missing", "write route with a destination")
	}
	weights := make([]int32, len(in))
	for i := range in {
		out.Backends = append(out.Backends, c.destination(&in[i].Destination, f.Key("route").Index(i).Key("destination")))
		weights[i] = in[i].Weight
	}
	out.Rule.Backends = make([]model.Backend, len(in))
	c.weights(weights, out.Rule.Backends, f.Key("route"))
	return out
}

// streamMatch is what the matches of both kinds of rules have.
type streamMatch struct {
	port         uint32
	source       *model.SourceMatch
	gateways     []string
	destinations []string
	sources      string // a subnet, or ""
}

// streamMatch returns the rule as it is for a match.
func (c *checker) streamMatch(out StreamRoute, m streamMatch, f *document.Field) StreamRoute {
	out.Rule.Port, out.Source = c.port(m.port, f.Key("port")), m.source
	if len(m.gateways) > 0 {
		out.Gateways = c.gateways(m.gateways, f.Key("gateways"))
	}
	var a model.AddressMatch
	c.atMost(len(m.destinations), maxItems, "subnets", f.Key("destinationSubnets"))
	for i, s := range m.destinations {
		a.Destinations = c.subnet(a.Destinations, s, f.Key("destinationSubnets").Index(i))
	}
	if m.sources != "" {
		a.Sources = c.subnet(nil, m.sources, f.Key("sourceSubnet"))
	}
	if len(a.Destinations)+len(a.Sources) > 0 {
		out.Addresses = &a
	}
	return out
}

// subnet appends a subnet: an address, or one with the length of its prefix.
func (c *checker) subnet(to []netip.Prefix, s string, f *document.Field) []netip.Prefix {
	if ip, err := netip.ParseAddr(s); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return append(to, netip.PrefixFrom(ip, ip.BitLen()))
	}
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4In6() {
		c.add(f, fmt.Sprintf("%q is no subnet", clip(s)), "write an address, or one with the length of its prefix such as 10.1.0.0/16")
		return to
	}
	return append(to, p.Masked())
}
