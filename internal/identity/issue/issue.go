// Package issue makes the certificates of a mesh: roots, intermediates and SVIDs after SPIFFE X509-SVID and
// RFC 5280. It is pure but for randomness: no I/O, no clock, safe for concurrent use. Only issuers import it,
// so that weft-proxy need not link it.
//
// Limits: ECDSA P-256 throughout, one intermediate between root and leaf.
package issue

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// Skew is how far NotBefore lies in the past, for peers whose clocks are behind.
const Skew = time.Minute

// Authority is a CA certificate with its key.
type Authority struct {
	Cert *x509.Certificate
	Key  *ecdsa.PrivateKey
}

// NewRoot makes a self-signed root of a trust domain.
func NewRoot(trustDomain string, now time.Time, life time.Duration) (Authority, error) {
	return newAuthority(nil, trustDomain, now, life)
}

// NewIntermediate makes an authority under root that may sign leaves only. It ends with the root at the latest.
func NewIntermediate(root Authority, trustDomain string, now time.Time, life time.Duration) (Authority, error) {
	return newAuthority(&root, trustDomain, now, life)
}

func newAuthority(parent *Authority, trustDomain string, now time.Time, life time.Duration) (Authority, error) {
	if err := model.CheckTrustDomain(trustDomain); err != nil {
		return Authority{}, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Authority{}, fmt.Errorf("make a key: %w", err)
	}
	serial, err := newSerial()
	if err != nil {
		return Authority{}, err
	}
	keyID, err := subjectKeyID(&key.PublicKey)
	if err != nil {
		return Authority{}, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{Organization: []string{"Weft"}, CommonName: "Weft root " + trustDomain},
		NotBefore:             now.Add(-Skew),
		NotAfter:              now.Add(life),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		SubjectKeyId:          keyID,
		// A signing certificate's SPIFFE ID, if any, has no path (X509-SVID section 2).
		URIs: []*url.URL{{Scheme: "spiffe", Host: trustDomain}},
	}
	signer, signKey := t, key
	if parent != nil {
		t.Subject.CommonName = "Weft intermediate " + trustDomain
		t.MaxPathLenZero = true
		t.NotAfter = earlier(t.NotAfter, parent.Cert.NotAfter)
		signer, signKey = parent.Cert, parent.Key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, signer, &key.PublicKey, signKey)
	if err != nil {
		return Authority{}, fmt.Errorf("sign a CA certificate: %w", err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return Authority{}, fmt.Errorf("read back a CA certificate: %w", err)
	}
	return Authority{Cert: cert, Key: key}, nil
}

// Leaf makes an X.509-SVID for id over pub: one URI name, both extended key usages, no CA. It ends with its
// issuer at the latest.
func (a Authority) Leaf(id model.Identity, pub *ecdsa.PublicKey, now time.Time, ttl time.Duration) (*x509.Certificate, error) {
	if _, err := model.ParseIdentity(id.String()); err != nil {
		return nil, err
	}
	if pub == nil || pub.Curve != elliptic.P256() {
		return nil, errors.New("the key is not ECDSA P-256")
	}
	if ttl <= 0 || !now.Before(a.Cert.NotAfter) {
		return nil, fmt.Errorf("no time left to certify: lifetime %s, issuer valid until %s", ttl, a.Cert.NotAfter.UTC().Format(time.RFC3339))
	}
	serial, err := newSerial()
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber:          serial,
		NotBefore:             now.Add(-Skew),
		NotAfter:              earlier(now.Add(ttl), a.Cert.NotAfter),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
		URIs:                  []*url.URL{id.URL()},
	}
	der, err := x509.CreateCertificate(rand.Reader, t, a.Cert, pub, a.Key)
	if err != nil {
		return nil, fmt.Errorf("sign for %s: %w", id, err)
	}
	return x509.ParseCertificate(der)
}

func earlier(a, b time.Time) time.Time {
	if b.Before(a) {
		return b
	}
	return a
}

// newSerial returns 127 random bits, never zero (RFC 5280, section 4.1.2.2).
func newSerial() (*big.Int, error) {
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	if err != nil {
		return nil, fmt.Errorf("make a serial number: %w", err)
	}
	return n.Add(n, big.NewInt(1)), nil
}

// subjectKeyID is the first 160 bits of the SHA-256 of the key (RFC 7093, section 2, method 1).
func subjectKeyID(pub *ecdsa.PublicKey) ([]byte, error) {
	raw, err := pub.Bytes()
	if err != nil {
		return nil, fmt.Errorf("encode a public key: %w", err)
	}
	sum := sha256.Sum256(raw)
	return sum[:20], nil
}
