package model

import (
	"slices"
	"strings"
	"testing"
)

// TestWithManaged gives listeners what came by ACME and leaves the snapshot as it was.
func TestWithManaged(t *testing.T) {
	own := []Rule{{Ref: RuleRef{Name: "own"}}}
	s := &Snapshot{Sockets: []Socket{
		{Kind: SocketHTTP, Listeners: []Listener{{Name: "any", Rules: own}, {Name: "wild", Hostname: "*.test", Ordered: true, Rules: own}, {Name: "b", Hostname: "b.test", Rules: own}}},
		{Kind: SocketHTTPS, Listeners: []Listener{{Name: "s", Hostname: "A.test", ACME: true}, {Name: "f", Hostname: "f.test", Certificates: []Certificate{{Chain: "file"}}}}},
	}}
	if got := s.ManagedHosts(); !slices.Equal(got, []string{"a.test"}) {
		t.Fatalf("hosts: %q", got)
	}
	m := &Managed{
		Certificates: map[string]Certificate{"a.test": {Chain: "ca"}, "f.test": {Chain: "not asked for"}},
		Challenges: []Challenge{
			{Host: "a.test", Path: "/.well-known/acme-challenge/x", Answer: "x.y"},
			{Host: "b.test", Path: "/p", Answer: "z"},
			{Host: "other.example", Path: "/q", Answer: "q"},
			{Host: "a.test", Certificate: &Certificate{Chain: "challenge", Key: "k"}},
		},
	}
	out := s.WithManaged(m)
	secure := out.Sockets[1].Listeners
	if secure[0].Certificates[0].Chain != "ca" || secure[0].Challenge.Chain != "challenge" || secure[1].Certificates[0].Chain != "file" || secure[1].Challenge != nil {
		t.Errorf("certificates: %+v", secure)
	}
	var got []string
	for _, ln := range out.Sockets[0].Listeners {
		for _, r := range ln.Rules {
			got = append(got, ln.Name+" "+r.Ref.Name)
		}
		if ordered := ln.Name == "wild" || ln.Name == "acme/a.test"; ln.Ordered != ordered {
			t.Errorf("%s: ordered is %v", ln.Name, ln.Ordered)
		}
	}
	want := []string{"any own", "wild own", "b b.test", "b own", "acme/a.test a.test", "acme/a.test own", "acme/other.example other.example", "acme/other.example own"}
	if !slices.Equal(got, want) {
		t.Errorf("rules %q, want %q", got, want)
	}
	if len(s.Sockets[0].Listeners) != 3 || len(s.Sockets[0].Listeners[2].Rules) != 1 || s.Sockets[1].Listeners[0].Certificates != nil {
		t.Errorf("the snapshot was changed: %+v", s.Sockets)
	}
	if text := out.Redacted().Sockets[1].Listeners[0].Challenge.Key; strings.HasPrefix(string(text), "k") {
		t.Error("the key of a challenge is shown")
	}
}
