package identity

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"time"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
)

// Back-off between failed attempts, doubling, each with 20% jitter.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 15 * time.Second
)

// maxAnswerBytes bounds what a control plane can make us read.
const maxAnswerBytes = 1 << 20

// join obtains an SVID by the token.
func (s *Source) join(ctx context.Context) (*SVID, error) {
	client := s.controlClient(s.bootstrapConfig())
	defer client.CloseIdleConnections()
	next, roots, err := s.sign(ctx, client, true)
	if err != nil {
		return nil, s.consequence(err)
	}
	for _, der := range roots {
		if s.token.PinMatches(der) {
			return next, nil
		}
	}
	return nil, &RefusedError{Reason: "the control plane's bundle lacks the root the token names"}
}

// renew obtains the next SVID by the current one.
func (s *Source) renew(ctx context.Context, cur *SVID) (*SVID, error) {
	// On a connection of its own: one that lives since before the last rotation would prove an older SVID.
	client := s.controlClient(s.ClientConfig(ControlIdentity(cur.Identity.TrustDomain)))
	defer client.CloseIdleConnections()
	next, _, err := s.sign(ctx, client, false)
	if err != nil {
		return nil, fmt.Errorf("renew %s: %w", cur.Identity, err)
	}
	return next, nil
}

// sign makes a new key, has it certified, and checks what came back.
func (s *Source) sign(ctx context.Context, client *http.Client, withToken bool) (*SVID, [][]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, fmt.Errorf("make a key: %w", err)
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, nil, fmt.Errorf("make a certificate request: %w", err)
	}
	req := &discoveryv1.SignCertificateRequest{Csr: csr}
	if withToken {
		req.JoinToken = s.token.Text()
	}
	api := discoveryv1connect.NewIdentityServiceClient(client, s.control.base, connect.WithReadMaxBytes(maxAnswerBytes))
	resp, err := api.SignCertificate(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, nil, fmt.Errorf("ask the control plane: %w", err)
	}
	next, err := s.assemble(key, resp.Msg.GetChain(), resp.Msg.GetBundle())
	if err != nil {
		return nil, nil, fmt.Errorf("the control plane's answer: %w", err)
	}
	return next, resp.Msg.GetBundle(), nil
}

// assemble checks an issued chain against key and bundle, and makes an SVID of them.
func (s *Source) assemble(key *ecdsa.PrivateKey, chain, bundle [][]byte) (*SVID, error) {
	next, err := newSVID(chain, bundle, key, s.now())
	if err != nil {
		return nil, err
	}
	if got := next.Identity.TrustDomain; got != s.token.TrustDomain {
		return nil, &RefusedError{Reason: fmt.Sprintf("the identity is of trust domain %q, the token of %q", got, s.token.TrustDomain)}
	}
	return next, nil
}

// newSVID parses and verifies a chain (leaf first) against a bundle of roots, both DER.
func newSVID(chain, bundle [][]byte, key *ecdsa.PrivateKey, now time.Time) (*SVID, error) {
	certs := make([]*x509.Certificate, 0, len(chain))
	for i, der := range chain {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("certificate %d of the chain: %w", i, err)
		}
		certs = append(certs, c)
	}
	roots := x509.NewCertPool()
	for i, der := range bundle {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			return nil, fmt.Errorf("root %d of the bundle: %w", i, err)
		}
		roots.AddCert(c)
	}
	if len(certs) == 0 || len(bundle) == 0 {
		return nil, errors.New("it holds no certificate or no root")
	}
	leaf := certs[0]
	if !key.PublicKey.Equal(leaf.PublicKey) {
		return nil, errors.New("the certificate is for another key")
	}
	id, err := IdentityOf(leaf)
	if err != nil {
		return nil, err
	}
	v := Verification{TrustDomain: id.TrustDomain, Roots: roots, Now: now, Usage: x509.ExtKeyUsageServerAuth}
	if _, err := v.Verify(certs); err != nil {
		return nil, err
	}
	return &SVID{
		Identity:    id,
		Certificate: tls.Certificate{Certificate: chain, PrivateKey: key, Leaf: leaf},
		Roots:       roots,
		NotAfter:    leaf.NotAfter,
	}, nil
}

// consequence makes a *RefusedError of what trying again cannot mend.
func (s *Source) consequence(err error) error {
	if _, ok := errors.AsType[*RefusedError](err); ok {
		return err
	}
	if pe, ok := errors.AsType[*PeerError](err); ok && pe.Kind != NotReady {
		return &RefusedError{Reason: pe.Error() + "; check the control plane's address, or create a token there", Err: err}
	}
	ce, ok := errors.AsType[*connect.Error](err)
	if !ok || !connect.IsWireError(ce) {
		return err
	}
	switch ce.Code() {
	case connect.CodeInvalidArgument, connect.CodeUnauthenticated, connect.CodePermissionDenied, connect.CodeFailedPrecondition, connect.CodeNotFound, connect.CodeUnimplemented:
		return &RefusedError{Reason: ce.Message(), Err: err}
	}
	return err
}

// renewIn returns how long to wait before renewing: until half the certificate's life has passed, give or
// take 10%, so that a fleet that started together does not renew together.
func (s *Source) renewIn() time.Duration {
	cur := s.Current()
	half := cur.NotAfter.Sub(cur.Certificate.Leaf.NotBefore) / 2
	at := cur.Certificate.Leaf.NotBefore.Add(jitter(half, 0.1))
	return max(at.Sub(s.now()), minBackoff)
}

func backoff(failures int) time.Duration {
	return jitter(min(minBackoff<<min(failures, 10), maxBackoff), 0.2)
}

// jitter spreads d evenly over d*(1-f) to d*(1+f).
func jitter(d time.Duration, f float64) time.Duration {
	return time.Duration(float64(d) * (1 + f*(2*mathrand.Float64()-1)))
}

// sleep waits for d and reports whether ctx still lives.
func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-t.C:
		return true
	}
}
