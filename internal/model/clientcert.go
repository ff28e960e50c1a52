package model

import (
	"cmp"
	"slices"
)

// WithCertificates returns a copy of a snapshot whose services and backends outside the mesh are shown the certificates
// that they are to be: ClientCertificate, or one of Secrets; s itself when there is none. A service whose Secret is not
// among Secrets is not reached: without the certificate a connection would be another one than was asked for. s is not
// changed.
func (s *Snapshot) WithCertificates() *Snapshot {
	wants := func(r Rule) bool {
		return slices.ContainsFunc(r.Backends, func(b Backend) bool { return b.Upstream.secret() != "" })
	}
	if s.ClientCertificate == nil && !slices.ContainsFunc(s.Services, func(svc Service) bool {
		return svc.Upstream.secret() != "" || slices.ContainsFunc(svc.Rules, wants)
	}) && !slices.ContainsFunc(s.Sockets, func(k Socket) bool {
		return slices.ContainsFunc(k.Listeners, func(ln Listener) bool { return slices.ContainsFunc(ln.Rules, wants) })
	}) {
		return s
	}
	out := *s
	out.Services = slices.Clone(s.Services)
	for i := range out.Services {
		svc := &out.Services[i]
		svc.Upstream, svc.Rules = svc.Upstream.shown(s), shownRules(svc.Rules, s)
	}
	out.Sockets = slices.Clone(s.Sockets)
	for i := range out.Sockets {
		out.Sockets[i].Listeners = slices.Clone(out.Sockets[i].Listeners)
		for j := range out.Sockets[i].Listeners {
			ln := &out.Sockets[i].Listeners[j]
			ln.Rules = shownRules(ln.Rules, s)
		}
	}
	return &out
}

func shownRules(in []Rule, s *Snapshot) []Rule {
	wants := func(b Backend) bool { return b.Upstream.shown(s) != b.Upstream }
	if !slices.ContainsFunc(in, func(r Rule) bool { return slices.ContainsFunc(r.Backends, wants) }) {
		return in
	}
	out := slices.Clone(in)
	for i := range out {
		out[i].Backends = slices.Clone(out[i].Backends)
		for j := range out[i].Backends {
			out[i].Backends[j].Upstream = out[i].Backends[j].Upstream.shown(s)
		}
	}
	return out
}

func (u *Upstream) shown(s *Snapshot) *Upstream {
	concerns := func(t *UpstreamTLS) bool { return t.Secret != "" || t.OfGateway && s.ClientCertificate != nil }
	return u.withTLS(concerns, func(t *UpstreamTLS) {
		if t.Secret == "" {
			t.Certificate = s.ClientCertificate
		} else if c, ok := s.Secrets[t.Secret]; ok {
			t.Certificate = &c
		} else {
			t.Invalid = cmp.Or(t.Invalid, "the Secret "+t.Secret+" is not for this proxy: it is for those of its namespace, and for gateways that requests of it leave by")
		}
	})
}

// withTLS returns u with a change to those of its TLS and PortTLS that it concerns; u itself when it concerns none. u may
// be nil and is not changed.
func (u *Upstream) withTLS(concerns func(*UpstreamTLS) bool, change func(*UpstreamTLS)) *Upstream {
	if u == nil || !(u.TLS != nil && concerns(u.TLS)) && !slices.ContainsFunc(u.PortTLS, func(t UpstreamTLS) bool { return concerns(&t) }) {
		return u
	}
	out := *u
	if out.TLS != nil && concerns(out.TLS) {
		tls := *out.TLS
		change(&tls)
		out.TLS = &tls
	}
	out.PortTLS = slices.Clone(u.PortTLS)
	for i := range out.PortTLS {
		if t := &out.PortTLS[i]; concerns(t) {
			change(t)
		}
	}
	return &out
}

// secret is the Secret whose certificate endpoints are shown; "" is none. u may be nil.
func (u *Upstream) secret() string {
	if u == nil || u.TLS == nil {
		return ""
	}
	return u.TLS.Secret
}

// EachSecret calls f with the name of every Secret whose certificate the service's endpoints, or backends of its rules,
// are shown.
func (s *Service) EachSecret(f func(string)) {
	if n := s.Upstream.secret(); n != "" {
		f(n)
	}
	for i := range s.Rules {
		s.Rules[i].EachSecret(f)
	}
}

// EachSecret is Service.EachSecret for the backends of one rule.
func (r *Rule) EachSecret(f func(string)) {
	for i := range r.Backends {
		if n := r.Backends[i].Upstream.secret(); n != "" {
			f(n)
		}
	}
}
