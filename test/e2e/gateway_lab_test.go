package e2e

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// backend is a Service of a namespace with one endpoint on the loopback; appProtocol may be empty.
func backend(namespace, name, appProtocol string, port int) string {
	if appProtocol != "" {
		appProtocol = ", appProtocol: " + appProtocol
	}
	return fmt.Sprintf(`---
apiVersion: v1
kind: Service
metadata: {name: %[2]s, namespace: %[1]s}
spec: {ports: [{name: main, port: 80%[3]s}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: %[2]s-1, namespace: %[1]s, labels: {kubernetes.io/service-name: %[2]s}}
addressType: IPv4
ports: [{name: main, port: %[4]d%[3]s}]
endpoints: [{addresses: [127.0.0.1]}]
`, namespace, name, appProtocol, port)
}

// serveHTTP runs an HTTP server until the test ends: of HTTP/1.1, or of HTTP/2 without TLS only.
func serveHTTP(t testing.TB, h2c bool, h http.HandlerFunc) int {
	t.Helper()
	var p http.Protocols
	p.SetHTTP1(!h2c)
	p.SetUnencryptedHTTP2(h2c)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: h, Protocols: &p, ReadHeaderTimeout: 10 * time.Second}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

// says answers a name and the version of HTTP that the request came in.
func says(name string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) { fmt.Fprintf(w, "%s %s", name, r.Proto) }
}

// authority issues certificates of a test.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pool *x509.CertPool
	pem  []byte
	next int64
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{t: t, pool: x509.NewCertPool(), next: 1}
	tmpl := &x509.Certificate{
		Subject: pkix.Name{CommonName: "test root"}, IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	a.cert, a.key, a.pem = a.sign(tmpl, nil)
	a.pool.AddCert(a.cert)
	return a
}

// sign makes a key and a certificate for it, by the authority or, without a parent, by itself.
func (a *authority) sign(tmpl, parent *x509.Certificate) (*x509.Certificate, *ecdsa.PrivateKey, []byte) {
	a.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	tmpl.SerialNumber = big.NewInt(a.next)
	a.next++
	tmpl.NotBefore, tmpl.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	signer := a.key
	if parent == nil {
		parent, signer = tmpl, key
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, parent, &key.PublicKey, signer)
	if err != nil {
		a.t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// issue returns a certificate for a DNS name and its key, both PEM.
func (a *authority) issue(name string) (cert, key []byte) {
	a.t.Helper()
	_, k, cert := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}, a.cert)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

// secret is a Secret document with a new certificate for a DNS name.
func (a *authority) secret(name, host string) string {
	a.t.Helper()
	cert, key := a.issue(host)
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s}\ntype: kubernetes.io/tls\ndata: {tls.crt: %s, tls.key: %s}\n",
		name, b64(cert), b64(key))
}

// runEdge starts a gateway on files by name; port is where it serves HTTP. Certificates are not documents: they go to a directory below.
func runEdge(t testing.TB, port int, files map[string]string) *edge {
	t.Helper()
	e := &edge{t: t, dir: t.TempDir(), port: port}
	if err := os.Mkdir(filepath.Join(e.dir, "tls"), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, text := range files {
		e.write(name, text)
	}
	e.p = start(t, nil, bin(t, "weft"), "gateway", "-f", e.dir, "--bind", "127.0.0.1")
	eventually(t, 10*time.Second, "the gateway accepts", func() error {
		c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), time.Second)
		if err == nil {
			_ = c.Close()
		}
		return err
	})
	return e
}

// command runs a client program for at most 20 seconds and returns what it printed on both streams.
func command(t testing.TB, name string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 60*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		t.Errorf("%s %q: %v\n%s", name, args, err, out)
	}
	return string(out)
}
