package e2e

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// ports are those of the gateway of TestGatewayProtocols.
type ports struct{ http, https, tcp, grpc int }

// protocolDocument is a gateway with an HTTP listener, TCP, and on one port HTTPS listeners with a certificate each, one
// for bytes under TLS and one that passes TLS through.
func protocolDocument(p ports) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners:
  - {name: http, port: %[1]d, protocol: HTTP}
  - {name: a, port: %[2]d, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: a}]}}
  - name: b
    port: %[2]d
    protocol: HTTPS
    hostname: b.example
    tls: {options: {weft.dev/certificate-file: tls/b.crt, weft.dev/key-file: tls/b.key}}
  - {name: bytes, port: %[2]d, protocol: TLS, hostname: bytes.example, tls: {mode: Terminate, certificateRefs: [{name: bytes}]}}
  - {name: pass, port: %[2]d, protocol: TLS, hostname: pass.example, tls: {mode: Passthrough}}
  - {name: tcp, port: %[3]d, protocol: TCP}
  - {name: grpc, port: %[4]d, protocol: HTTP, hostname: grpc.example}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge, sectionName: http}, {name: edge, sectionName: a}, {name: edge, sectionName: b}]
  rules:
  - matches: [{path: {value: /h2c}}]
    backendRefs: [{name: h2c, port: 80}]
  - backendRefs: [{name: web, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: GRPCRoute
metadata: {name: calls}
spec:
  parentRefs: [{name: edge, sectionName: grpc}]
  rules:
  - matches: [{method: {service: test.Echo}}]
    backendRefs: [{name: calls, port: 80}]
  - matches: [{method: {service: test.Gone}}]
    backendRefs: [{name: gone, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: raw}
spec:
  parentRefs: [{name: edge, sectionName: tcp}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: bytes}
spec:
  parentRefs: [{name: edge}]
  hostnames: [bytes.example]
  rules: [{backendRefs: [{name: web, port: 80}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: pass}
spec:
  parentRefs: [{name: edge}]
  hostnames: [pass.example]
  rules: [{backendRefs: [{name: own, port: 80}]}]
`, p.http, p.https, p.tcp, p.grpc)
}

// TestGatewayProtocols has every kind of client reach every kind of backend through every kind of listener.
func TestGatewayProtocols(t *testing.T) {
	p := ports{freePort(t), freePort(t), freePort(t), freePort(t)}
	ca := newAuthority(t)
	cert, key := ca.issue("b.example")
	calls := grpcBackend(t)
	e := runEdge(t, p.http, map[string]string{
		"edge.yaml": protocolDocument(p), "a.yaml": ca.secret("a", "a.example"), "bytes.yaml": ca.secret("bytes", "bytes.example"),
		"tls/b.crt": string(cert), "tls/b.key": string(key), "tls/ca.pem": string(ca.pem),
		"services.yaml": backend("default", "web", "", serveHTTP(t, false, says("web"))) +
			backend("default", "h2c", "kubernetes.io/h2c", serveHTTP(t, true, says("h2c"))) +
			backend("default", "calls", "kubernetes.io/h2c", calls) + backend("default", "own", "", ownTLS(t, ca, "pass.example")) +
			"---\napiVersion: v1\nkind: Service\nmetadata: {name: gone}\nspec: {ports: [{port: 80, appProtocol: kubernetes.io/h2c}]}\n",
	})
	t.Run("curl", func(t *testing.T) { curlClients(t, e, p) })
	t.Run("openssl", func(t *testing.T) { opensslClients(t, e, p) })
	t.Run("languages", func(t *testing.T) { languageClients(t, p) })
	t.Run("tls", func(t *testing.T) { tlsClients(t, ca, p) })
	t.Run("grpc", func(t *testing.T) { grpcClients(t, fmt.Sprintf("127.0.0.1:%d", p.grpc)) })
}

// ownTLS is a program that ends TLS itself.
func ownTLS(t *testing.T, ca *authority, host string) int {
	t.Helper()
	pair, err := tls.X509KeyPair(ca.issue(host))
	if err != nil {
		t.Fatal(err)
	}
	s := httptest.NewUnstartedServer(says("own"))
	s.EnableHTTP2, s.TLS = true, &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.Listener.Addr().(*net.TCPAddr).Port
}

// curlClients ask with both versions of HTTP over plaintext and TLS, and over the TCP listener.
func curlClients(t *testing.T, e *edge, p ports) {
	needs(t, "curl")
	ca := e.dir + "/tls/ca.pem"
	for _, c := range []struct{ flag, url, version, bytes string }{ // bytes: who gets all of a connection
		{"--http1.1", fmt.Sprintf("http://127.0.0.1:%d", p.http), "1.1", ""},
		{"--http2-prior-knowledge", fmt.Sprintf("http://127.0.0.1:%d", p.http), "2", ""},
		{"--http1.1", fmt.Sprintf("https://a.example:%d", p.https), "1.1", ""},
		{"--http2", fmt.Sprintf("https://a.example:%d", p.https), "2", ""},
		{"--http1.1", fmt.Sprintf("https://b.example:%d", p.https), "1.1", ""},
		{"--http2", fmt.Sprintf("https://b.example:%d", p.https), "2", ""},
		{"--http1.1", fmt.Sprintf("https://bytes.example:%d", p.https), "1.1", "web HTTP/1.1"},
		{"--http1.1", fmt.Sprintf("https://pass.example:%d", p.https), "1.1", "own HTTP/1.1"},
		{"--http2", fmt.Sprintf("https://pass.example:%d", p.https), "2", "own HTTP/2.0"},
		{"--http1.1", fmt.Sprintf("http://127.0.0.1:%d", p.tcp), "1.1", "web HTTP/1.1"},
	} {
		for path, want := range map[string]string{"/": "web HTTP/1.1", "/h2c": "h2c HTTP/2.0"} {
			if c.bytes != "" {
				want = c.bytes
			}
			got := command(t, "curl", "-sS", "--noproxy", "*", "--max-time", "10", "--cacert", ca,
				"--resolve", fmt.Sprintf("*:%d:127.0.0.1", p.https), "-w", " by %{http_version}", c.flag, c.url+path)
			if want += " by " + c.version; got != want {
				t.Errorf("curl %s %s%s: %q, want %q", c.flag, c.url, path, got, want)
			}
		}
	}
}

// opensslClients shake hands with each version of TLS and each protocol of ALPN.
func opensslClients(t *testing.T, e *edge, p ports) {
	needs(t, "openssl")
	for _, c := range []struct{ version, alpn, says string }{
		{"-tls1_2", "http/1.1", "TLSv1.2"},
		{"-tls1_2", "h2", "TLSv1.2"},
		{"-tls1_3", "http/1.1", "TLSv1.3"},
		{"-tls1_3", "h2,http/1.1", "TLSv1.3"},
	} {
		for _, host := range []string{"a.example", "b.example"} {
			out := command(t, "openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", p.https), "-servername", host,
				"-verify_hostname", host, "-verify_return_error", "-CAfile", e.dir+"/tls/ca.pem", c.version, "-alpn", c.alpn)
			chosen, _, _ := strings.Cut(c.alpn, ",")
			for _, want := range []string{c.says, "ALPN protocol: " + chosen, "Verify return code: 0", "CN = " + host} {
				if !strings.Contains(out, want) && !strings.Contains(out, strings.ReplaceAll(want, " = ", "=")) {
					t.Errorf("openssl %s %s %s: no %q in\n%s", c.version, c.alpn, host, want, clip(out))
				}
			}
		}
	}
	old := exec.CommandContext(t.Context(), "openssl", "s_client", "-connect", fmt.Sprintf("127.0.0.1:%d", p.https),
		"-servername", "a.example", "-tls1_1", "-cipher", "ALL:@SECLEVEL=0")
	if out, err := old.CombinedOutput(); err == nil {
		t.Errorf("TLS 1.1 was accepted:\n%s", clip(string(out)))
	}
}

const nodeClient = `const c = require("http2").connect("http://127.0.0.1:" + process.argv[1]);
c.on("error", e => { console.log(String(e)); process.exit(1) });
const r = c.request({":path": "/h2c"}); let b = ""; let s;
r.on("response", h => { s = h[":status"] }); r.on("data", d => { b += d });
r.on("end", () => { console.log(s + " " + b); c.close() }); r.end();`

const pythonClient = `import sys, http.client
c = http.client.HTTPConnection("127.0.0.1", int(sys.argv[1]), timeout=10)
for path in ("/", "/h2c"):
    c.request("GET", path)
    r = c.getresponse()
    print(r.status, r.read().decode())`

// languageClients are clients that others wrote: nghttp, node's HTTP/2, Python's HTTP/1.1 with one connection for two requests.
func languageClients(t *testing.T, p ports) {
	port := fmt.Sprint(p.http)
	for _, c := range []struct {
		want string
		args []string
	}{
		{"h2c HTTP/2.0", []string{"nghttp", "http://127.0.0.1:" + port + "/h2c"}},
		{"200 h2c HTTP/2.0\n", []string{"node", "-e", nodeClient, port}},
		{"200 web HTTP/1.1\n200 h2c HTTP/2.0\n", []string{"python3", "-c", pythonClient, port}},
	} {
		t.Run(c.args[0], func(t *testing.T) {
			needs(t, c.args[0])
			if got := command(t, c.args[0], c.args[1:]...); got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
		})
	}
}

// dialTLS shakes hands and makes one request over HTTP/1.1, so that TLS 1.3 tickets arrive.
func dialTLS(ctx context.Context, addr string, conf *tls.Config) (tls.ConnectionState, error) {
	d := &tls.Dialer{Config: conf}
	c, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return tls.ConnectionState{}, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", conf.ServerName)
	b, err := io.ReadAll(c)
	if err == nil && !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		err = fmt.Errorf("answer %q", b)
	}
	return c.(*tls.Conn).ConnectionState(), err
}

// tlsClients look at what a handshake agrees on.
func tlsClients(t *testing.T, ca *authority, p ports) {
	addr := fmt.Sprintf("127.0.0.1:%d", p.https)
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		for _, host := range []string{"a.example", "b.example"} {
			name := tls.VersionName(version) + " " + host
			conf := &tls.Config{
				RootCAs: ca.pool, ServerName: host, MinVersion: version, MaxVersion: version,
				NextProtos: []string{"http/1.1"}, ClientSessionCache: tls.NewLRUClientSessionCache(4),
			}
			first, err := dialTLS(t.Context(), addr, conf)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			if first.NegotiatedProtocol != "http/1.1" || first.DidResume || first.PeerCertificates[0].Subject.CommonName != host {
				t.Errorf("%s: ALPN %q, resumed %t, certificate of %s", name, first.NegotiatedProtocol, first.DidResume, first.PeerCertificates[0].Subject)
			}
			if version == tls.VersionTLS13 && first.CurveID != tls.X25519MLKEM768 {
				t.Errorf("%s: key exchange %v", name, first.CurveID)
			}
			if again, err := dialTLS(t.Context(), addr, conf); err != nil || !again.DidResume {
				t.Errorf("%s: second handshake resumed %t, %v", name, again.DidResume, err)
			}
		}
	}
	stranger := &tls.Config{RootCAs: ca.pool, ServerName: "c.example", MinVersion: tls.VersionTLS13}
	if _, err := dialTLS(t.Context(), addr, stranger); err == nil {
		t.Error("a name that no listener has was served")
	}
	h2 := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{
		ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: ca.pool, ServerName: "a.example", MinVersion: tls.VersionTLS13},
	}}
	defer h2.CloseIdleConnections()
	req, err := http.NewRequestWithContext(t.Context(), "GET", "https://"+addr+"/h2c", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = "a.example"
	resp, err := h2.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if b, err := io.ReadAll(resp.Body); err != nil || resp.ProtoMajor != 2 || string(b) != "h2c HTTP/2.0" {
		t.Errorf("%s %s %q, %v", resp.Proto, resp.Status, b, err)
	}
}
