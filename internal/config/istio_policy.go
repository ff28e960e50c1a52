package config

import (
	"fmt"
	"reflect"
	"time"

	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// upstream returns what a trafficPolicy says of a service, nil if nothing, and the idle timeout of TCP connections.
func (c *istioCompiler) upstream(r *Resource, t *istio.Traffic, s *model.Service) (*model.Upstream, time.Duration) {
	warn := func(at istio.Position, message, remedy string) { c.warnOnce(r, at, message, remedy) }
	up, idle := traffic(r, t, s, warn)
	if up == nil || up.TLS == nil || c.alone {
		return up, idle
	}
	files := tlsFiles(t, up.TLS)
	if files.Certificate != "" || files.CA != "" && files.CA != "system" || files.Revoked != "" {
		warn(files.At, "files are read by proxies that were started with --certificates: others believe the system's CAs and show no certificate", "start weft run and weft gateway with --certificates DIR, or write credentialName with a Secret")
	}
	out := *up
	out.TLS = withFiles(c.named(up.TLS, s.Name), &files)
	c.credential(r, &files, out.TLS)
	return &out, idle
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

// traffic returns what a trafficPolicy says of a service: for its only port where that has settings of its own.
func traffic(r *Resource, t *istio.Traffic, s *model.Service, warn func(at istio.Position, message, remedy string)) (*model.Upstream, time.Duration) {
	up, idle := t.Upstream, t.Idle
	for i := range t.Ports {
		p := &t.Ports[i]
		switch {
		case len(s.Ports) == 1 && s.Ports[0].Number == p.Port:
			up, idle = portUpstream(t, p), p.Traffic.Idle
		case len(s.Ports) > 1 && onlyTLS(&p.Traffic) && hasPort(s, p.Port):
			up = portTLS(up, p, warn)
		case len(s.Ports) > 1:
			warn(p.At, fmt.Sprintf("service %s has several ports, and settings for one of them but tls are not supported in this version of Weft", s.Name), "write them for all ports")
		default:
			warn(p.At, fmt.Sprintf("service %s has no port %d", s.Name, p.Port), portRemedy(s))
		}
	}
	if t.Plain && meshEndpoints(s) {
		warn(istio.Position{Line: r.Line}, fmt.Sprintf("tls: DISABLE has no effect on the endpoints of %s that are of the mesh: they are reached by its own TLS always", s.Name), "remove it")
	}
	if up != nil && up.TLS != nil && meshEndpoints(s) {
		warn(t.Files.At, fmt.Sprintf("has no effect on the endpoints of %s that are of the mesh: they are reached by its own TLS always", s.Name), "remove it")
	}
	if idle > 0 && !opaque(s) {
		warn(istio.Position{Line: r.Line}, fmt.Sprintf("connectionPool.tcp.idleTimeout is without effect: service %s has ports that are not TCP", s.Name), "write http.idleTimeout for HTTP")
		idle = 0
	}
	if idle > 0 && up == nil {
		up = &model.Upstream{}
	}
	return up, idle
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

// onlyTLS reports whether settings of a port say nothing but how TLS is begun.
func onlyTLS(t *istio.Traffic) bool {
	if t.Upstream == nil {
		return t.Mutual || t.Plain
	}
	rest := *t.Upstream
	rest.TLS, rest.Ref = nil, model.PolicyRef{}
	return reflect.DeepEqual(rest, model.Upstream{}) && t.Idle == 0 && t.Upstream.TLS != nil
}

func hasPort(s *model.Service, port uint16) bool { _, ok := s.Port(port); return ok }

// portTLS adds the TLS of one port of several. One service has one way to begin TLS.
func portTLS(up *model.Upstream, p *istio.PortTraffic, warn func(at istio.Position, message, remedy string)) *model.Upstream {
	if p.Traffic.Upstream == nil || p.Traffic.Upstream.TLS == nil {
		return up
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

// portUpstream is what holds for a port: its own settings in place of the service's, all of them (Istio,
// PortTrafficPolicy: fields left out have their defaults), and what cannot be said of a port.
func portUpstream(t *istio.Traffic, p *istio.PortTraffic) *model.Upstream {
	out := model.Upstream{}
	if p.Traffic.Upstream != nil {
		out = *p.Traffic.Upstream
	}
	if t.Upstream != nil {
		out.Budget, out.ProxyHeader = t.Upstream.Budget, t.Upstream.ProxyHeader
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

// opaque reports whether all ports of a service are of bytes that no rule looks into.
func opaque(s *model.Service) bool {
	for _, p := range s.Ports {
		if p.Protocol != model.TCP {
			return false
		}
	}
	return len(s.Ports) > 0
}
