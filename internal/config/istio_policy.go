package config

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// upstream returns what a trafficPolicy says of a service, nil if nothing, and the idle timeout of TCP connections.
func (c *istioCompiler) upstream(r *Resource, t *istio.Traffic, s *model.Service) (*model.Upstream, time.Duration) {
	warn := func(at istio.Position, message, remedy string) { c.warnOnce(r, at, message, remedy) }
	up, idle := traffic(r, t, s, warn)
	if up != nil && up.TLS != nil {
		if t.Files != (istio.TLSFiles{At: t.Files.At, Mutual: t.Files.Mutual}) {
			warn(t.Files.At, "certificates of one's own are not supported in the mesh in this version of Weft: the control plane does not read files or Secrets for its proxies", "leave them out: the system's CAs are believed")
		}
		out := *up
		out.TLS = c.named(up.TLS, s.Name)
		up = &out
	}
	return up, idle
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
		case len(s.Ports) > 1:
			warn(p.At, fmt.Sprintf("service %s has several ports, and settings for one of them are not supported in this version of Weft", s.Name), "write them for all ports")
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
