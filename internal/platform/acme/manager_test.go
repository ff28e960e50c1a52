package acme

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newManager(t *testing.T) *Manager {
	t.Helper()
	m, err := New(t.Context(), Options{Email: "ops@example.com", Storage: filepath.Join(t.TempDir(), "acme")})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}

func TestOptions(t *testing.T) {
	dir := t.TempDir()
	bad := filepath.Join(dir, "bad.pem")
	if err := os.WriteFile(bad, []byte("no certificate"), 0o600); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"is no e-mail address":   {Email: "ops", Storage: dir},
		"is not an https URL":    {Email: "a@b", Storage: dir, Directory: "http://ca.test/dir"},
		"no directory to store":  {Email: "a@b"},
		"has no PEM certificate": {Email: "a@b", Storage: dir, RootFile: bad},
		"no such file":           {Email: "a@b", Storage: dir, RootFile: filepath.Join(dir, "none")},
		"not a directory":        {Email: "a@b", Storage: filepath.Join(bad, "x")},
	} {
		if m, err := New(t.Context(), o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v %v, want %q", o, m, err, want)
		}
	}
	if err := newManager(t).Manage(make([]string, maxHosts+1)); err == nil {
		t.Error("any number of hosts is taken")
	}
}

// TestChallengesAreInForce has a challenge presented only when its answer is in force, and given up with its context.
func TestChallengesAreInForce(t *testing.T) {
	m := newManager(t)
	s := &solver{m}
	for _, kind := range []string{acme.ChallengeTypeHTTP01, acme.ChallengeTypeTLSALPN01} {
		c := acme.Challenge{Type: kind, Token: "t", KeyAuthorization: "t.k", Identifier: acme.Identifier{Type: "dns", Value: "a.test"}}
		done := make(chan error, 1)
		go func() { done <- s.Present(t.Context(), c) }()
		<-m.Changed()
		managed, version := m.Managed([]string{"a.test"})
		if len(managed.Challenges) != 1 || managed.Challenges[0].Host != "a.test" || len(managed.Certificates) != 0 {
			t.Fatalf("%+v", managed)
		}
		if http := kind == acme.ChallengeTypeHTTP01; http != (managed.Challenges[0].Answer == "t.k") || http == (managed.Challenges[0].Certificate != nil) {
			t.Errorf("%s: %+v", kind, managed.Challenges[0])
		}
		m.Applied(version - 1)
		select {
		case err := <-done:
			t.Fatalf("it is reported before it is in force: %v", err)
		default:
		}
		m.Applied(version)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if err := s.CleanUp(t.Context(), c); err != nil {
			t.Fatal(err)
		}
		<-m.Changed()
		if managed, _ := m.Managed(nil); len(managed.Challenges) != 0 {
			t.Errorf("it stays: %+v", managed.Challenges)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := s.Present(ctx, acme.Challenge{Type: acme.ChallengeTypeHTTP01}); !errors.Is(err, context.Canceled) {
		t.Errorf("nobody applies it: %v", err)
	}
}

// TestAccountKeyIsKept wants one key for good.
func TestAccountKeyIsKept(t *testing.T) {
	m := newManager(t)
	first, err := m.issuer.accountKey(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	again, err := m.issuer.accountKey(t.Context())
	if err != nil || !again.Equal(first) {
		t.Errorf("another key: %v", err)
	}
}
