package identity

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// The control plane's own workload in every trust domain.
const (
	ControlNamespace = "weft-system"
	ControlAccount   = "weft-control"
)

// ControlIdentity returns the identity of the control plane of a trust domain.
func ControlIdentity(trustDomain string) model.Identity {
	return model.Identity{TrustDomain: trustDomain, Namespace: ControlNamespace, Account: ControlAccount}
}

// IdentityOf returns the SPIFFE ID a leaf certificate claims, after the checks X509-SVID sections 2 to 4
// make on the leaf itself. It does not verify who signed it.
func IdentityOf(leaf *x509.Certificate) (model.Identity, error) {
	if len(leaf.URIs) != 1 {
		return model.Identity{}, &PeerError{Kind: Malformed, Detail: "an SVID has exactly one URI name"}
	}
	id, err := model.ParseIdentity(leaf.URIs[0].String())
	if err != nil {
		return model.Identity{}, &PeerError{Kind: Malformed, Detail: err.Error(), Err: err}
	}
	if leaf.IsCA || leaf.KeyUsage&(x509.KeyUsageCertSign|x509.KeyUsageCRLSign) != 0 {
		return model.Identity{}, &PeerError{Kind: Malformed, Detail: "a CA certificate is no SVID", Got: id}
	}
	if leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0 {
		return model.Identity{}, &PeerError{Kind: Malformed, Detail: "key usage lacks digitalSignature", Got: id}
	}
	return id, nil
}

// PeerIdentity returns the identity the peer of a verified connection proved. The connection must come from
// one of this package's configs (or the control plane's), for verification happened there.
func PeerIdentity(cs *tls.ConnectionState) (model.Identity, error) {
	if cs == nil || len(cs.PeerCertificates) == 0 {
		return model.Identity{}, &PeerError{Kind: NoCertificate}
	}
	return IdentityOf(cs.PeerCertificates[0])
}

// Verification says what a peer's chain must satisfy.
type Verification struct {
	TrustDomain string
	Roots       *x509.CertPool
	Now         time.Time
	Usage       x509.ExtKeyUsage // what the peer uses its certificate for
}

// Verify checks a peer's chain, leaf first, and returns whose it is. Errors are *PeerError.
func (v Verification) Verify(certs []*x509.Certificate) (model.Identity, error) {
	if len(certs) == 0 {
		return model.Identity{}, &PeerError{Kind: NoCertificate}
	}
	leaf := certs[0]
	id, err := IdentityOf(leaf)
	if err != nil {
		return model.Identity{}, err
	}
	unknown := func(err error) error {
		return &PeerError{Kind: UnknownAuthority, Detail: leaf.Issuer.String() + ", trust domain " + id.TrustDomain, Got: id, Err: err}
	}
	// A root is trusted for its own trust domain only (X509-SVID section 5.2).
	if id.TrustDomain != v.TrustDomain {
		return model.Identity{}, unknown(nil)
	}
	between := x509.NewCertPool()
	for _, c := range certs[1:] {
		between.AddCert(c)
	}
	_, err = leaf.Verify(x509.VerifyOptions{
		Roots: v.Roots, Intermediates: between, CurrentTime: v.Now, KeyUsages: []x509.ExtKeyUsage{v.Usage},
	})
	if err == nil {
		return id, nil
	}
	if inv, ok := errors.AsType[x509.CertificateInvalidError](err); ok {
		if inv.Reason == x509.Expired {
			return model.Identity{}, &PeerError{Kind: Expired, Detail: id.String() + ", valid until " + leaf.NotAfter.UTC().Format(time.RFC3339), Got: id, Err: err}
		}
		return model.Identity{}, &PeerError{Kind: Malformed, Detail: err.Error(), Got: id, Err: err}
	}
	return model.Identity{}, unknown(err)
}
