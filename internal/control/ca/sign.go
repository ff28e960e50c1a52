package ca

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// maxCSRBytes bounds a request; a P-256 one has about 200 bytes.
const maxCSRBytes = 16 << 10

// Sign certifies the key of a PKCS #10 request (RFC 2986) for id, whatever names the request asks for. The
// caller has made sure that the requester is id. ttl 0 is the default; a longer one than MaxTTL is refused.
// It returns the chain in DER, leaf first, without the root. Errors that are the requester's wrap ErrRequest.
func (c *CA) Sign(ctx context.Context, csrDER []byte, id model.Identity, ttl time.Duration) (chain [][]byte, notAfter time.Time, err error) {
	if err := ctx.Err(); err != nil {
		return nil, time.Time{}, err
	}
	refuse := func(format string, a ...any) ([][]byte, time.Time, error) {
		return nil, time.Time{}, fmt.Errorf("%w: "+format, append([]any{ErrRequest}, a...)...)
	}
	if ttl == 0 {
		ttl = c.ttl
	}
	if ttl < MinTTL || ttl > MaxTTL {
		return refuse("lifetime %s is not between %s and %s", ttl, MinTTL, MaxTTL)
	}
	if id.TrustDomain != c.trustDomain {
		return refuse("%s is not of trust domain %s", id, c.trustDomain)
	}
	if len(csrDER) > maxCSRBytes {
		return refuse("longer than %d bytes", maxCSRBytes)
	}
	csr, err := x509.ParseCertificateRequest(csrDER)
	if err != nil {
		return refuse("%w", err)
	}
	pub, ok := csr.PublicKey.(*ecdsa.PublicKey)
	if !ok || pub.Curve != elliptic.P256() {
		return refuse("the key is not ECDSA P-256")
	}
	// Proof of possession: nobody gets a certificate for another's key.
	if err := csr.CheckSignature(); err != nil {
		return refuse("bad signature: %w", err)
	}
	m := c.mat.Load()
	leaf, err := m.inter.Leaf(id, pub, c.now(), ttl)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("CA: %w", err)
	}
	return [][]byte{leaf.Raw, m.inter.Cert.Raw}, leaf.NotAfter, nil
}
