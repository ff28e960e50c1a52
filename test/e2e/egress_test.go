package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// outsider is a server outside the mesh, for which the mesh has a name and no route.
type outsider struct {
	plain, mutual int // ports: of HTTP, and of HTTPS that wants certificates
	ca            *authority
	calls         atomic.Int64
	last          atomic.Value // fields of the last request
}

func newOutsider(t *testing.T, host string) *outsider {
	o := &outsider{ca: newAuthority(t)}
	answer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o.calls.Add(1)
		o.last.Store(r.Header.Clone())
		who := "nobody"
		if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprintf(w, "outside %s for %s", r.Host, who)
	})
	o.plain = behaving(t, answer)
	cert, key := o.ca.issue(host)
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	clients := x509.NewCertPool()
	clients.AppendCertsFromPEM(o.ca.pem)
	s := httptest.NewUnstartedServer(answer)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.VerifyClientCertIfGiven, ClientCAs: clients}
	s.StartTLS()
	t.Cleanup(s.Close)
	o.mutual = s.Listener.Addr().(*net.TCPAddr).Port
	return o
}

// files writes what the gateway shows to the outsider, and by what it knows it.
func (o *outsider) files(m *mesh) {
	cert, key := o.ca.issue("the-mesh")
	m.file("client.crt", string(cert))
	m.file("client.key", string(key))
	m.file("outside-ca.crt", string(o.ca.pem))
}

// outsideEntry makes a host outside one of the mesh: port 80 is plain, 443 is TLS, 7000 is bytes.
const outsideEntry = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.outside.test]
  resolution: STATIC
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: https, protocol: HTTPS}
  - {number: 7000, name: tcp, protocol: TCP}
  endpoints: [{address: 127.0.0.1, ports: {http: %d, https: %d, tcp: %d}}]
`

// egressPolicy is all it takes to have a host's requests leave by a gateway.
const egressPolicy = `---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: out}
spec:
  targetRefs: [{kind: ServiceEntry, name: outside}]
  egress: {gateway: infra/egress}
`

// curl asks for a URL as a program of the mesh: the status is the last line.
func (m *mesh) curl(args ...string) string {
	m.t.Helper()
	r := m.once("load", append([]string{"curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}"}, args...)...)
	return r.stdout
}

// TestEgressGateway: what a program asks of a host outside leaves the mesh by the gateway that a policy names, which knows
// who asked; TLS is begun there; without the gateway nothing leaves.
func TestEgressGateway(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	o := newOutsider(t, "api.outside.test")
	o.files(m)
	log := filepath.Join(m.dir, "egress.log")
	entry := fmt.Sprintf(outsideEntry, o.plain, o.mutual, o.plain)
	out := m.weft("apply", "--wait", "-f", m.file("out.yaml", entry+egressPolicy))
	if out.code != 0 || !strings.Contains(out.stderr+out.stdout, "no gateway infra/egress is in the mesh yet") {
		t.Errorf("apply before the gateway is there: %+v", out)
	}
	if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "503") || !strings.Contains(got, "no_egress") || !strings.Contains(got, "infra/egress") {
		t.Errorf("without the gateway: %s", got)
	}
	if n := o.calls.Load(); n != 0 {
		t.Errorf("%d requests left without the gateway", n)
	}
	g := m.gateway("--egress", "--as", "infra/egress", "--certificates", m.dir, "--access-log", log)
	eventually(t, 30*time.Second, "the gateway is there", func() error {
		if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "outside api.outside.test for nobody\n200") {
			return errors.New(got)
		}
		return nil
	})
	left := egressLine(t, log)
	for _, want := range []string{
		`"direction":"inbound"`, `"tls":"mutual"`, `"source":"default/load"`, `"source_id":"spiffe://mesh.local/ns/default/sa/load"`,
		`"destination":"default/api.outside.test"`,
	} {
		if !strings.Contains(left, want) {
			t.Errorf("the gateway's access log lacks %s: %s", want, left)
		}
	}
	if h := o.last.Load().(http.Header); h.Get("weft-port")+h.Get("weft-source")+h.Get("x-forwarded-for") != "" {
		t.Errorf("outside the mesh shows: %v", h)
	}
	// Bytes by a tunnel, whose server happens to speak HTTP.
	if got := m.curl("--proxytunnel", "http://api.outside.test:7000/"); !strings.HasSuffix(got, "200") {
		t.Errorf("TCP: %s", got)
	}
	// TLS begun at the gateway, with its certificate.
	m.must("apply", "--wait", "-f", m.file("tls.yaml", `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside}
spec:
  host: api.outside.test
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: MUTUAL, clientCertificate: client.crt, privateKey: client.key, caCertificates: outside-ca.crt}
`))
	if got := m.curl("http://api.outside.test:443/"); !strings.HasSuffix(got, "outside api.outside.test:443 for the-mesh\n200") {
		t.Errorf("TLS at the gateway: %s", got)
	}
	if got := m.must("explain", "api.outside.test", "--from", "load"); !strings.Contains(got, "infra/egress") {
		t.Errorf("explain does not show the detour:\n%s", got)
	}
	before := o.calls.Load()
	g.stop(syscall.SIGTERM)
	if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "503") || !strings.Contains(got, "infra/egress") {
		t.Errorf("when the gateway is gone: %s", got)
	}
	if n := o.calls.Load(); n != before {
		t.Errorf("%d requests left without the gateway", n-before)
	}
}

// egressLine returns the last line of an access log that is of a request.
func egressLine(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(b)), "\n")
	return lines[len(lines)-1]
}
