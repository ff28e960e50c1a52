package store

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/etcd/client/pkg/v3/transport"
	"go.etcd.io/etcd/server/v3/embed"
	"go.uber.org/zap"
)

// external runs an etcd server on a TCP port of the loopback, as somebody else's cluster.
func external(t *testing.T, tlsInfo transport.TLSInfo) (hostport string) {
	t.Helper()
	// etcd advertises the URL it is told to listen on, so the port is needed beforehand.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hostport = l.Addr().String()
	l.Close()
	u := url.URL{Scheme: "http", Host: hostport}
	if !tlsInfo.Empty() {
		u.Scheme = "https"
	}
	cfg := embed.NewConfig()
	cfg.Dir = t.TempDir()
	cfg.ListenPeerUrls = nil
	cfg.AdvertisePeerUrls = []url.URL{{Scheme: "http", Host: "localhost:0"}}
	cfg.InitialCluster = cfg.InitialClusterFromName(cfg.Name)
	cfg.ListenClientUrls, cfg.AdvertiseClientUrls = []url.URL{u}, []url.URL{u}
	cfg.ClientTLSInfo = tlsInfo
	cfg.EnableGRPCGateway = false
	cfg.ZapLoggerBuilder = embed.NewZapLoggerBuilder(zap.NewNop())
	e, err := embed.StartEtcd(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(e.Close)
	select {
	case <-e.Server.ReadyNotify():
	case <-time.After(30 * time.Second):
		t.Fatal("the external server is not ready")
	}
	return hostport
}

func shareData(t *testing.T, a, b *Store) {
	t.Helper()
	ctx := testContext(t)
	watch := b.Client().Watch(ctx, b.Prefix()+"k")
	if _, err := a.Client().Put(ctx, a.Prefix()+"k", "v"); err != nil {
		t.Fatal(err)
	}
	select {
	case r := <-watch:
		if r.Err() != nil || len(r.Events) != 1 || string(r.Events[0].Kv.Value) != "v" {
			t.Fatalf("watch: %+v", r)
		}
	case <-ctx.Done():
		t.Fatal("no event")
	}
	if err := b.Healthy(ctx); err != nil {
		t.Error(err)
	}
}

func TestTwoClientsPlain(t *testing.T) {
	addr := external(t, transport.TLSInfo{})
	a := mustOpen(t, Options{URL: "etcd://" + addr + "/mesh1"})
	b := mustOpen(t, Options{URL: "etcd://" + addr + "/mesh1/"})
	if a.Prefix() != "/mesh1/" {
		t.Errorf("Prefix() = %q", a.Prefix())
	}
	shareData(t, a, b)
}

func TestAuthentication(t *testing.T) {
	addr := external(t, transport.TLSInfo{})
	ctx := testContext(t)
	root := mustOpen(t, Options{URL: "etcd://" + addr}).Client()
	for _, step := range []func() error{
		func() error { _, err := root.RoleAdd(ctx, "root"); return err },
		func() error { _, err := root.UserAdd(ctx, "root", "geheim"); return err },
		func() error { _, err := root.UserGrantRole(ctx, "root", "root"); return err },
		func() error { _, err := root.AuthEnable(ctx); return err },
	} {
		if err := step(); err != nil {
			t.Fatal(err)
		}
	}
	pass := func(s string) string {
		f := filepath.Join(t.TempDir(), "password")
		if err := os.WriteFile(f, []byte(s+"\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		return f
	}
	mustOpen(t, Options{URL: "etcd://" + addr, Username: "root", PasswordFile: pass("geheim")})
	_, err := Open(ctx, Options{URL: "etcd://" + addr, Username: "root", PasswordFile: pass("falsch")})
	wantError(t, err, ErrCredentials, exitNoPerm, addr, "--store-password-file")
	_, err = Open(ctx, Options{URL: "etcd://" + addr})
	wantError(t, err, ErrCredentials, exitNoPerm, addr)
}

func TestTwoClientsTLS(t *testing.T) {
	pki := newPKI(t, "good")
	addr := external(t, transport.TLSInfo{CertFile: pki.cert, KeyFile: pki.key, TrustedCAFile: pki.ca, ClientCertAuth: true})
	o := Options{URL: "etcd://" + addr, CAFile: pki.ca, CertFile: pki.cert, KeyFile: pki.key}
	shareData(t, mustOpen(t, o), mustOpen(t, o))

	foreign := newPKI(t, "foreign")
	for name, bad := range map[string]Options{
		"our CA does not know the server": {URL: "etcds://" + addr, CAFile: foreign.ca, CertFile: pki.cert, KeyFile: pki.key},
		"the server does not know us":     {URL: "etcds://" + addr, CAFile: pki.ca, CertFile: foreign.cert, KeyFile: foreign.key},
		"no client certificate":           {URL: "etcds://" + addr, CAFile: pki.ca},
	} {
		began := time.Now()
		_, err := Open(testContext(t), bad)
		wantError(t, err, ErrCredentials, exitNoPerm, addr, "TLS refused")
		t.Log(name, time.Since(began), err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if _, err := Open(ctx, Options{URL: "etcd://" + addr}); err == nil {
		t.Error("plain text to a TLS port was accepted")
	} else {
		t.Log(err)
	}
	_, err := Open(testContext(t), Options{URL: "etcds://" + addr, CAFile: pki.key})
	wantError(t, err, ErrCredentials, exitNoPerm, pki.key, "no PEM certificate")
	_, err = Open(testContext(t), Options{URL: "etcds://" + addr, CertFile: pki.cert})
	wantError(t, err, ErrUsage, exitUsage)
}

type pki struct{ ca, cert, key string }

func newPKI(t *testing.T, name string) pki {
	t.Helper()
	dir := t.TempDir()
	write := func(file, typ string, der []byte) string {
		p := filepath.Join(dir, file)
		if err := os.WriteFile(p, pem.EncodeToMemory(&pem.Block{Type: typ, Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return p
	}
	make := func(tmpl, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if parent == nil {
			parent, signer = tmpl, key
		}
		tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
		if err != nil {
			t.Fatal(err)
		}
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		return c, key
	}
	ca, caKey := make(&x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	leaf, key := make(&x509.Certificate{
		SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: "member"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, ca, caKey)
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pki{write("ca.pem", "CERTIFICATE", ca.Raw), write("cert.pem", "CERTIFICATE", leaf.Raw), write("key.pem", "PRIVATE KEY", der)}
}
