package e2e

import (
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"
)

// outsideDocument is a service outside the mesh that is reached over TLS, at a Gateway that shows a certificate.
func outsideDocument(port, gatewayPort int, name string) string {
	return fmt.Sprintf(`apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [outside.default.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 80, name: web, protocol: HTTP, targetPort: %d}]
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  tls: {backend: {clientCertificateRef: {name: shown}}}
  listeners: [{name: http, port: %d, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: outside}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: outside, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: outside}
spec:
  targetRefs: [{group: "", kind: Service, name: outside}]
  validation:
    hostname: %s
    caCertificateRefs: [{group: "", kind: ConfigMap, name: ca}]
`, port, gatewayPort, name)
}

// configMap is a ConfigMap with an authority's certificate.
func (a *authority) configMap(name string) string {
	return fmt.Sprintf("---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {ca.crt: %q}\n", name, a.pem)
}

// outsideServer serves HTTPS and answers whose certificate it was shown.
func outsideServer(t testing.TB, ca *authority, host string) int {
	t.Helper()
	cert, key := ca.issue(host)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{
		ReadHeaderTimeout: 10 * time.Second, ErrorLog: log.New(io.Discard, "", 0),
		TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequestClientCert},
		Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			who := "nobody"
			if len(r.TLS.PeerCertificates) > 0 {
				who = r.TLS.PeerCertificates[0].Subject.CommonName
			}
			fmt.Fprintf(w, "to %s by %s", r.TLS.ServerName, who)
		}),
	}
	go func() { _ = s.ServeTLS(ln, "", "") }()
	t.Cleanup(func() { _ = s.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}

// TestBackendTLSOfAMesh reaches a server outside the mesh over TLS, from a gateway, which shows its certificate, and
// from a workload, which has none; and not when the server is another than the policy says, or the CA is missing.
func TestBackendTLSOfAMesh(t *testing.T) {
	m := newMesh(t)
	ca, other := newAuthority(t), newAuthority(t)
	port, gatewayPort := outsideServer(t, ca, "real.test"), freePort(t)
	apply := func(name string, more ...string) {
		t.Helper()
		m.must("apply", "--wait", "-f", m.file("outside.yaml", outsideDocument(port, gatewayPort, name)+strings.Join(more, "")))
	}
	m.gateway("--gateway", "default/edge")
	local := freePort(t)
	m.run("--service", "load", "--upstream", fmt.Sprintf("outside:80=%d", local), "--", "sleep", "1000")
	wantsAt := func(port int, what string, status int, body string) {
		t.Helper()
		eventually(t, 30*time.Second, what, func() error {
			if got, text := ask(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", port)); got != status || !strings.Contains(text, body) {
				return fmt.Errorf("%d %s", got, text)
			}
			return nil
		})
	}
	wants := func(what string, status int, body string) {
		t.Helper()
		wantsAt(gatewayPort, what, status, body)
	}
	apply("real.test", ca.configMap("ca"), ca.secret("shown", "gateway.test"))
	wants("the gateway shows its certificate", 200, "to real.test by gateway.test")
	wantsAt(local, "a workload has none to show", 200, "to real.test by nobody")
	apply("real.test", ca.secret("shown", "changed.test"))
	wants("the certificate shown changes", 200, "to real.test by changed.test")
	apply("unreal.test")
	wants("a server of another name", 503, "")
	apply("real.test", other.configMap("ca"))
	wants("a server of another authority", 503, "")
	apply("real.test", ca.configMap("ca"))
	wants("the right one again", 200, "to real.test")
	m.must("delete", "configmap", "ca", "--wait")
	wants("without the CA", 500, "")
	wantsAt(local, "a workload without the CA", 503, "there is no ConfigMap default/ca")
	status := m.must("describe", "backendtlspolicy", "outside")
	if !strings.Contains(status, "InvalidCACertificateRef") || !strings.Contains(status, "NoValidCACertificate") {
		t.Errorf("status:\n%s", status)
	}
}
