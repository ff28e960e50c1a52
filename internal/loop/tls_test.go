//go:build linux

package loop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"io"
	"math/big"
	"testing"
	"time"
)

func certificate(t *testing.T) (tls.Certificate, *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "loop"}, DNSNames: []string{"loop"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(parsed)
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pool
}

// crypto/tls runs on the loop's connections as it is: both ends are tasks of one loop.
func TestTLS(t *testing.T) {
	l := start(t)
	cert, pool := certificate(t)
	addr := serve(t, l, func(c *Conn) { // echoes through TLS
		s := tls.Server(c, &tls.Config{Certificates: []tls.Certificate{cert}, MinVersion: tls.VersionTLS13})
		defer s.Close()
		buf := make([]byte, 32<<10)
		for {
			n, err := s.Read(buf)
			if err == io.EOF {
				return
			}
			if err == nil {
				_, err = s.Write(buf[:n])
			}
			if err != nil {
				t.Errorf("server: %v", err)
				return
			}
		}
	})
	body := bytes.Repeat([]byte("weft"), 1<<18) // 1 MB
	task(t, l, func() {
		raw, err := l.Dial(addr, patience)
		if err != nil {
			t.Error(err)
			return
		}
		c := tls.Client(raw, &tls.Config{RootCAs: pool, ServerName: "loop", MinVersion: tls.VersionTLS13})
		defer c.Close()
		if err := c.Handshake(); err != nil {
			t.Error(err)
			return
		}
		me, done := l.Current(), false
		l.Go(func() { // one task in each direction
			defer func() { done = true; l.Wake(me) }()
			if _, err := c.Write(body); err != nil {
				t.Error(err)
			}
			_ = c.CloseWrite()
		})
		got, err := io.ReadAll(c)
		if err != nil || !bytes.Equal(got, body) {
			t.Errorf("%d bytes, %v", len(got), err)
		}
		for !done {
			l.Park()
		}
	})
}
