package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/h2"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// upstreamTLS is TLS to the endpoints of a service outside the mesh: with ALPN for HTTP/1.1, for HTTP/2, and for
// opaque bytes. The configurations live as long as the snapshot, and so do the sessions that can be resumed.
type upstreamTLS struct {
	model        *model.UpstreamTLS
	key          string // the same for the same settings
	h1, h2, none *tls.Config
}

// newServiceTLS compiles all TLS of a service: that of single ports before that of the others.
func newServiceTLS(up *model.Upstream) (out []*upstreamTLS, err error) {
	add := func(m *model.UpstreamTLS) {
		var t *upstreamTLS
		if err != nil || m == nil {
			return
		}
		if t, err = newUpstreamTLS(m); err == nil {
			out = append(out, t)
		}
	}
	for i := range up.PortTLS {
		add(&up.PortTLS[i])
	}
	add(up.TLS)
	return out, err
}

// tlsFor is TLS to an endpoint, nil if its ports are none of those that it is for.
func (s *service) tlsFor(m *model.Endpoint) *upstreamTLS {
	for _, t := range s.tls {
		if len(t.model.Ports) == 0 || slices.ContainsFunc(m.Ports, func(p uint16) bool { return slices.Contains(t.model.Ports, p) }) {
			return t
		}
	}
	return nil
}

func newUpstreamTLS(m *model.UpstreamTLS) (*upstreamTLS, error) {
	base := &tls.Config{
		MinVersion: tls.VersionTLS12, ServerName: m.Hostname, ClientSessionCache: tls.NewLRUClientSessionCache(0),
		DynamicRecordSizingDisabled: true,
	}
	if m.CA != "" {
		base.RootCAs = x509.NewCertPool()
		if !base.RootCAs.AppendCertsFromPEM([]byte(m.CA)) {
			return nil, errors.New("tls: the CA has no certificate in PEM")
		}
	}
	if m.Certificate != nil && m.Certificate.Chain != "" { // files of a proxy without a directory of them are left out
		pair, err := tls.X509KeyPair([]byte(m.Certificate.Chain), []byte(m.Certificate.Key))
		if err != nil {
			return nil, fmt.Errorf("tls: certificate: %w", err)
		}
		base.Certificates = []tls.Certificate{pair}
	}
	if err := verifyUpstream(base, m); err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	with := func(alpn ...string) *tls.Config {
		c := base.Clone()
		c.NextProtos = alpn
		return c
	}
	key, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("tls: %w", err)
	}
	sum := sha256.Sum256(key)
	return &upstreamTLS{m, string(sum[:]), with("http/1.1"), with("h2"), base}, nil
}

// verifyUpstream sets how the certificates of endpoints are verified, where crypto/tls does not do all of it.
func verifyUpstream(base *tls.Config, m *model.UpstreamTLS) error {
	var revoked *model.Revocations
	if m.Revoked != "" {
		var err error
		if revoked, err = model.ParseRevocations(m.Revoked); err != nil {
			return fmt.Errorf("revoked certificates: %w", err)
		}
	}
	switch {
	case m.Insecure:
		base.InsecureSkipVerify = true //nolint:gosec // what the policy asks for, in so many words
	case len(m.Names) > 0:
		// The names stand in place of the host's: the chain is verified here, without a name.
		base.InsecureSkipVerify = true //nolint:gosec // see VerifyConnection
		base.VerifyConnection = func(state tls.ConnectionState) error {
			chains, err := verifyNames(&state, base.RootCAs, m.Names)
			if err == nil && revoked != nil {
				err = revoked.Check(chains, time.Now())
			}
			return err
		}
	case revoked != nil:
		base.VerifyConnection = func(state tls.ConnectionState) error {
			return revoked.Check(state.VerifiedChains, time.Now())
		}
	}
	return nil
}

// verifyNames checks a chain, and that the certificate has one of the names.
func verifyNames(state *tls.ConnectionState, roots *x509.CertPool, names []string) ([][]*x509.Certificate, error) {
	if len(state.PeerCertificates) == 0 {
		return nil, errors.New("the server has no certificate")
	}
	leaf, others := state.PeerCertificates[0], x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		others.AddCert(c)
	}
	chains, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others})
	if err != nil {
		return nil, err
	}
	if !hasName(leaf, names) {
		return nil, fmt.Errorf("the certificate has none of the names %q", names)
	}
	return chains, nil
}

// dialTLS makes TLS of a connection to a plain endpoint, if its service asks for it; nil if it does not. On failure
// the connection is closed.
func (ep *endpoint) dialTLS(raw *loop.Conn, conf func(*upstreamTLS) *tls.Config) (*secured, error) {
	if ep.tls == nil {
		return nil, nil
	}
	if why := ep.tls.invalid(); why != "" {
		_ = raw.Close()
		return nil, fmt.Errorf("TLS: %s", why)
	}
	t, err := ep.w.secure(raw, func(k *wire) *tls.Conn { return tls.Client(k, conf(ep.tls)) })
	if err != nil {
		ep.unreachable()
		return nil, fmt.Errorf("TLS: %w", err)
	}
	return t, nil
}

// invalid says why nothing may be sent; "" if nothing is wrong. A CA or certificate that is a file which this proxy does not
// have may be left out: then the server is verified by the system's CAs, or refuses us. A list of revoked ones may not.
func (u *upstreamTLS) invalid() string {
	if u.model.Invalid == "" && u.model.RevokedFile != "" {
		return "the list of revoked certificates is a file, and this proxy has no directory of certificates (--certificates)"
	}
	return u.model.Invalid
}

func forHTTP1(u *upstreamTLS) *tls.Config { return u.h1 }

func forHTTP2(u *upstreamTLS) *tls.Config { return u.h2 }

func forBytes(u *upstreamTLS) *tls.Config { return u.none }

// dialPlainH2 connects to an endpoint outside the mesh that speaks HTTP/2.
func (ep *endpoint) dialPlainH2(raw *loop.Conn, cfg h2.Config) (*h2conn, error) {
	t, err := ep.dialTLS(raw, forHTTP2)
	if err != nil {
		return nil, err
	}
	if t != nil && t.ConnectionState().NegotiatedProtocol != "h2" {
		_ = raw.Close()
		return nil, errors.New("TLS: the server does not speak HTTP/2")
	}
	c := newH2(ep.w, raw, t, cfg)
	c.ep = ep
	c.start(nil)
	c.keepAlive()
	return c, nil
}
