package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// backend runs an HTTP server that speaks HTTP/1.1 and HTTP/2 with prior knowledge, and returns its port.
func backend(t testing.TB, h http.Handler) int {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.Config.Protocols = new(http.Protocols)
	s.Config.Protocols.SetHTTP1(true)
	s.Config.Protocols.SetUnencryptedHTTP2(true)
	s.Start()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// certificate writes a self-signed certificate for this host.
func certificate(t testing.TB) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(30 * 24 * time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, k.Public(), k)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for file, block := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

var h2specSummary = regexp.MustCompile(`(\d+) tests, (\d+) passed, (\d+) skipped, (\d+) failed`)

// h2spec runs every section, the strict ones too, and wants all to pass.
func h2spec(t *testing.T, port int, args ...string) {
	t.Helper()
	args = append([]string{"--strict", "-h", "127.0.0.1", "-p", fmt.Sprint(port), "-o", "5"}, args...)
	out, err := exec.CommandContext(t.Context(), filepath.Join(suites, "h2spec"), args...).CombinedOutput()
	m := h2specSummary.FindSubmatch(out)
	if m == nil {
		t.Fatalf("h2spec: %v\n%s", err, out)
	}
	t.Logf("h2spec: %s", m[0])
	if string(m[4]) != "0" || string(m[3]) != "0" || string(m[1]) == "0" {
		t.Errorf("not all pass:\n%s", out)
	}
}

func TestH2spec(t *testing.T) {
	server := backend(t, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "hello") }))
	t.Run("h2c", func(t *testing.T) {
		h2spec(t, hop(t, &gateway{backend: server, protocol: "http"}))
	})
	t.Run("tls", func(t *testing.T) {
		cert, key := certificate(t)
		h2spec(t, hop(t, &gateway{backend: server, protocol: "http", certificate: cert, key: key}), "-t", "-k")
	})
	t.Run("h2c to h2c", func(t *testing.T) {
		h2spec(t, hop(t, &gateway{backend: server, protocol: "kubernetes.io/h2c"}))
	})
}
