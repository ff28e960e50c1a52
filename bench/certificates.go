package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"time"
)

// certificates are files of a CA and of two certificates it signed: P-256, for an hour's work.
type certificates struct {
	ca                                string
	serverCert, serverKey, serverBoth string
	clientCert, clientKey, clientBoth string
}

// certificates makes them once for each lab.
func (l *lab) certificates() (*certificates, error) {
	if l.certs != nil {
		return l.certs, nil
	}
	ca, err := newCertificate("bench CA", nil)
	if err != nil {
		return nil, err
	}
	c := &certificates{}
	for _, leaf := range []struct {
		name            string
		cert, key, both *string
	}{
		{"backend", &c.serverCert, &c.serverKey, &c.serverBoth},
		{"client", &c.clientCert, &c.clientKey, &c.clientBoth},
	} {
		made, err := newCertificate(leaf.name, ca)
		if err != nil {
			return nil, err
		}
		for _, f := range []struct {
			at         *string
			name, text string
		}{
			{leaf.cert, leaf.name + ".crt", made.certPEM},
			{leaf.key, leaf.name + ".key", made.keyPEM},
			{leaf.both, leaf.name + ".pem", made.certPEM + made.keyPEM},
		} {
			if *f.at, err = l.file(f.name, f.text); err != nil {
				return nil, err
			}
		}
	}
	if c.ca, err = l.file("ca.crt", ca.certPEM); err != nil {
		return nil, err
	}
	l.certs = c
	return c, nil
}

type certificate struct {
	cert            *x509.Certificate
	key             *ecdsa.PrivateKey
	certPEM, keyPEM string
}

// newCertificate makes a certificate signed by ca, or a CA when that is nil.
func newCertificate(name string, ca *certificate) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, err
	}
	t := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: name}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		DNSNames: []string{name, "localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	parent, signer := t, key
	if ca == nil {
		t.IsCA, t.BasicConstraintsValid, t.KeyUsage = true, true, x509.KeyUsageCertSign
		t.DNSNames, t.IPAddresses, t.ExtKeyUsage = nil, nil, nil
	} else {
		parent, signer = ca.cert, ca.key
	}
	der, err := x509.CreateCertificate(rand.Reader, t, parent, key.Public(), signer)
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	return &certificate{
		cert: cert, key: key,
		certPEM: string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		keyPEM:  string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: keyDER})),
	}, nil
}
