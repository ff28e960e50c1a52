package model

import (
	"fmt"
	"strings"
	"testing"
)

// TestWithCertificates: services and backends are shown the Secrets that they name, or are not reached.
func TestWithCertificates(t *testing.T) {
	up := func(secret string) *Upstream { return &Upstream{TLS: &UpstreamTLS{Secret: secret}} }
	rules := []Rule{{Backends: []Backend{{Upstream: up("default/a")}, {}, {Upstream: up("default/none")}}}}
	s := &Snapshot{
		Services: []Service{{Upstream: up("default/a"), Rules: rules}, {Upstream: &Upstream{TLS: &UpstreamTLS{OfGateway: true}}}},
		Sockets:  []Socket{{Listeners: []Listener{{Rules: rules}}}},
		Secrets:  map[string]Certificate{"default/a": {Chain: "chain", Key: "very-secret"}},
	}
	out := s.WithCertificates()
	for _, r := range [][]Rule{out.Services[0].Rules, out.Sockets[0].Listeners[0].Rules} {
		if b := r[0].Backends; b[0].Upstream.TLS.Certificate.Key != "very-secret" || b[1].Upstream != nil || !strings.Contains(b[2].Upstream.TLS.Invalid, "default/none") {
			t.Errorf("%+v", b)
		}
	}
	if c := out.Services[0].Upstream.TLS.Certificate; c == nil || c.Chain != "chain" || s.Services[0].Upstream.TLS.Certificate != nil || out.Services[1].Upstream.TLS.Certificate != nil {
		t.Errorf("%+v", out.Services)
	}
	if text := fmt.Sprintf("%+v %+v", *out.Redacted().Services[0].Upstream.TLS.Certificate, out.Redacted().Secrets); strings.Contains(text, "very-secret") || out.Redacted().Secrets["default/a"].Key != redacted {
		t.Error("a key is shown: ", text)
	}
	plain := &Snapshot{Services: []Service{{Rules: []Rule{{Backends: []Backend{{}}}}}}}
	if plain.WithCertificates() != plain {
		t.Error("a snapshot without Secrets is copied")
	}
}
