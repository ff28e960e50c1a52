package model

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/pem"
	"math/big"
	"strings"
	"testing"
	"time"
)

// testAuthority signs with a certificate of its own.
type testAuthority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func signed(t testing.TB, by *testAuthority, serial int64, name string, ca bool) *testAuthority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	out := &testAuthority{&x509.Certificate{
		SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name}, IsCA: ca, BasicConstraintsValid: true, SubjectKeyId: []byte(name),
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign, NotBefore: time.Unix(0, 0), NotAfter: time.Unix(1e10, 0),
	}, key}
	if by == nil {
		by = out
	}
	der, err := x509.CreateCertificate(rand.Reader, out.cert, by.cert, key.Public(), by.key)
	if err != nil {
		t.Fatal(err)
	}
	if out.cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatal(err)
	}
	return out
}

func (a *testAuthority) list(t testing.TB, extra []pkix.Extension, serials ...int64) string {
	t.Helper()
	l := &x509.RevocationList{Number: big.NewInt(1), ThisUpdate: time.Unix(1000, 0), NextUpdate: time.Unix(2000, 0), ExtraExtensions: extra}
	for _, s := range serials {
		l.RevokedCertificateEntries = append(l.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: l.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, l, a.cert, a.key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

func TestRevocations(t *testing.T) {
	root := signed(t, nil, 1, "root", true)
	middle := signed(t, root, 2, "middle", true)
	leaf := signed(t, middle, 3, "leaf", false)
	impostor := signed(t, nil, 1, "middle", true) // of the same name
	chain := []*x509.Certificate{leaf.cert, middle.cert, root.cert}
	for _, c := range []struct {
		what, lists string
		chains      [][]*x509.Certificate
		at          int64
		want        string // "" is let in
	}{
		{"all issuers", middle.list(t, nil, 9) + root.list(t, nil), [][]*x509.Certificate{chain}, 1500, ""},
		{"the leaf", middle.list(t, nil, 3) + root.list(t, nil), [][]*x509.Certificate{chain}, 1500, `"CN=leaf" with the serial number 3 is revoked`},
		{"the intermediate", middle.list(t, nil) + root.list(t, nil, 2), [][]*x509.Certificate{chain}, 1500, `"CN=middle" with the serial number 2 is revoked`},
		{"one issuer alone", middle.list(t, nil), [][]*x509.Certificate{chain}, 1500, `no list of certificates that "CN=root" has revoked`},
		{"an impostor's", impostor.list(t, nil) + root.list(t, nil), [][]*x509.Certificate{chain}, 1500, "is not signed by it"},
		{"another way", middle.list(t, nil), [][]*x509.Certificate{chain, {leaf.cert, middle.cert}}, 1500, ""},
		{"too late", middle.list(t, nil) + root.list(t, nil), [][]*x509.Certificate{chain}, 2001, "holds from"},
		{"too early", middle.list(t, nil) + root.list(t, nil), [][]*x509.Certificate{chain}, 999, "holds from"},
		{"nobody verified", root.list(t, nil), nil, 1500, "was not verified"},
		{"a root by itself", root.list(t, nil), [][]*x509.Certificate{{root.cert}}, 1500, ""},
		{"a root by itself, revoked", root.list(t, nil, 1), [][]*x509.Certificate{{root.cert}}, 1500, "is revoked"},
	} {
		r, err := ParseRevocations(c.lists)
		if err != nil {
			t.Fatal(c.what, err)
		}
		err = r.Check(c.chains, time.Unix(c.at, 0))
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", c.what, err, c.want)
		}
		if r.Expires().Unix() != 2000 {
			t.Errorf("%s: it ends %s", c.what, r.Expires())
		}
	}
	delta, err := asn1.Marshal(1)
	if err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string][2]string{
		"nothing":       {"", "no list of revoked certificates"},
		"a certificate": {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.cert.Raw})), "PEM block 1 is no list"},
		"no list":       {string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: root.cert.Raw})), "list 1"},
		"a delta list":  {root.list(t, []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 27}, Critical: true, Value: delta}}), "critical extension 2.5.29.27"},
		"many":          {strings.Repeat(root.list(t, nil), maxRevocationLists+1), "more than 64"},
	} {
		if _, err := ParseRevocations(c[0]); err == nil || !strings.Contains(err.Error(), c[1]) {
			t.Errorf("%s: %v, want %q", what, err, c[1])
		}
	}
}

func FuzzRevocations(f *testing.F) {
	root := signed(f, nil, 1, "root", true)
	f.Add([]byte(root.list(f, nil, 1, 2)))
	f.Fuzz(func(t *testing.T, text []byte) {
		r, err := ParseRevocations(string(text))
		if (err == nil) != (r != nil) {
			t.Fatal(r, err)
		}
		if err == nil {
			_ = r.Check([][]*x509.Certificate{{root.cert}}, time.Unix(1500, 0))
		}
	})
}
