package proxy

import (
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// handshakes are how a listener's handshakes differ from those of others on its socket.
type handshakes struct {
	own       bool             // they do: clients are asked for a certificate, or the terms are the listener's
	clientCAs *x509.CertPool   // nil: there is none
	eachCA    []*x509.CertPool // by certificate; nil: clients are verified by the same CA whatever they are shown
	auth      tls.ClientAuthType
	checks    *clientChecks
	terms     tlsTerms

	mu      sync.Mutex // of configs, which handshakes on all loops fill
	configs map[ownConfig]*tls.Config
}

// ownConfig is what a configuration of a listener is made for.
type ownConfig struct {
	base        *tls.Config
	certificate int // where clients are verified by the CA of the certificate that they are shown; else 0
}

// tlsTerms are model.TLSTerms.
type tlsTerms struct {
	low, high uint16 // 0: the default
	suites    []uint16
}

// compileHandshakes reads how clients of a listener are verified, and what is agreed on with them.
func (ln *gateListener) compileHandshakes(m *model.Listener) error {
	var err error
	if ln.terms, err = compileTerms(m.Terms); err != nil {
		return err
	}
	if ln.checks, err = compileChecks(m.ClientChecks); err != nil {
		return err
	}
	if ln.clientCAs, err = poolOfClients(m.ClientCA); err != nil {
		return err
	}
	without := m.ClientCA == "" // some clients are shown a certificate that has no CA
	for i, c := range m.Certificates {
		if c.ClientCA == "" {
			continue
		}
		if ln.eachCA == nil {
			ln.eachCA = slices.Repeat([]*x509.CertPool{ln.clientCAs}, len(m.Certificates))
		}
		if ln.eachCA[i], err = poolOfClients(c.ClientCA); err != nil {
			return err
		}
	}
	if ln.eachCA != nil {
		without = slices.Contains(ln.eachCA, nil)
	}
	asks := m.ClientMode != "" || m.ClientCA != "" || ln.eachCA != nil
	switch {
	case !asks && ln.checks != nil:
		return errors.New("certificates of clients are checked, and none is asked for")
	case asks && m.ClientMode.Verifies() && without:
		return errors.New("certificates of clients are asked for, and there is no CA to verify them by")
	case !asks:
		ln.own = m.Terms != nil
		return nil
	}
	ln.own = true
	switch m.ClientMode {
	case "", model.ClientRequired:
		ln.auth = tls.RequireAndVerifyClientCert
	case model.ClientOptional:
		ln.auth = tls.RequestClientCert
	case model.ClientIfGiven:
		ln.auth = tls.VerifyClientCertIfGiven
	case model.ClientAny:
		ln.auth = tls.RequireAnyClientCert
	default:
		return fmt.Errorf("unknown mode %q of certificates of clients", m.ClientMode)
	}
	if ln.checks != nil && ln.checks.revoked != nil && !m.ClientMode.Verifies() {
		return errors.New("there are lists of revoked certificates, and certificates of clients are not verified")
	}
	return nil
}

// poolOfClients reads a CA; nil for none.
func poolOfClients(ca string) (*x509.CertPool, error) {
	if ca == "" {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM([]byte(ca)) {
		return nil, errors.New("the CA of clients has no certificate in PEM")
	}
	return pool, nil
}

func compileTerms(m *model.TLSTerms) (out tlsTerms, err error) {
	if m == nil {
		return out, nil
	}
	version := func(s string) uint16 {
		switch s {
		case "":
			return 0
		case model.TLS12:
			return tls.VersionTLS12
		case model.TLS13:
			return tls.VersionTLS13
		}
		err = fmt.Errorf("unknown version %q of TLS", s)
		return 0
	}
	out.low, out.high = version(m.Min), version(m.Max)
	for _, name := range m.Suites {
		i := slices.IndexFunc(tls.CipherSuites(), func(s *tls.CipherSuite) bool { return s.Name == name })
		if i < 0 {
			return out, fmt.Errorf("unknown cipher suite %q", name)
		}
		out.suites = append(out.suites, tls.CipherSuites()[i].ID)
	}
	if out.low == tls.VersionTLS13 && out.high == tls.VersionTLS12 {
		err = errors.New("TLS 1.3 at least and TLS 1.2 at most")
	}
	return out, err
}

// choose returns the first certificate that the client can verify, else the first.
func (ln *gateListener) choose(hello *tls.ClientHelloInfo) int {
	for i := range ln.certificates {
		if hello.SupportsCertificate(&ln.certificates[i]) == nil {
			return i
		}
	}
	return 0
}

// config is TLS for clients of the listener. It is a configuration of its own, so that no session of another listener
// can be resumed here.
func (ln *gateListener) config(base *tls.Config, hello *tls.ClientHelloInfo) *tls.Config {
	key := ownConfig{base: base}
	if ln.eachCA != nil {
		key.certificate = ln.choose(hello)
	}
	ln.mu.Lock()
	defer ln.mu.Unlock()
	if c := ln.configs[key]; c != nil {
		return c
	}
	c := base.Clone()
	c.GetConfigForClient = nil
	if c.ClientAuth = ln.auth; ln.auth != tls.NoClientCert {
		c.ClientCAs = ln.clientCAs
	}
	if ln.eachCA != nil {
		c.ClientCAs = ln.eachCA[key.certificate]
		c.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return &ln.certificates[key.certificate], nil }
	}
	if ln.checks != nil {
		c.VerifyConnection = ln.checks.verify // of resumed sessions too, which VerifyPeerCertificate is not
	}
	if ln.terms.low != 0 {
		c.MinVersion = ln.terms.low
	}
	c.MaxVersion, c.CipherSuites = ln.terms.high, ln.terms.suites
	if ln.configs == nil {
		ln.configs = map[ownConfig]*tls.Config{}
	}
	ln.configs[key] = c
	return c
}

// clientChecks are model.ClientChecks.
type clientChecks struct {
	names        []string
	pinned       bool
	keys, hashes map[[sha256.Size]byte]bool
	revoked      *model.Revocations // nil: there are no lists
}

func compileChecks(m *model.ClientChecks) (*clientChecks, error) {
	if m == nil {
		return nil, nil
	}
	c := &clientChecks{names: m.Names, pinned: len(m.Keys)+len(m.Hashes) > 0}
	var err error
	if c.keys, err = sums(m.Keys, base64.StdEncoding.DecodeString); err != nil {
		return nil, err
	}
	if c.hashes, err = sums(m.Hashes, hex.DecodeString); err != nil {
		return nil, err
	}
	if m.RevokedFile != "" {
		return nil, fmt.Errorf("the file %s of revoked certificates has not been read", m.RevokedFile)
	}
	if m.Revoked != "" {
		if c.revoked, err = model.ParseRevocations(m.Revoked); err != nil {
			return nil, fmt.Errorf("revoked certificates: %w", err)
		}
	}
	return c, nil
}

// sums reads SHA-256 sums.
func sums(in []string, decode func(string) ([]byte, error)) (map[[sha256.Size]byte]bool, error) {
	out := make(map[[sha256.Size]byte]bool, len(in))
	for _, s := range in {
		b, err := decode(s)
		if err != nil || len(b) != sha256.Size {
			return nil, fmt.Errorf("%q is no SHA-256 of a certificate or key", s)
		}
		out[[sha256.Size]byte(b)] = true
	}
	return out, nil
}

// verify checks the certificate of a client, if it has shown one: whether it needs one is not asked here.
func (c *clientChecks) verify(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return nil
	}
	leaf := state.PeerCertificates[0]
	switch {
	case len(c.names) > 0 && !hasName(leaf, c.names):
		return fmt.Errorf("the certificate of the client has none of the names %q", c.names)
	case c.pinned && !c.keys[sha256.Sum256(leaf.RawSubjectPublicKeyInfo)] && !c.hashes[sha256.Sum256(leaf.Raw)]:
		return errors.New("neither the certificate of the client nor its key is one of those that are let in")
	case c.revoked != nil:
		return c.revoked.Check(state.VerifiedChains, time.Now())
	}
	return nil
}

// hasName reports whether a certificate has one of the names: DNS names, URIs, mail or IP addresses.
func hasName(leaf *x509.Certificate, names []string) bool {
	for _, u := range leaf.URIs {
		if slices.Contains(names, u.String()) {
			return true
		}
	}
	return slices.ContainsFunc(names, func(name string) bool {
		return strings.Contains(name, "@") && slices.Contains(leaf.EmailAddresses, name) || leaf.VerifyHostname(name) == nil
	})
}
