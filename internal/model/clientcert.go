package model

import "slices"

// WithClientCertificate returns a copy of a gateway's snapshot whose services and backends outside the mesh are shown
// ClientCertificate, where they are to be; s itself when there is none. s is not changed.
func (s *Snapshot) WithClientCertificate() *Snapshot {
	if s.ClientCertificate == nil {
		return s
	}
	out := *s
	out.Services = slices.Clone(s.Services)
	for i := range out.Services {
		svc := &out.Services[i]
		svc.Upstream, svc.Rules = svc.Upstream.shown(s.ClientCertificate), shownRules(svc.Rules, s.ClientCertificate)
	}
	out.Sockets = slices.Clone(s.Sockets)
	for i := range out.Sockets {
		out.Sockets[i].Listeners = slices.Clone(out.Sockets[i].Listeners)
		for j := range out.Sockets[i].Listeners {
			ln := &out.Sockets[i].Listeners[j]
			ln.Rules = shownRules(ln.Rules, s.ClientCertificate)
		}
	}
	return &out
}

func shownRules(in []Rule, c *Certificate) []Rule {
	wants := func(b Backend) bool { return b.Upstream.shown(c) != b.Upstream }
	if !slices.ContainsFunc(in, func(r Rule) bool { return slices.ContainsFunc(r.Backends, wants) }) {
		return in
	}
	out := slices.Clone(in)
	for i := range out {
		out[i].Backends = slices.Clone(out[i].Backends)
		for j := range out[i].Backends {
			out[i].Backends[j].Upstream = out[i].Backends[j].Upstream.shown(c)
		}
	}
	return out
}

func (u *Upstream) shown(c *Certificate) *Upstream {
	if u == nil || u.TLS == nil || !u.TLS.OfGateway {
		return u
	}
	out, tls := *u, *u.TLS
	tls.Certificate = c
	out.TLS = &tls
	return &out
}
