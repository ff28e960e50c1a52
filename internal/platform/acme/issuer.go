package acme

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"

	"github.com/weft-mesh/weft/internal/model"
)

const (
	pollTimeout    = 2 * time.Minute  // for the CA to make up its mind
	presentTimeout = 30 * time.Second // for the answer to a challenge to be in force
	pollEvery      = 250 * time.Millisecond
)

// issuer asks a CA for certificates.
type issuer struct {
	m    *Manager
	http *http.Client

	making sync.Mutex // of the account: several certificates are asked for at once
}

var (
	_ certmagic.Issuer = (*issuer)(nil)
	_ acmez.Solver     = (*solver)(nil)
)

// IssuerKey names the CA in the storage.
func (i *issuer) IssuerKey() string {
	u, err := url.Parse(i.m.o.Directory)
	if err != nil {
		return "acme" // New has parsed it
	}
	return certmagic.StorageKeys.Safe(u.Host + u.Path)
}

// Issue gets a certificate for a CSR.
func (i *issuer) Issue(ctx context.Context, csr *x509.CertificateRequest) (*certmagic.IssuedCertificate, error) {
	client := acmez.Client{
		Client: &acme.Client{Directory: i.m.o.Directory, HTTPClient: i.http, UserAgent: "weft", PollTimeout: pollTimeout, PollInterval: pollEvery},
		ChallengeSolvers: map[string]acmez.Solver{
			acme.ChallengeTypeHTTP01:    &solver{i.m},
			acme.ChallengeTypeTLSALPN01: &solver{i.m},
		},
	}
	account, err := i.account(ctx, &client)
	if err != nil {
		return nil, fmt.Errorf("the ACME account: %w", err)
	}
	params, err := acmez.OrderParametersFromCSR(account, csr)
	if err != nil {
		return nil, err
	}
	chains, err := client.ObtainCertificate(ctx, params)
	if err != nil {
		return nil, err
	}
	if len(chains) == 0 {
		return nil, errors.New("the CA returned no certificate")
	}
	return &certmagic.IssuedCertificate{Certificate: chains[0].ChainPEM, Metadata: chains[0]}, nil
}

// account returns the account, which is made at the first use; to ask for one with a key that has one returns it
// (RFC 8555, section 7.3.1).
func (i *issuer) account(ctx context.Context, client *acmez.Client) (acme.Account, error) {
	i.making.Lock()
	key, err := i.accountKey(ctx)
	i.making.Unlock()
	if err != nil {
		return acme.Account{}, err
	}
	return client.NewAccount(ctx, acme.Account{Contact: []string{"mailto:" + i.m.o.Email}, TermsOfServiceAgreed: true, PrivateKey: key})
}

// accountKey returns the key of the account from the storage, or puts a new one there.
func (i *issuer) accountKey(ctx context.Context) (*ecdsa.PrivateKey, error) {
	name := path.Join("acme", i.IssuerKey(), "account.key")
	text, err := i.m.storage.Load(ctx, name)
	if err == nil {
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, fmt.Errorf("its key in %s is no PEM", i.m.storage.Filename(name))
		}
		return x509.ParseECPrivateKey(block.Bytes)
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return nil, err
	}
	return key, i.m.storage.Store(ctx, name, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}))
}

// solver has challenges answered by the owner of the manager.
type solver struct{ m *Manager }

// Present returns when the answer is in force.
func (s *solver) Present(ctx context.Context, c acme.Challenge) error {
	answer, err := answerOf(c)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, presentTimeout)
	defer cancel()
	return s.m.change(ctx, func(all []model.Challenge) []model.Challenge { return append(all, answer) })
}

// CleanUp takes the answer back. It does not wait: what is answered too long does no harm.
func (s *solver) CleanUp(_ context.Context, c acme.Challenge) error {
	s.m.mu.Lock()
	s.m.challenges = slices.DeleteFunc(s.m.challenges, func(have model.Challenge) bool {
		return have.Host == c.Identifier.Value && (have.Path == "") == (c.Type == acme.ChallengeTypeTLSALPN01)
	})
	s.m.made++
	s.m.mu.Unlock()
	s.m.notify()
	return nil
}

func answerOf(c acme.Challenge) (model.Challenge, error) {
	out := model.Challenge{Host: c.Identifier.Value}
	if c.Type == acme.ChallengeTypeHTTP01 {
		out.Path, out.Answer = c.HTTP01ResourcePath(), c.KeyAuthorization
		return out, nil
	}
	pair, err := acmez.TLSALPN01ChallengeCert(c)
	if err != nil {
		return out, err
	}
	key, err := x509.MarshalPKCS8PrivateKey(pair.PrivateKey)
	if err != nil {
		return out, err
	}
	out.Certificate = &model.Certificate{
		Chain: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: pair.Certificate[0]})),
		Key:   model.Secret(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})),
	}
	return out, nil
}
