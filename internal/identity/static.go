package identity

import (
	"crypto/ecdsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"time"
)

// NewStatic returns a Source with an SVID that never changes, for a proxy without a control plane and for
// tests. All are PEM: the chain leaf first, its ECDSA key (PKCS #8 or SEC 1), the roots. It is ready at once, and Run only waits.
func NewStatic(cert, key, bundle []byte) (*Source, error) {
	chain, err := blocks(cert, "CERTIFICATE")
	if err != nil {
		return nil, fmt.Errorf("certificate: %w", err)
	}
	roots, err := blocks(bundle, "CERTIFICATE")
	if err != nil {
		return nil, fmt.Errorf("bundle: %w", err)
	}
	priv, err := parseKey(key)
	if err != nil {
		return nil, fmt.Errorf("private key: %w", err)
	}
	svid, err := newSVID(chain, roots, priv, time.Now())
	if err != nil {
		return nil, fmt.Errorf("static identity: %w", err)
	}
	s := newSource(Options{})
	s.static = true
	s.install(svid)
	return s, nil
}

// blocks returns the contents of all PEM blocks, which must be of one type.
func blocks(b []byte, typ string) ([][]byte, error) {
	var out [][]byte
	for {
		var p *pem.Block
		if p, b = pem.Decode(b); p == nil {
			break
		}
		if p.Type != typ {
			return nil, fmt.Errorf("PEM block %q where %q belongs", p.Type, typ)
		}
		out = append(out, p.Bytes)
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("no PEM block %q", typ)
	}
	return out, nil
}

func parseKey(b []byte) (*ecdsa.PrivateKey, error) {
	p, _ := pem.Decode(b)
	if p == nil {
		return nil, errors.New("no PEM block")
	}
	if p.Type == "EC PRIVATE KEY" {
		return x509.ParseECPrivateKey(p.Bytes)
	}
	k, err := x509.ParsePKCS8PrivateKey(p.Bytes)
	if err != nil {
		return nil, err
	}
	ec, ok := k.(*ecdsa.PrivateKey)
	if !ok {
		return nil, errors.New("not an ECDSA key")
	}
	return ec, nil
}
