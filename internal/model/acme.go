package model

import (
	"slices"
	"strings"
)

// Managed is what is known of the certificates that listeners get by ACME.
type Managed struct {
	Certificates map[string]Certificate `json:"certificates,omitempty"` // by host
	Challenges   []Challenge            `json:"challenges,omitempty"`   // that the CA is to find answered
}

// Challenge is what a CA looks for at a host, to see that it is ours (RFC 8555, section 8).
type Challenge struct {
	Host        string       `json:"host"`
	Path        string       `json:"path,omitempty"`        // HTTP-01 (RFC 8555, section 8.3): where it asks, by plain HTTP
	Answer      string       `json:"answer,omitempty"`      // HTTP-01
	Certificate *Certificate `json:"certificate,omitempty"` // TLS-ALPN-01 (RFC 8737)
}

// acmeRule is the kind of rules that answer challenges.
const acmeRule = "ACME"

// ManagedHosts returns the hosts whose certificates are asked for by ACME, sorted.
func (s *Snapshot) ManagedHosts() []string {
	var out []string
	for i := range s.Sockets {
		for j := range s.Sockets[i].Listeners {
			if ln := &s.Sockets[i].Listeners[j]; ln.ACME {
				out = append(out, strings.ToLower(ln.Hostname))
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// WithManaged returns a copy of a gateway's snapshot with certificates in the listeners that wait for them, and the
// challenges answered. s is not changed.
func (s *Snapshot) WithManaged(m *Managed) *Snapshot {
	out := *s
	out.Sockets = slices.Clone(s.Sockets)
	for i := range out.Sockets {
		socket := &out.Sockets[i]
		socket.Listeners = slices.Clone(socket.Listeners)
		for j := range socket.Listeners {
			ln := &socket.Listeners[j]
			if ln.ACME {
				ln.manage(m)
			}
		}
		if socket.Kind == SocketHTTP {
			socket.answer(m.Challenges)
		}
	}
	return &out
}

// manage gives a listener its certificate, and that of a challenge.
func (ln *Listener) manage(m *Managed) {
	host := strings.ToLower(ln.Hostname)
	ln.Certificates, ln.Challenge = nil, nil
	if c, ok := m.Certificates[host]; ok {
		ln.Certificates = []Certificate{c}
	}
	for i := range m.Challenges {
		if c := &m.Challenges[i]; c.Host == host && c.Certificate != nil {
			ln.Challenge = c.Certificate
		}
	}
}

// answer puts the answers of HTTP-01 before all rules, in listeners of their own, so that they are found whatever hosts
// the others take.
func (s *Socket) answer(challenges []Challenge) {
	for _, c := range challenges {
		if c.Path == "" {
			continue
		}
		rule := Rule{
			Ref: RuleRef{Kind: acmeRule, Name: c.Host}, Hosts: []string{c.Host},
			Matches: []Match{{Path: PathMatch{Type: Exact, Value: c.Path}}},
			Filters: Filters{Direct: &DirectAnswer{Status: 200, Body: c.Answer}},
		}
		at := slices.IndexFunc(s.Listeners, func(l Listener) bool { return strings.EqualFold(l.Hostname, c.Host) })
		if at < 0 {
			// The rules of the listener that took the host until now go on behind.
			ln := Listener{Name: "acme/" + c.Host, Hostname: c.Host}
			if other := s.widest(c.Host); other != nil {
				ln.Rules, ln.Ordered = other.Rules, other.Ordered
			}
			s.Listeners = append(s.Listeners, ln)
			at = len(s.Listeners) - 1
		}
		ln := &s.Listeners[at]
		ln.Rules = append([]Rule{rule}, ln.Rules...)
	}
}

// widest returns the listener with the most specific wildcard that takes an exact host, else the one for every host.
func (s *Socket) widest(host string) (out *Listener) {
	for i := range s.Listeners {
		ln := &s.Listeners[i]
		suffix, wild := strings.CutPrefix(ln.Hostname, "*")
		takes := ln.Hostname == "" || wild && len(host) > len(suffix) && strings.HasSuffix(host, strings.ToLower(suffix))
		if takes && (out == nil || len(ln.Hostname) > len(out.Hostname)) {
			out = ln
		}
	}
	return out
}
