package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// upstream returns what a trafficPolicy says of a service, nil if nothing.
func (c *istioCompiler) upstream(r *Resource, t *istio.Traffic, s *model.Service) *model.Upstream {
	warn := func(at istio.Position, message, remedy string) { c.warnOnce(r, at, message, remedy) }
	up := traffic(r, t, s, warn)
	if up == nil || up.TLS == nil || c.alone {
		return up
	}
	files := tlsFiles(t, up.TLS)
	if files.Certificate != "" || files.CA != "" && files.CA != "system" || files.Revoked != "" {
		warn(files.At, "files are read by proxies that were started with --certificates: others believe the system's CAs and show no certificate", "start weft run and weft gateway with --certificates DIR, or write credentialName with a Secret")
	}
	out := *up
	out.TLS = withFiles(c.named(up.TLS, s.Name), &files)
	c.credential(r, &files, out.TLS)
	return &out
}

// named completes whom a certificate has to name: the host, and what its ServiceEntry says (Istio,
// ServiceEntry.subjectAltNames).
func (c *istioCompiler) named(in *model.UpstreamTLS, n model.ServiceName) *model.UpstreamTLS {
	out := *in
	if out.Hostname == "" {
		out.Hostname = n.Name
	}
	if len(out.Names) == 0 && !out.Insecure {
		out.Names = c.certified[n]
	}
	return &out
}

// traffic returns what a trafficPolicy says of a service, and of single ports of it.
func traffic(r *Resource, t *istio.Traffic, s *model.Service, warn func(at istio.Position, message, remedy string)) *model.Upstream {
	up := t.Upstream
	for i := range t.Ports {
		p := &t.Ports[i]
		switch {
		case len(s.Ports) == 1 && s.Ports[0].Number == p.Port:
			up = portUpstream(t, p)
		case hasPort(s, p.Port):
			up = ofPort(portTLS(up, p, s, warn), p)
		default:
			warn(p.At, fmt.Sprintf("service %s has no port %d", s.Name, p.Port), portRemedy(s))
		}
	}
	if up != nil && up.Tunnel != nil && meshEndpoints(s) {
		warn(t.TunnelAt, fmt.Sprintf("has no effect on the endpoints of %s that are of the mesh: no forward proxy is among them", s.Name), "write it for a ServiceEntry whose endpoints are forward proxies")
	}
	if t.Plain && meshEndpoints(s) {
		warn(istio.Position{Line: r.Line}, fmt.Sprintf("tls: DISABLE has no effect on the endpoints of %s that are of the mesh: they are reached by its own TLS always", s.Name), "remove it")
	}
	if up != nil && up.TLS != nil && meshEndpoints(s) {
		warn(t.Files.At, fmt.Sprintf("has no effect on the endpoints of %s that are of the mesh: they are reached by its own TLS always", s.Name), "remove it")
	}
	if up != nil && up.Connections.TCPIdle > 0 && !carriesTCP(s) {
		warn(istio.Position{Line: r.Line}, fmt.Sprintf("connectionPool.tcp.idleTimeout is without effect: all ports of service %s carry HTTP", s.Name), "write http.idleTimeout for HTTP")
	}
	return up
}

// tlsFiles returns the files of what a trafficPolicy, or the settings of a port, says of TLS.
func tlsFiles(t *istio.Traffic, tls *model.UpstreamTLS) istio.TLSFiles {
	for i := range t.Ports {
		if len(tls.Ports) > 0 && t.Ports[i].Port == tls.Ports[0] || t.Upstream == nil || t.Upstream.TLS == nil {
			if t.Ports[i].Traffic.Upstream != nil && t.Ports[i].Traffic.Upstream.TLS != nil {
				return t.Ports[i].Traffic.Files
			}
		}
	}
	return t.Files
}

// withFiles names the files that an egress gateway reads.
func withFiles(in *model.UpstreamTLS, files *istio.TLSFiles) *model.UpstreamTLS {
	out := *in
	if files.CA != "" && files.CA != "system" {
		out.CAFile = files.CA
	}
	out.RevokedFile = files.Revoked
	if files.Certificate != "" {
		out.Certificate = &model.Certificate{ChainFile: files.Certificate, KeyFile: files.Key}
	}
	return &out
}

