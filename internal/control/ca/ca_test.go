package ca

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spiffe/go-spiffe/v2/bundle/x509bundle"
	"github.com/spiffe/go-spiffe/v2/spiffeid"
	"github.com/spiffe/go-spiffe/v2/svid/x509svid"
	"go.uber.org/goleak"

	"github.com/weft-mesh/weft/internal/control/store"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
)

const domain = "mesh.test"

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func testContext(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func openStore(t *testing.T) *store.Store {
	t.Helper()
	s, err := store.Open(testContext(t), store.Options{DataDir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func mustOpen(t *testing.T, o Options) *CA {
	t.Helper()
	if o.TrustDomain == "" {
		o.TrustDomain = domain
	}
	c, err := Open(testContext(t), o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func csr(t *testing.T, tmpl *x509.CertificateRequest) ([]byte, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificateRequest(rand.Reader, tmpl, key)
	if err != nil {
		t.Fatal(err)
	}
	return der, key
}

func id(ns, sa string) model.Identity {
	return model.Identity{TrustDomain: domain, Namespace: ns, Account: sa}
}

// oracle verifies a chain with go-spiffe.
func oracle(t *testing.T, bundle, chain [][]byte) string {
	t.Helper()
	td := spiffeid.RequireTrustDomainFromString(domain)
	b := x509bundle.New(td)
	for _, der := range bundle {
		c, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		b.AddX509Authority(c)
	}
	got, _, err := x509svid.ParseAndVerify(chain, b)
	if err != nil {
		t.Fatalf("go-spiffe refuses: %v", err)
	}
	return got.String()
}

func TestSign(t *testing.T) {
	c := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir()})
	ctx := testContext(t)
	// Names of the request are ignored, all of them.
	req, key := csr(t, &x509.CertificateRequest{Subject: pkix.Name{CommonName: "root"}, DNSNames: []string{"evil.example"}, URIs: nil})
	chain, notAfter, err := c.Sign(ctx, req, id("shop", "web"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if got := oracle(t, c.Bundle(), chain); got != "spiffe://mesh.test/ns/shop/sa/web" {
		t.Errorf("go-spiffe reads %s", got)
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	for _, d := range chain {
		raw = append(raw, d...)
	}
	if _, err := x509svid.ParseRaw(raw, der); err != nil {
		t.Errorf("go-spiffe does not parse it: %v", err)
	}
	leaf, err := x509.ParseCertificate(chain[0])
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	if d := notAfter.Sub(now); d < DefaultTTL-time.Minute || d > DefaultTTL {
		t.Errorf("lifetime %s", d)
	}
	if !leaf.NotBefore.Before(now.Add(-50*time.Second)) || leaf.IsCA || len(leaf.DNSNames) != 0 || leaf.Subject.CommonName != "" || len(leaf.URIs) != 1 {
		t.Errorf("leaf: not before %s, CA %t, DNS %q, subject %s", leaf.NotBefore, leaf.IsCA, leaf.DNSNames, leaf.Subject)
	}
	if leaf.KeyUsage != x509.KeyUsageDigitalSignature || len(leaf.ExtKeyUsage) != 2 || leaf.SerialNumber.BitLen() < 64 {
		t.Errorf("usage %b %v, serial %s", leaf.KeyUsage, leaf.ExtKeyUsage, leaf.SerialNumber)
	}
	for _, e := range leaf.Extensions {
		if e.Id.String() == "2.5.29.15" && !e.Critical {
			t.Error("key usage is not critical")
		}
	}
	if _, notAfter, err := c.Sign(ctx, req, id("shop", "web"), time.Hour); err != nil || time.Until(notAfter) > time.Hour {
		t.Errorf("ttl of an hour: until %s, %v", notAfter, err)
	}
}

func TestSignRefuses(t *testing.T) {
	c := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir()})
	ctx := testContext(t)
	good, _ := csr(t, &x509.CertificateRequest{})
	forged := bytes.Clone(good)
	forged[len(forged)-3] ^= 1
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	big, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, p384)
	if err != nil {
		t.Fatal(err)
	}
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	withRSA, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, rsaKey)
	if err != nil {
		t.Fatal(err)
	}
	foreign := id("a", "b")
	foreign.TrustDomain = "other.test"
	for name, tc := range map[string]struct {
		csr []byte
		id  model.Identity
		ttl time.Duration
	}{
		"forged signature": {forged, id("a", "b"), 0},
		"P-384":            {big, id("a", "b"), 0},
		"RSA":              {withRSA, id("a", "b"), 0},
		"nothing":          {nil, id("a", "b"), 0},
		"too long":         {make([]byte, maxCSRBytes+1), id("a", "b"), 0},
		"foreign":          {good, foreign, 0},
		"ttl too long":     {good, id("a", "b"), MaxTTL + 1},
		"ttl negative":     {good, id("a", "b"), -time.Hour},
	} {
		if _, _, err := c.Sign(ctx, tc.csr, tc.id, tc.ttl); !errors.Is(err, ErrRequest) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, _, err := c.Sign(ctx, good, id("a/b", ""), 0); err == nil {
		t.Error("an identity that is no SPIFFE ID was signed")
	}
}

func TestReopenAndTwoAtOnce(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	const n = 8
	cas := make([]*CA, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			c, err := Open(testContext(t), Options{Store: s, DataDir: dir, TrustDomain: domain})
			if err != nil {
				t.Error(err)
				return
			}
			cas[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	req, _ := csr(t, &x509.CertificateRequest{})
	for i, c := range cas {
		if !bytes.Equal(c.Bundle()[0], cas[0].Bundle()[0]) {
			t.Fatalf("CA %d has another root", i)
		}
		chain, _, err := c.Sign(testContext(t), req, id("a", "b"), 0)
		if err != nil {
			t.Fatal(err)
		}
		oracle(t, cas[0].Bundle(), chain)
	}
	st, err := os.Stat(filepath.Join(dir, "ca.key"))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("ca.key: %v, %v", st.Mode(), err)
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		t.Errorf("left in the data directory: %v, %v", left, err)
	}
}

func wantError(t *testing.T, err, kind error, code int, texts ...string) {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok || !errors.Is(err, kind) || e.ExitCode() != code {
		t.Errorf("error %v (%T), want %v with code %d", err, err, kind, code)
		return
	}
	for _, s := range texts {
		if !strings.Contains(err.Error(), s) {
			t.Errorf("error %q lacks %q", err, s)
		}
	}
}

func TestKeyFile(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	mustOpen(t, Options{Store: s, DataDir: dir})
	open := func(o Options) error {
		o.Store = s
		if o.TrustDomain == "" {
			o.TrustDomain = domain
		}
		_, err := Open(testContext(t), o)
		return err
	}
	other := filepath.Join(t.TempDir(), "other.key")
	wantError(t, open(Options{KeyFile: other}), ErrKeyFile, exitData, other, "copy ca.key")
	if _, err := os.Stat(other); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("a useless key file was made: %v", err)
	}
	if _, err := createKeyFile(other); err != nil {
		t.Fatal(err)
	}
	wantError(t, open(Options{KeyFile: other}), ErrWrongKey, exitData, other, "--ca-key")

	key := filepath.Join(dir, "ca.key")
	content, err := os.ReadFile(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(key, 0o640); err != nil {
		t.Fatal(err)
	}
	wantError(t, open(Options{DataDir: dir}), ErrKeyFile, exitNoPerm, key, "mode 0640", "chmod 600")
	if err := os.Chmod(key, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(key, content[:20], 0o600); err != nil {
		t.Fatal(err)
	}
	err = open(Options{DataDir: dir})
	wantError(t, err, ErrKeyFile, exitData, key)
	if strings.Contains(err.Error(), string(content[:10])) {
		t.Errorf("the error shows the key: %v", err)
	}
	wantError(t, open(Options{KeyFile: dir}), ErrKeyFile, exitIO, dir)
	if err := os.WriteFile(key, content, 0o600); err != nil {
		t.Fatal(err)
	}
	wantError(t, open(Options{DataDir: dir, TrustDomain: "other.test"}), ErrTrustDomain, exitConfig, "other.test", domain)
	wantError(t, open(Options{DataDir: dir, TrustDomain: "Bad Domain"}), ErrTrustDomain, exitConfig)
	if err := open(Options{DataDir: dir}); err != nil {
		t.Error(err)
	}
}

// TestTampered changes what the store holds: every change is noticed, and none is a panic.
func TestTampered(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	c := mustOpen(t, Options{Store: s, DataDir: dir})
	ctx := testContext(t)
	resp, err := s.Client().Get(ctx, c.place())
	if err != nil {
		t.Fatal(err)
	}
	orig := resp.Kvs[0].Value
	if bytes.Contains(orig, []byte("PRIVATE")) {
		t.Error("a private key in the store")
	}
	twin := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir()})
	for name, change := range map[string]func(*record){
		"root certificate":         func(r *record) { r.Roots[0].Cert[100] ^= 1 },
		"root key":                 func(r *record) { r.Roots[0].Key[20] ^= 1 },
		"root of another mesh":     func(r *record) { r.Roots[0].Cert = twin.mat.Load().rec.Roots[0].Cert },
		"intermediate certificate": func(r *record) { r.Intermediate.Cert[100] ^= 1 },
		"intermediate key":         func(r *record) { r.Intermediate.Key[5] ^= 1 },
		"short key":                func(r *record) { r.Intermediate.Key = r.Intermediate.Key[:3] },
		"intermediate as root":     func(r *record) { r.Roots[0] = r.Intermediate },
		"no roots":                 func(r *record) { r.Roots = nil },
		"another root added":       func(r *record) { r.Roots = append(r.Roots, twin.mat.Load().rec.Roots[0]) },
		"future version":           func(r *record) { r.Version = 2 },
	} {
		var r record
		if err := json.Unmarshal(orig, &r); err != nil {
			t.Fatal(err)
		}
		change(&r)
		b, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := s.Client().Put(ctx, c.place(), string(b)); err != nil {
			t.Fatal(err)
		}
		_, err = Open(ctx, Options{Store: s, DataDir: dir, TrustDomain: domain})
		if !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: %v", name, err)
		}
		// One that runs goes on with what it has.
		if err := c.refresh(ctx); !errors.Is(err, ErrDamaged) {
			t.Errorf("%s: refresh: %v", name, err)
		}
		req, _ := csr(t, &x509.CertificateRequest{})
		if _, _, err := c.Sign(ctx, req, id("a", "b"), 0); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := s.Client().Put(ctx, c.place(), "{"); err != nil {
		t.Fatal(err)
	}
	_, err = Open(ctx, Options{Store: s, DataDir: dir, TrustDomain: domain})
	wantError(t, err, ErrDamaged, exitData, "backup")
}

func FuzzDecodeRecord(f *testing.F) {
	seal, err := newSealer(make([]byte, keyBytes))
	if err != nil {
		f.Fatal(err)
	}
	f.Add([]byte(`{"version":1,"trustDomain":"x","roots":[{"cert":"AA==","key":"AA=="}],"intermediate":{}}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, err := decodeRecord("x", b)
		if err != nil {
			return
		}
		if _, err := seal.decode("x", r, 1); err == nil {
			t.Error("a CA out of nothing")
		}
	})
}

// clock is a settable time.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

func TestIntermediateRenewal(t *testing.T) {
	s, dir := openStore(t), t.TempDir()
	clk := &clock{now: time.Now()}
	a := mustOpen(t, Options{Store: s, DataDir: dir, Now: clk.Now})
	b := mustOpen(t, Options{Store: s, DataDir: dir, Now: clk.Now})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()

	first := a.mat.Load().inter.Cert
	clk.add(IntermediateLife / 2)
	if err := a.renewIfDue(ctx); err != nil || a.mat.Load().inter.Cert != first {
		t.Fatalf("renewed at half life, %v", err)
	}
	clk.add(IntermediateLife/4 + time.Hour)
	req, _ := csr(t, &x509.CertificateRequest{})
	oldChain, _, err := a.Sign(ctx, req, id("a", "b"), 0)
	if err != nil {
		t.Fatal(err)
	}
	if err := a.renewIfDue(ctx); err != nil {
		t.Fatal(err)
	}
	second := a.mat.Load().inter.Cert
	if !second.NotAfter.After(first.NotAfter) {
		t.Fatal("not renewed")
	}
	// The other control plane takes it over by its watch.
	deadline := time.Now().Add(60 * time.Second)
	for !bytes.Equal(b.mat.Load().inter.Cert.Raw, second.Raw) {
		if time.Now().After(deadline) {
			t.Fatal("the other control plane keeps the old intermediate")
		}
		time.Sleep(time.Millisecond)
	}
	cancel()
	if err := <-done; err != nil {
		t.Errorf("Run: %v", err)
	}
	newChain, _, err := b.Sign(t.Context(), req, id("a", "b"), 0)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	root, err := x509.ParseCertificate(a.Bundle()[0])
	if err != nil {
		t.Fatal(err)
	}
	pool.AddCert(root)
	for _, chain := range [][][]byte{oldChain, newChain} {
		var certs []*x509.Certificate
		for _, der := range chain {
			cert, err := x509.ParseCertificate(der)
			if err != nil {
				t.Fatal(err)
			}
			certs = append(certs, cert)
		}
		v := identity.Verification{TrustDomain: domain, Roots: pool, Now: clk.Now(), Usage: x509.ExtKeyUsageClientAuth}
		if _, err := v.Verify(certs); err != nil {
			t.Error(err)
		}
	}
	// Two that find it due at once agree on one.
	clk.add(IntermediateLife)
	c := mustOpen(t, Options{Store: s, DataDir: dir, Now: clk.Now})
	if err := errors.Join(a.refresh(t.Context()), b.refresh(t.Context())); err != nil {
		t.Fatal(err)
	}
	for _, x := range []*CA{a, b} {
		if !bytes.Equal(x.mat.Load().inter.Cert.Raw, c.mat.Load().inter.Cert.Raw) {
			t.Error("control planes disagree on the intermediate")
		}
	}
}

func TestServerCertificate(t *testing.T) {
	clk := &clock{now: time.Now()}
	c := mustOpen(t, Options{Store: openStore(t), DataDir: t.TempDir(), Now: clk.Now})
	get := c.ServerCertificate(c.ControlIdentity())
	must := func() *tls.Certificate {
		t.Helper()
		cert, err := get(nil)
		if err != nil {
			t.Fatal(err)
		}
		return cert
	}
	first := must()
	if !bytes.Equal(first.Certificate[len(first.Certificate)-1], c.Bundle()[0]) {
		t.Error("the chain does not end with the root")
	}
	if got := oracle(t, c.Bundle(), first.Certificate); got != "spiffe://mesh.test/ns/weft-system/sa/weft-control" {
		t.Errorf("go-spiffe reads %s", got)
	}
	clk.add(11 * time.Hour)
	if must() != first {
		t.Error("renewed before half life")
	}
	clk.add(2 * time.Hour)
	if must() == first {
		t.Error("not renewed after half life")
	}
	if other, err := c.ServerCertificate(id("a", "b"))(nil); err != nil || other == must() {
		t.Errorf("another identity: %v", err)
	}
}

func TestErrorText(t *testing.T) {
	e := &Error{Kind: ErrStore, Place: "p", Reason: "r", Remedy: "m", Err: os.ErrClosed}
	if e.Error() != "CA p: r; m" || !errors.Is(e, ErrStore) || !errors.Is(e, os.ErrClosed) {
		t.Error(fmt.Sprint(e))
	}
}
