package ca

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/ecdsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/weft-mesh/weft/internal/identity/issue"
)

// formatVersion is of record, the JSON in the store.
const formatVersion = 1

// record is the CA as the store keeps it, one value under one key, so that it changes whole.
type record struct {
	Version      int      `json:"version"`
	TrustDomain  string   `json:"trustDomain"`
	KeyID        []byte   `json:"keyID"` // tells a wrong key file from damage
	Roots        []sealed `json:"roots"` // the first signs; more while roots rotate
	Intermediate sealed   `json:"intermediate"`
}

// sealed is a certificate with its private key encrypted.
type sealed struct {
	Cert []byte `json:"cert"` // DER
	Key  []byte `json:"key"`  // AES-256-GCM with a random nonce in front, of the key in SEC 1 DER
}

// sealer encrypts private keys.
type sealer struct {
	aead      cipher.AEAD
	documents cipher.AEAD // see SealDocument
	id        []byte
}

func newSealer(key []byte) (*sealer, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	aead, err := cipher.NewGCMWithRandomNonce(block)
	if err != nil {
		return nil, fmt.Errorf("CA key: %w", err)
	}
	documents, err := newDocumentAEAD(key)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(append([]byte("weft ca key id\x00"), key...))
	return &sealer{aead: aead, documents: documents, id: sum[:8]}, nil
}

// context binds a sealed key to its place and its certificate.
func (s *sealer) context(role, trustDomain string, cert []byte) []byte {
	sum := sha256.Sum256(cert)
	return append([]byte("weft ca v1\x00"+role+"\x00"+trustDomain+"\x00"), sum[:]...)
}

func (s *sealer) seal(role, trustDomain string, a issue.Authority) (sealed, error) {
	der, err := x509.MarshalECPrivateKey(a.Key)
	if err != nil {
		return sealed{}, fmt.Errorf("encode the %s key: %w", role, err)
	}
	return sealed{Cert: a.Cert.Raw, Key: s.aead.Seal(nil, nil, der, s.context(role, trustDomain, a.Cert.Raw))}, nil
}

func (s *sealer) open(role, trustDomain string, v sealed) (issue.Authority, error) {
	der, err := s.aead.Open(nil, nil, v.Key, s.context(role, trustDomain, v.Cert))
	if err != nil {
		return issue.Authority{}, fmt.Errorf("%s key does not open: certificate or key was changed", role)
	}
	key, err := x509.ParseECPrivateKey(der)
	if err != nil {
		return issue.Authority{}, fmt.Errorf("%s key does not parse", role)
	}
	cert, err := x509.ParseCertificate(v.Cert)
	if err != nil {
		return issue.Authority{}, fmt.Errorf("%s certificate: %w", role, err)
	}
	if pub, ok := cert.PublicKey.(*ecdsa.PublicKey); !ok || !key.PublicKey.Equal(pub) {
		return issue.Authority{}, fmt.Errorf("%s certificate is for another key", role)
	}
	return issue.Authority{Cert: cert, Key: key}, nil
}

// material is the CA as it signs. It is immutable.
type material struct {
	rec      record
	revision int64 // of the store's key, for compare and swap
	root     issue.Authority
	inter    issue.Authority
	bundle   [][]byte
	pool     *x509.CertPool
}

const (
	roleRoot         = "root"
	roleIntermediate = "intermediate"
)

// encode seals root and intermediate into the value to store.
func (s *sealer) encode(trustDomain string, root, inter issue.Authority) ([]byte, error) {
	r, err := s.seal(roleRoot, trustDomain, root)
	if err != nil {
		return nil, err
	}
	i, err := s.seal(roleIntermediate, trustDomain, inter)
	if err != nil {
		return nil, err
	}
	return json.Marshal(record{Version: formatVersion, TrustDomain: trustDomain, KeyID: s.id, Roots: []sealed{r}, Intermediate: i})
}

// decodeRecord reads a stored value, without opening keys.
func decodeRecord(place string, b []byte) (record, error) {
	var r record
	if err := json.Unmarshal(b, &r); err != nil {
		return r, damaged(place, err)
	}
	if r.Version != formatVersion {
		return r, damaged(place, fmt.Errorf("format version %d, this Weft knows %d", r.Version, formatVersion))
	}
	if len(r.Roots) == 0 {
		return r, damaged(place, errors.New("it has no root"))
	}
	return r, nil
}

func damaged(place string, err error) error {
	return &Error{
		Kind: ErrDamaged, Place: place, Reason: "the stored CA is damaged: " + err.Error(), Code: exitData, Err: err,
		Remedy: "restore the store from a backup",
	}
}

// decode opens a record and checks that its parts belong together.
func (s *sealer) decode(place string, r record, revision int64) (*material, error) {
	m := &material{rec: r, revision: revision, pool: x509.NewCertPool()}
	for i, v := range r.Roots {
		a, err := s.open(roleRoot, r.TrustDomain, v)
		if err != nil {
			return nil, damaged(place, err)
		}
		if i == 0 {
			m.root = a
		}
		m.bundle = append(m.bundle, a.Cert.Raw)
		m.pool.AddCert(a.Cert)
	}
	var err error
	if m.inter, err = s.open(roleIntermediate, r.TrustDomain, r.Intermediate); err != nil {
		return nil, damaged(place, err)
	}
	if err := m.inter.Cert.CheckSignatureFrom(m.root.Cert); err != nil {
		return nil, damaged(place, fmt.Errorf("the root did not sign the intermediate: %w", err))
	}
	return m, nil
}
