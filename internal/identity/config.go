package identity

import (
	"crypto/tls"
	"crypto/x509"
	"sync/atomic"

	"github.com/weft-mesh/weft/internal/model"
)

// sessionsPerSource bounds the TLS sessions a client keeps for resumption (about 3 KB each).
const sessionsPerSource = 512

// curves are the key exchanges, the first for whoever has it: it stays secret even from one who records
// today and has a quantum computer later (draft-ietf-tls-ecdhe-mlkem).
func curves() []tls.CurveID {
	return []tls.CurveID{tls.X25519MLKEM768, tls.X25519, tls.CurveP256}
}

// ServerConfig returns a config for listeners of the mesh: TLS 1.3, ALPN as given ("h2" if none), and a client
// that proves an identity of our trust domain under the roots current at that moment. Take one and share
// it between listeners: session tickets are good for the config that made them.
func (s *Source) ServerConfig(alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:       tls.VersionTLS13,
		CurvePreferences: curves(),
		NextProtos:       protos(alpn),
		Time:             s.now,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return s.certificate()
		},
		// VerifyConnection does the verifying, so that it sees rotated roots and resumed sessions too.
		ClientAuth: tls.RequireAnyClientCert,
		VerifyConnection: func(cs tls.ConnectionState) error {
			_, err := s.verify(cs.PeerCertificates, x509.ExtKeyUsageClientAuth)
			return err
		},
	}
}

// ClientConfig returns a config that accepts exactly the server want, or any of our trust domain if want is
// zero. ALPN is "h2" unless given. It is cheap to call, once per connection say: keys, roots and sessions are shared.
func (s *Source) ClientConfig(want model.Identity, alpn ...string) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		CurvePreferences:   curves(),
		NextProtos:         protos(alpn),
		Time:               s.now,
		ClientSessionCache: &s.sessions,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return s.certificate()
		},
		// Names of the DNS kind mean nothing here: VerifyConnection checks the SPIFFE ID, on resumption too.
		InsecureSkipVerify: true,
		VerifyConnection: func(cs tls.ConnectionState) error {
			got, err := s.verify(cs.PeerCertificates, x509.ExtKeyUsageServerAuth)
			if err != nil {
				return err
			}
			if !want.IsZero() && got != want {
				return &PeerError{Kind: Mismatch, Got: got, Want: want}
			}
			return nil
		},
	}
}

func protos(alpn []string) []string {
	if len(alpn) == 0 {
		return []string{"h2"}
	}
	return alpn
}

func (s *Source) certificate() (*tls.Certificate, error) {
	cur := s.current.Load()
	if cur == nil {
		return nil, &PeerError{Kind: NotReady}
	}
	return &cur.Certificate, nil
}

func (s *Source) verify(certs []*x509.Certificate, usage x509.ExtKeyUsage) (model.Identity, error) {
	cur := s.current.Load()
	if cur == nil {
		return model.Identity{}, &PeerError{Kind: NotReady}
	}
	v := Verification{TrustDomain: cur.Identity.TrustDomain, Roots: cur.Roots, Now: s.now(), Usage: usage}
	return v.Verify(certs)
}

// sessionCache is a tls.ClientSessionCache that can be emptied: a session carries the client certificate it
// was made with, so after a rotation old sessions would only be refused.
type sessionCache struct {
	lru atomic.Pointer[tls.ClientSessionCache]
}

func (c *sessionCache) reset() {
	lru := tls.NewLRUClientSessionCache(sessionsPerSource)
	c.lru.Store(&lru)
}

// Get implements tls.ClientSessionCache.
func (c *sessionCache) Get(key string) (*tls.ClientSessionState, bool) {
	return (*c.lru.Load()).Get(key)
}

// Put implements tls.ClientSessionCache.
func (c *sessionCache) Put(key string, cs *tls.ClientSessionState) { (*c.lru.Load()).Put(key, cs) }

var _ tls.ClientSessionCache = (*sessionCache)(nil)
