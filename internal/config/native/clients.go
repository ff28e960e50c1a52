package native

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// clients reads what is said of who connects to listeners.
func (c *checker) clients(in *clients, f *document.Field) *model.ProxyClients {
	if in == nil {
		return nil
	}
	f = f.Key("proxyProtocol")
	if in.ProxyProtocol == nil {
		c.add(f, "is missing", "write whose connections begin with a header: {trustedSources: [10.0.0.0/8]}")
		return nil
	}
	at := f.Key("trustedSources")
	if len(in.ProxyProtocol.TrustedSources) == 0 {
		c.add(at, "is missing or empty", "write the addresses of the load balancers in front, as 10.0.0.0/8")
	}
	c.atMost(len(in.ProxyProtocol.TrustedSources), maxSources, "sources", at)
	out := &model.ProxyClients{}
	for i, text := range in.ProxyProtocol.TrustedSources {
		if p, ok := c.source(text, at.Index(i)); ok && !slices.Contains(out.Trusted, p) {
			out.Trusted = append(out.Trusted, p)
		}
	}
	out.Direct = c.enum(in.ProxyProtocol.OtherSources, []string{"refuse", "direct"}, f.Key("otherSources")) == "direct"
	return out
}

// source reads an address, or a network in CIDR notation (RFC 4632, section 3.1).
func (c *checker) source(text string, f *document.Field) (netip.Prefix, bool) {
	if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
		ip = ip.Unmap()
		return netip.PrefixFrom(ip, ip.BitLen()), true
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil || p.Addr().Is4In6():
		c.add(f, fmt.Sprintf("%q is no IP address and no network", clip(text)), "write for example 10.0.0.0/8, fd00::/8 or 192.0.2.7")
		return p, false
	case p != p.Masked():
		c.add(f, fmt.Sprintf("%q has bits beyond its prefix", clip(text)), "write "+p.Masked().String())
		return p, false
	}
	return p, true
}

// gatewayOnly refuses what is of listeners where a target has none.
func (c *checker) gatewayOnly(targets []Target, f *document.Field) {
	at := f.Key("clients")
	if !c.doc.Has(at) {
		return
	}
	for i := range targets {
		if t := &targets[i]; t.Kind != KindGateway {
			c.addKey(at, fmt.Sprintf("is of the listeners of a Gateway, and the target %s %s is none", t.Kind, t.Name),
				"write it in a TrafficPolicy whose targetRefs name the Gateway")
			return
		}
	}
}
