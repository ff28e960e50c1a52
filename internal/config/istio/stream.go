package istio

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// tlsRoute reads a rule for TLS connections, by SNI. A rule with several matches becomes one rule with all their
// names where they differ in nothing else.
func (c *checker) tlsRoute(in *tlsRoute, f *document.Field, index int) StreamRoute {
	out := c.streamRoute(in.Route, f, index)
	out.TLS = true
	matches, any := f.Key("match"), false
	c.atMost(len(in.Match), maxMatches, "matches", matches)
	if len(in.Match) == 0 {
		c.add(matches, "is missing", "write match with sniHosts")
	}
	for i := range in.Match {
		m, at := &in.Match[i], matches.Index(i)
		c.refuseAny(at, "TLSMatchAttributes", "destinationSubnets")
		for j, h := range m.SNIHosts {
			if !c.host(h, at.Key("sniHosts").Index(j)) {
				continue
			}
			any = any || h == "*"
			out.Rule.Hosts = append(out.Rule.Hosts, strings.ToLower(h))
		}
		if len(m.SNIHosts) == 0 {
			c.add(at.Key("sniHosts"), "is missing", "name the hosts that clients ask for")
		}
		c.streamMatch(&out, streamMatch{m.Port, c.source(m.SourceLabels, m.SourceNamespace, at), m.Gateways}, at, i)
	}
	if any {
		out.Rule.Hosts = nil
	}
	return out
}

// tcpRoute reads a rule for connections of any kind.
func (c *checker) tcpRoute(in *tcpRoute, f *document.Field, index int) StreamRoute {
	out := c.streamRoute(in.Route, f, index)
	c.atMost(len(in.Match), maxMatches, "matches", f.Key("match"))
	for i := range in.Match {
		m, at := &in.Match[i], f.Key("match").Index(i)
		c.refuseAny(at, "L4MatchAttributes", "destinationSubnets", "sourceSubnet")
		c.streamMatch(&out, streamMatch{m.Port, c.source(m.SourceLabels, m.SourceNamespace, at), m.Gateways}, at, i)
	}
	return out
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
	port     uint32
	source   *model.SourceMatch
	gateways []string
}

func (c *checker) streamMatch(out *StreamRoute, m streamMatch, f *document.Field, index int) {
	port := c.port(m.port, f.Key("port"))
	var gateways []string
	if len(m.gateways) > 0 {
		gateways = c.gateways(m.gateways, f.Key("gateways"))
	}
	if index == 0 {
		out.Rule.Port, out.Source, out.Gateways = port, m.source, gateways
		return
	}
	same := port == out.Rule.Port && fmt.Sprint(gateways) == fmt.Sprint(out.Gateways) && fmt.Sprintf("%+v", deref(m.source)) == fmt.Sprintf("%+v", deref(out.Source))
	if !same {
		c.add(f, "differs from the first match in more than its SNI hosts", "write a route for each of the matches")
	}
}

func deref(s *model.SourceMatch) model.SourceMatch {
	if s == nil {
		return model.SourceMatch{}
	}
	return *s
}
