// Package identitytest issues real identities from a CA in memory, for tests that need TLS between
// workloads and no control plane. It is safe for concurrent use.
package identitytest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/identity/issue"
	"github.com/weft-mesh/weft/internal/model"
)

// CA is a root with an intermediate.
type CA struct {
	TrustDomain string
	Root        issue.Authority
	Issuer      issue.Authority
}

// NewCA makes a CA for a trust domain, valid around now for ten years.
func NewCA(tb testing.TB, trustDomain string) *CA {
	tb.Helper()
	// Long before and after: fake clocks start in the year 2000 (testing/synctest).
	const life = 10 * 365 * 24 * time.Hour
	now := time.Now()
	root, err := issue.NewRoot(trustDomain, now, life)
	if err != nil {
		tb.Fatal(err)
	}
	inter, err := issue.NewIntermediate(root, trustDomain, now, life)
	if err != nil {
		tb.Fatal(err)
	}
	return &CA{TrustDomain: trustDomain, Root: root, Issuer: inter}
}

// ID returns an identity of the CA's trust domain.
func (c *CA) ID(namespace, account string) model.Identity {
	return model.Identity{TrustDomain: c.TrustDomain, Namespace: namespace, Account: account}
}

// Leaf signs pub for id from now for ttl and returns the chain, leaf first, root left out.
func (c *CA) Leaf(tb testing.TB, id model.Identity, pub *ecdsa.PublicKey, now time.Time, ttl time.Duration) [][]byte {
	tb.Helper()
	leaf, err := c.Issuer.Leaf(id, pub, now, ttl)
	if err != nil {
		tb.Fatal(err)
	}
	return [][]byte{leaf.Raw, c.Issuer.Cert.Raw}
}

// Certificate issues a new key and certificate for id, valid from now for ttl. The chain ends with the root,
// as the control plane's own does.
func (c *CA) Certificate(tb testing.TB, id model.Identity, now time.Time, ttl time.Duration) tls.Certificate {
	tb.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		tb.Fatal(err)
	}
	return tls.Certificate{Certificate: append(c.Leaf(tb, id, &key.PublicKey, now, ttl), c.Root.Cert.Raw), PrivateKey: key}
}

// PEM issues for id and returns certificate chain, key and bundle as PEM.
func (c *CA) PEM(tb testing.TB, id model.Identity) (cert, key, bundle []byte) {
	tb.Helper()
	tc := c.Certificate(tb, id, time.Now(), 24*time.Hour)
	for _, der := range tc.Certificate[:2] {
		cert = append(cert, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})...)
	}
	der, err := x509.MarshalPKCS8PrivateKey(tc.PrivateKey)
	if err != nil {
		tb.Fatal(err)
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	bundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Root.Cert.Raw})
	return cert, key, bundle
}

// Source issues for id and returns a static Source.
func (c *CA) Source(tb testing.TB, id model.Identity) *identity.Source {
	tb.Helper()
	s, err := identity.NewStatic(c.PEM(tb, id))
	if err != nil {
		tb.Fatal(err)
	}
	return s
}