func hasPort(s *model.Service, port uint16) bool { _, ok := s.Port(port); return ok }

// ofPort adds what else is said of one port of several: it holds whole, in place of what is said of all of them (Istio,
// PortTrafficPolicy: fields left out have their defaults).
func ofPort(up *model.Upstream, p *istio.PortTraffic) *model.Upstream {
	one := model.PortUpstream{Port: p.Port, Only: true}
	out := model.Upstream{}
	if from := p.Traffic.Upstream; from != nil {
		one.Balance, one.Ejection, one.Connections = from.Balance, from.Ejection, from.Connections
		out.Ref = from.Ref
	}
	said := !one.Balance.IsZero() || one.Ejection != nil || one.Connections != (model.Connections{})
	if up != nil {
		out = *up
		said = said || !up.Balance.IsZero() || up.Ejection != nil || up.Connections != (model.Connections{})
	}
	if !said || slices.ContainsFunc(out.Ports, func(x model.PortUpstream) bool { return x.Port == p.Port }) {
		return up
	}
	out.Ports = append(slices.Clip(out.Ports), one)
	slices.SortFunc(out.Ports, func(a, b model.PortUpstream) int { return cmp.Compare(a.Port, b.Port) })
	return &out
}

// portTLS adds the TLS of one port of several, or takes that of all of them from a port that has settings without.
// One service has one way to begin TLS.
func portTLS(up *model.Upstream, p *istio.PortTraffic, s *model.Service, warn func(at istio.Position, message, remedy string)) *model.Upstream {
	if p.Traffic.Upstream == nil || p.Traffic.Upstream.TLS == nil {
		return withoutTLS(up, p.Port, s)
	}
	out := model.Upstream{Ref: p.Traffic.Upstream.Ref}
	if up != nil {
		out = *up
	}
	if out.TLS != nil {
		warn(p.At, "tls of a second port is not supported in this version of Weft", "write one ServiceEntry for each port that has TLS")
		return &out
	}
	tls := *p.Traffic.Upstream.TLS
	tls.Ports = []uint16{p.Port}
	out.TLS = &tls
	return &out
}

// withoutTLS leaves a port out of the TLS of all of them.
func withoutTLS(up *model.Upstream, port uint16, s *model.Service) *model.Upstream {
	if up == nil || up.TLS == nil {
		return up
	}
	tls, out := *up.TLS, *up
	ports := tls.Ports
	if len(ports) == 0 {
		for _, p := range s.Ports {
			ports = append(ports, p.Number)
		}
	}
	tls.Ports = slices.DeleteFunc(slices.Clone(ports), func(n uint16) bool { return n == port })
	if out.TLS = &tls; len(tls.Ports) == 0 {
		out.TLS = nil
	}
	return &out
}

// portUpstream is what holds for a port: its own settings in place of the service's, all of them (Istio,
// PortTrafficPolicy: fields left out have their defaults), and what cannot be said of a port.
func portUpstream(t *istio.Traffic, p *istio.PortTraffic) *model.Upstream {
	out := model.Upstream{}
	if p.Traffic.Upstream != nil {
		out = *p.Traffic.Upstream
	}
	if t.Upstream != nil {
		out.Budget, out.ProxyHeader, out.Tunnel = t.Upstream.Budget, t.Upstream.ProxyHeader, t.Upstream.Tunnel
		if out.Ref == (model.PolicyRef{}) {
			out.Ref = t.Upstream.Ref
		}
	}
	return &out
}

func meshEndpoints(s *model.Service) bool {
	for i := range s.Endpoints {
		if !s.Endpoints[i].Plain {
			return true
		}
	}
	return false
}

// carriesTCP reports whether a port of a service may carry bytes that no rule looks into.
func carriesTCP(s *model.Service) bool {
	return slices.ContainsFunc(s.Ports, func(p model.Port) bool { return p.Protocol == model.TCP || p.Protocol == model.Auto })
}
