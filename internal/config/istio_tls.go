package config

import (
	"crypto/x509"
	"fmt"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// upstream is istioCompiler.upstream at a gateway, which reads files and Secrets.
func (e *istioEdge) upstream(r *Resource, t *istio.Traffic, s *model.Service) *model.Upstream {
	up := traffic(r, t, s, func(at istio.Position, message, remedy string) { e.rules.warnOnce(r, at, message, remedy) })
	if up == nil || up.TLS == nil {
		return up
	}
	out := *up
	out.TLS = e.rules.named(up.TLS, s.Name)
	files := tlsFiles(t, up.TLS)
	e.clientFiles(r, &files, out.TLS)
	return &out
}

// completeTLS reads what the policy of a subset names.
func (e *istioEdge) completeTLS(s *model.Service, up *model.Upstream, d istio.Destination, _, client string) *model.Upstream {
	rule, r := e.rules.ruleFor(s.Name, client)
	if up.TLS == nil || rule == nil {
		return up
	}
	subset := rule.Subsets[d.Subset]
	return e.upstream(r, &subset.Traffic, s)
}

// clientFiles reads CA and client certificate. What cannot be read is an error: what runs is to go on.
func (e *istioEdge) clientFiles(r *Resource, files *istio.TLSFiles, out *model.UpstreamTLS) {
	g := &gate{edge: &edge{resource: r}, spec: &gateway.Listener{FilesAt: files.At, At: files.At}}
	if files.CA != "" && files.CA != "system" {
		if pem, ok := e.file(g, files.CA); ok {
			if !x509.NewCertPool().AppendCertsFromPEM(pem) {
				e.report(r, files.At, fmt.Sprintf("%s has no certificate", files.CA), "a CA in PEM is wanted", false)
				return
			}
			out.CA = string(pem)
		}
	}
	if out.RevokedFile = files.Revoked; files.Revoked != "" {
		if why := e.revoked(r, files.At, &out.Revoked, &out.RevokedFile); why != "" {
			e.report(r, files.At, why, "endpoints are not reached without", false)
			return
		}
	}
	if files.Secret != "" {
		if out.CA, out.Revoked = e.secretCA(r.Key.Namespace, files.Secret); !files.Mutual && out.CA == "" {
			e.report(r, files.At, fmt.Sprintf("there is no Secret %s/%s with ca.crt", r.Key.Namespace, files.Secret), "write it, or leave credentialName out: the system's CAs are believed", false)
		}
		if !files.Mutual {
			return
		}
		g.spec.Certificates = []gateway.SecretRef{{Secret: gateway.ObjectName{Namespace: r.Key.Namespace, Name: files.Secret}, At: files.At}}
	}
	g.spec.CertFile, g.spec.KeyFile = files.Certificate, files.Key
	if files.Secret == "" && files.Certificate == "" {
		return
	}
	g.spec.Name = "(client certificate)"
	e.certify(g)
	if len(g.certificates) > 0 {
		out.Certificate = &g.certificates[0]
	}
}
