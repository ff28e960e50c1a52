package ca

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
)

// serverCert is a certificate of the control plane's own and when to replace it.
type serverCert struct {
	cert  *tls.Certificate
	renew time.Time
}

// ControlIdentity returns who the control plane is.
func (c *CA) ControlIdentity() model.Identity { return identity.ControlIdentity(c.trustDomain) }

// ServerCertificate returns a getter for tls.Config.GetCertificate that presents id, renewed at half its
// life when next asked. The chain includes the root, so that a proxy with nothing but a join token can
// check it against the token's hash. Every id keeps one certificate in memory: it is for the control plane's own.
func (c *CA) ServerCertificate(id model.Identity) func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	return func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.own(id) }
}

func (c *CA) own(id model.Identity) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	have := c.servers[id]
	if have != nil && now.Before(have.renew) {
		return have.cert, nil
	}
	cert, err := c.issueOwn(id, now)
	if err != nil {
		if have != nil && now.Before(have.cert.Leaf.NotAfter) {
			return have.cert, nil // good for the other half of its life; the next handshake tries again
		}
		return nil, err
	}
	half := cert.Leaf.NotAfter.Sub(now) / 2
	c.servers[id] = &serverCert{cert: cert, renew: now.Add(half)}
	return cert, nil
}

func (c *CA) issueOwn(id model.Identity, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("make the control plane's key: %w", err)
	}
	m := c.mat.Load()
	leaf, err := m.inter.Leaf(id, &key.PublicKey, now, c.ttl)
	if err != nil {
		return nil, fmt.Errorf("certify the control plane: %w", err)
	}
	return &tls.Certificate{
		Certificate: [][]byte{leaf.Raw, m.inter.Cert.Raw, m.root.Cert.Raw}, PrivateKey: key, Leaf: leaf,
	}, nil
}

// ServerConfig returns the control plane's TLS towards proxies: TLS 1.3, HTTP/2, the control plane's identity.
// A client shows an SVID of the trust domain or, to join, none: handlers tell by identity.PeerIdentity, and
// one that shows a bad one is refused in the handshake. Use one config for all listeners.
func (c *CA) ServerConfig() *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256},
		NextProtos:       []string{"h2"},
		Time:             c.now,
		GetCertificate:   c.ServerCertificate(c.ControlIdentity()),
		ClientAuth:       tls.RequestClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error {
			if len(cs.PeerCertificates) == 0 {
				return nil
			}
			v := identity.Verification{TrustDomain: c.trustDomain, Roots: c.mat.Load().pool, Now: c.now(), Usage: x509.ExtKeyUsageClientAuth}
			_, err := v.Verify(cs.PeerCertificates)
			return err
		},
	}
}
