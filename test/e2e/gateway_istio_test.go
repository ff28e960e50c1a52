package e2e

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestIstioGatewayOfAMesh has a gateway that Istio's Gateway selects by its label serve BookInfo's page with the sample as
// it is, and others not.
func TestIstioGatewayOfAMesh(t *testing.T) {
	b := newBookInfo(t)
	b.apply("virtual-service-all-v1")
	const address, elsewhere = "127.80.80.2", "127.80.80.3" // the sample's port is a fixed one
	log := filepath.Join(b.dir, "access.log")
	at := func(args ...string) *process {
		return start(t, []string{"WEFT_SOCKET=" + b.socket}, bin(t, "weft"), append([]string{"gateway"}, args...)...)
	}
	g := at("--labels", "istio=ingressgateway", "--bind", address, "--access-log", log)
	other := at("--labels", "istio=other", "--bind", elsewhere)
	for _, p := range []*process{g, other} {
		eventually(t, 30*time.Second, "a gateway says that it has nothing to do", func() error {
			if s := p.err.String(); !strings.Contains(s, "nothing to listen on yet") {
				return errors.New(s)
			}
			return nil
		})
	}
	b.apply("bookinfo-gateway")
	base := "http://" + address + ":8080"
	newReader(t, base+"/productpage", "").wants(5, "no stars")
	newReader(t, base+"/productpage", "jason").wants(5, "no stars")
	for path, want := range map[string]int{"/api/v1/products": 200, "/": 404, "/productpage/more": 404, "/health": 404} {
		if status, body := ask(t, http.DefaultClient, base+path); status != want {
			t.Errorf("%s: %d %s", path, status, body)
		}
	}
	if status, _ := ask(t, http.DefaultClient, "http://"+elsewhere+":8080/productpage"); status != 0 {
		t.Errorf("a gateway that is not selected answers %d", status)
	}
	lines, err := os.ReadFile(log)
	if err != nil || !strings.Contains(string(lines), `"tls":"mutual"`) || !strings.Contains(string(lines), `"destination_id":"spiffe://mesh.local/ns/default/sa/bookinfo-productpage"`) {
		t.Errorf("the page was not reached by mTLS: %v\n%s", err, clip(string(lines)))
	}
	// Routing in the mesh goes on behind the page; the Gateway of the other dialect of the same name is another one.
	b.apply("virtual-service-reviews-test-v2")
	newReader(t, base+"/productpage", "jason").wants(5, "black stars")
	status := b.must("describe", "gateway.networking.istio.io", "bookinfo-gateway") + b.must("describe", "virtualservice", "bookinfo")
	if !strings.Contains(status, "Programmed") || strings.Contains(status, "False") {
		t.Errorf("status:\n%s", status)
	}
	b.must("delete", "-f", filepath.Join(istioSamples, "bookinfo-gateway.yaml"), "--wait")
	if status, body := ask(t, http.DefaultClient, base+"/productpage"); status != 0 {
		t.Errorf("after its Gateway is gone: %d %s", status, body)
	}
}

// istioServers are a server of HTTPS with a certificate in files, whose clients need one of their own, and one of TCP.
const istioServers = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %[1]d, name: https, protocol: HTTPS}
    hosts: [web.test]
    tls: {mode: MUTUAL, serverCertificate: web.crt, privateKey: web.key, caCertificates: ca.crt}
  - port: {number: %[2]d, name: tcp, protocol: TCP}
    hosts: ["*"]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web.test]
  gateways: [edge]
  http:
  - route: [{destination: {host: web, port: {number: 80}, subset: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: bytes}
spec:
  hosts: ["*"]
  gateways: [edge]
  tcp:
  - match: [{port: %[2]d}]
    route: [{destination: {host: web, port: {number: 80}, subset: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets: [{name: v1, labels: {version: v1}}, {name: v2, labels: {version: v2}}]
`

// TestIstioServersOfAMesh: HTTPS with clients' certificates, TCP, subsets of the mesh's services.
func TestIstioServersOfAMesh(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.httpService("web", "v2")
	m.ready("web", 2)
	ca := newAuthority(t)
	cert, key := ca.issue("web.test")
	m.file("web.crt", string(cert))
	m.file("web.key", string(key))
	m.file("ca.crt", string(ca.pem))
	https, tcp := freePort(t), freePort(t)
	m.gateway("--labels", "istio=ingressgateway", "--certificates", m.dir)
	m.must("apply", "--wait", "-f", m.file("edge.yaml", fmt.Sprintf(istioServers, https, tcp)))
	url := fmt.Sprintf("https://web.test:%d/", https)
	eventually(t, 30*time.Second, "HTTPS is served", func() error {
		if status, body := ask(t, ca.caller(https, "reader"), url); status != 200 || !strings.HasPrefix(body, "v2 ") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := ask(t, ca.caller(https, ""), url); status != 0 {
		t.Errorf("without a certificate: %d %s", status, body)
	}
	if status, body := ask(t, http.DefaultClient, fmt.Sprintf("http://127.0.0.1:%d/", tcp)); status != 200 || !strings.HasPrefix(body, "v1 ") {
		t.Errorf("by TCP: %d %s", status, body)
	}
}

// caller makes HTTPS requests to a port of the loopback, whatever the host, with a certificate for a name if it has one.
func (a *authority) caller(port int, name string) *http.Client {
	a.t.Helper()
	conf := &tls.Config{RootCAs: a.pool}
	if name != "" {
		cert, key := a.issue(name)
		pair, err := tls.X509KeyPair(cert, key)
		if err != nil {
			a.t.Fatal(err)
		}
		conf.Certificates = []tls.Certificate{pair}
	}
	dial := func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, network, fmt.Sprintf("127.0.0.1:%d", port))
	}
	return &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: conf, DialContext: dial, DisableKeepAlives: true}}
}

// TestIstioSecretOfAMesh: the Secret of a credentialName is in Istio's own namespace, as its documentation has it; a gateway
// of another namespace with the same labels does not get its key.
func TestIstioSecretOfAMesh(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	ca := newAuthority(t)
	port := freePort(t)
	edge := fmt.Sprintf(istioServers, port, freePort(t))
	edge = strings.Replace(edge, "tls: {mode: MUTUAL, serverCertificate: web.crt, privateKey: web.key, caCertificates: ca.crt}", "tls: {mode: SIMPLE, credentialName: web-credential}", 1)
	secret := strings.Replace(ca.secret("web-credential", "web.test"), "{name: web-credential}", "{name: web-credential, namespace: istio-system}", 1)
	m.must("apply", "--wait", "-f", m.file("edge.yaml", strings.ReplaceAll(edge, "subset: v2", "subset: v1")+secret))
	other := m.gateway("--labels", "istio=ingressgateway", "--as", "default/other", "--admin", "unix://"+filepath.Join(m.dir, "other.sock"))
	eventually(t, 30*time.Second, "the other gateway serves bytes alone", func() error {
		if s := other.out.String(); strings.Count(s, "listening on") != 1 || strings.Contains(s, fmt.Sprint(port)) {
			return errors.New(s)
		}
		return nil
	})
	other.stop(syscall.SIGTERM)
	m.gateway("--labels", "istio=ingressgateway")
	eventually(t, 30*time.Second, "HTTPS is served", func() error {
		if status, body := ask(t, ca.caller(port, ""), fmt.Sprintf("https://web.test:%d/", port)); status != 200 || !strings.HasPrefix(body, "v1 ") {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
}
