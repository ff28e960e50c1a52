package e2e

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// tlsGateway is a Gateway of a mesh with an HTTPS listener for each of two hosts.
func tlsGateway(port int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners:
  - {name: a, port: %d, protocol: HTTPS, hostname: a.test, tls: {certificateRefs: [{name: a}]}}
  - {name: b, port: %d, protocol: HTTPS, hostname: b.test, tls: {certificateRefs: [{name: b}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec:
  parentRefs: [{name: edge}]
  rules: [{backendRefs: [{name: web, port: 80}]}]
`, port, port)
}

// visitor is a client of a host at a port of the loopback.
type visitor struct {
	url  string
	conf *tls.Config
	c    *http.Client
}

func newVisitor(t testing.TB, pool *x509.CertPool, host string, port int) *visitor {
	v := &visitor{url: fmt.Sprintf("https://%s:%d/", host, port), conf: &tls.Config{RootCAs: pool, ServerName: host}}
	at := fmt.Sprintf("127.0.0.1:%d", port)
	v.c = &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{
		TLSClientConfig: v.conf,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "tcp", at)
		},
	}}
	t.Cleanup(v.c.CloseIdleConnections)
	return v
}

// get makes a request, which has to be answered 200, and returns the serial number of the server's certificate.
func (v *visitor) get(ctx context.Context) (serial string, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, v.url, nil)
	if err != nil {
		return "", err
	}
	resp, err := v.c.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return "", fmt.Errorf("%s %s: %w", resp.Status, body, err)
	}
	return resp.TLS.PeerCertificates[0].SerialNumber.String(), nil
}

// afresh is get on a new connection.
func (v *visitor) afresh(ctx context.Context) (string, error) {
	v.c.CloseIdleConnections()
	return v.get(ctx)
}

// kept is a Secret that is looked for where it must not be.
type kept struct{ text, serial string }

func (a *authority) kept(name, host string) kept {
	a.t.Helper()
	k := kept{text: a.secret(name, host), serial: fmt.Sprint(a.next - 1)}
	return k
}

// hidden is what shows the key: a line of its PEM, and a part of the value as it was written.
func (k *kept) hidden(t testing.TB) (out [][]byte) {
	t.Helper()
	_, value, _ := strings.Cut(k.text, "tls.key: ")
	value = strings.TrimRight(value, "}\n")
	key, err := base64.StdEncoding.DecodeString(value)
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(key)
	return [][]byte{[]byte(value[60:120]), []byte(strings.Split(string(key), "\n")[1]), block.Bytes[36:60]}
}

// TestSecretsOfAMesh serves HTTPS at a mesh's gateway with Secrets of the control plane: two by server name, one that
// changes under load, one that goes and comes back; and shows their keys nowhere.
func TestSecretsOfAMesh(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	ca, port, admin := newAuthority(t), freePort(t), filepath.Join(m.dir, "admin.sock")
	a, b := ca.kept("a", "a.test"), ca.kept("b", "b.test")
	all := []kept{a, b}
	accessLog := filepath.Join(m.dir, "access.log")
	secrets := t.TempDir() // not in the mesh's directory, which is searched
	file := func(text string) string {
		path := filepath.Join(secrets, "secret.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	said := m.must("apply", "-f", file(a.text+b.text), "-f", m.file("edge.yaml", tlsGateway(port)))
	g := m.gateway("--gateway", "default/edge", "--admin", "unix://"+admin, "--access-log", accessLog, "--log-level", "debug")
	toA, toB := newVisitor(t, ca.pool, "a.test", port), newVisitor(t, ca.pool, "b.test", port)
	ctx := t.Context()
	eventually(t, 30*time.Second, "both hosts are served, each with its certificate", func() error {
		atA, errA := toA.afresh(ctx)
		atB, errB := toB.afresh(ctx)
		if err := errors.Join(errA, errB); err != nil || atA != a.serial || atB != b.serial {
			return fmt.Errorf("serials %s and %s, want %s and %s: %w", atA, atB, a.serial, b.serial, err)
		}
		return nil
	})
	stays := newVisitor(t, ca.pool, "a.test", port)
	if _, err := stays.get(ctx); err != nil {
		t.Fatal(err)
	}
	end := underLoad(t, func(host string) *visitor { return newVisitor(t, ca.pool, host, port) }, "a.test", "b.test")
	for range 5 {
		next := ca.kept("a", "a.test")
		all = append(all, next)
		diff := m.weft("diff", "-f", file(next.text)).stdout
		if !strings.Contains(diff, "+    SHA-256 ") {
			t.Errorf("diff does not show that the certificate is another:\n%s", diff)
		}
		said += diff
		said += m.must("apply", "--wait", "-f", file(next.text))
		fresh := newVisitor(t, ca.pool, "a.test", port)
		if serial, err := fresh.get(ctx); err != nil || serial != next.serial {
			t.Errorf("after apply --wait the certificate is %s, want %s: %v", serial, next.serial, err)
		}
	}
	end()
	if serial, err := stays.get(ctx); err != nil || serial != a.serial {
		t.Errorf("the connection from before is not the same: %s, %v", serial, err)
	}
	said += m.must("delete", "secret", "a", "--wait")
	if serial, err := newVisitor(t, ca.pool, "a.test", port).get(ctx); err == nil {
		t.Errorf("a listener without its Secret serves with %s", serial)
	}
	if serial, err := toB.afresh(ctx); err != nil || serial != b.serial {
		t.Errorf("the other listener: %s, %v", serial, err)
	}
	status := m.must("describe", "gateway", "edge")
	for _, want := range []string{`a +1 +ResolvedRefs +False +InvalidCertificateRef +there is no Secret default/a`, `b +1 +Programmed +True`, "1 of 2 listeners"} {
		if !regexp.MustCompile(want).MatchString(status) {
			t.Errorf("status lacks %q:\n%s", want, status)
		}
	}
	said += m.must("rollback", "--wait")
	eventually(t, 30*time.Second, "the Secret is back", func() error {
		serial, err := newVisitor(t, ca.pool, "a.test", port).get(ctx)
		if err == nil && serial != all[len(all)-1].serial {
			err = fmt.Errorf("it is served with %s", serial)
		}
		return err
	})
	said += shownOf(t, m, admin)
	checkNothingShown(t, m, all, said+g.out.String()+g.err.String()+m.serve.out.String()+m.serve.err.String())
}

// shownOf is all that commands and the gateway's admin endpoint show.
func shownOf(t testing.TB, m *mesh, admin string) string {
	t.Helper()
	out := m.must("get", "secrets", "-o", "yaml")
	for _, want := range []string{"a.test", "b.test", "tls.key: '[hidden]'", "expires "} {
		if !strings.Contains(out, want) {
			t.Errorf("get secrets lacks %q:\n%s", want, out)
		}
	}
	out += m.must("describe", "secret", "a") + m.must("history", "-o", "json") + m.must("get", "proxies", "-o", "json")
	shown := 0
	for word := range strings.FieldsSeq(m.must("history")) {
		if r := m.weft("history", "show", word); r.code == 0 {
			out += r.stdout
			shown++
		}
	}
	if shown < 8 {
		t.Errorf("%d changes are shown", shown)
	}
	c := &http.Client{Timeout: 10 * time.Second, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", admin)
	}}}
	for _, path := range []string{"config", "stats", "metrics"} {
		status, body := ask(t, c, "http://proxy/"+path)
		if status != 200 {
			t.Errorf("/%s: %d %s", path, status, body)
		}
		if path == "config" && !strings.Contains(body, "[secret]") {
			t.Errorf("/config does not show that there is a key")
		}
		out += body
	}
	return out
}

// checkNothingShown looks for keys in what was said, and in all files of the mesh.
func checkNothingShown(t testing.TB, m *mesh, all []kept, said string) {
	t.Helper()
	var hidden [][]byte
	for i := range all {
		hidden = append(hidden, all[i].hidden(t)...)
	}
	look := func(where string, b []byte) {
		for _, h := range hidden {
			if bytes.Contains(b, h) {
				t.Errorf("%s shows a key", where)
			}
		}
	}
	look("what was said", []byte(said))
	files := 0
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		files++
		b, err := os.ReadFile(path)
		look(path, b)
		return err
	})
	if err != nil || files < 4 {
		t.Errorf("%d files: %v", files, err)
	}
}

// underLoad has clients make requests, on connections that stay and on new ones, until end is called: none may fail.
func underLoad(t testing.TB, visit func(host string) *visitor, hosts ...string) (end func()) {
	t.Helper()
	stop, failures := make(chan struct{}), make(chan error, 100)
	var n atomic.Int64
	var wg sync.WaitGroup
	for _, host := range hosts {
		for _, get := range []func(context.Context) (string, error){visit(host).get, visit(host).afresh} {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					if _, err := get(t.Context()); err != nil {
						select {
						case failures <- err:
						default:
						}
					}
					n.Add(1)
				}
			})
		}
	}
	return func() {
		t.Helper()
		close(stop)
		wg.Wait()
		close(failures)
		for err := range failures {
			t.Errorf("a request failed while certificates changed: %v", err)
		}
		if n.Load() < 50 {
			t.Errorf("only %d requests", n.Load())
		}
		t.Logf("%d requests while certificates changed", n.Load())
	}
}

// servingTLS joins a program to the mesh whose port this process serves with TLS, echoing lines.
func (m *mesh) servingTLS(service string, conf *tls.Config) {
	m.t.Helper()
	port, sign := freePort(m.t), filepath.Join(m.t.TempDir(), "runs")
	m.run("--service", service, "--port", fmt.Sprintf("443:%d/tcp", port), "--", "sh", "-c", "touch "+sign+"; exec sleep 1000")
	eventually(m.t, 30*time.Second, "the program runs", func() error {
		_, err := os.Stat(sign)
		return err
	})
	ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() { _ = ln.Close() })
	go func() { // ends with Close
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if conf != nil {
					c = tls.Server(c, conf)
				}
				line, err := bufio.NewReader(c).ReadString('\n')
				if err == nil {
					_, _ = io.WriteString(c, service+": "+line)
				}
			}()
		}
	}()
}

// streamGateway has a listener that passes TLS on, and, of a ListenerSet, one of opaque bytes and one that ends TLS.
func streamGateway(passthrough, plain, terminated int) string {
	return fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  allowedListeners: {namespaces: {from: Same}}
  listeners:
  - {name: pass, port: %d, protocol: TLS, tls: {mode: Passthrough}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ListenerSet
metadata: {name: more}
spec:
  parentRef: {name: edge}
  listeners:
  - {name: plain, port: %d, protocol: TCP}
  - {name: ends, port: %d, protocol: TLS, hostname: ends.test, tls: {mode: Terminate, certificateRefs: [{name: ends}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: pass}
spec:
  parentRefs: [{name: edge, sectionName: pass}]
  hostnames: [own.test]
  rules: [{backendRefs: [{name: own, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: plain}
spec:
  parentRefs: [{kind: ListenerSet, name: more, sectionName: plain}]
  rules: [{backendRefs: [{name: echo, port: 443}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TLSRoute
metadata: {name: ends}
spec:
  parentRefs: [{kind: ListenerSet, name: more, sectionName: ends}]
  hostnames: [ends.test]
  rules: [{backendRefs: [{name: echo, port: 443}]}]
`, passthrough, plain, terminated)
}

// TestStreamsOfAMesh carries connections that are not HTTP through a mesh's gateway: TLS passed on by server name, TLS
// that the gateway ends with a Secret, and opaque bytes.
func TestStreamsOfAMesh(t *testing.T) {
	m := newMesh(t)
	ca := newAuthority(t)
	cert, key := ca.issue("own.test")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	m.servingTLS("own", &tls.Config{Certificates: []tls.Certificate{pair}})
	m.servingTLS("echo", nil)
	m.ready("own", 1)
	m.ready("echo", 1)
	pass, plain, ends := freePort(t), freePort(t), freePort(t)
	m.must("apply", "-f", m.file("edge.yaml", streamGateway(pass, plain, ends)+ca.secret("ends", "ends.test")))
	m.gateway("--gateway", "default/edge")
	try := func(port int, host, want string) func() error {
		return func() error {
			c, err := net.DialTimeout("tcp", fmt.Sprintf("127.0.0.1:%d", port), 5*time.Second)
			if err != nil {
				return err
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(10 * time.Second))
			if host != "" {
				c = tls.Client(c, &tls.Config{RootCAs: ca.pool, ServerName: host})
			}
			if _, err := io.WriteString(c, "hello\n"); err != nil {
				return err
			}
			if line, err := bufio.NewReader(c).ReadString('\n'); err != nil || line != want {
				return fmt.Errorf("%q: %w", line, err)
			}
			return nil
		}
	}
	eventually(t, 30*time.Second, "TLS is passed on", try(pass, "own.test", "own: hello\n"))
	eventually(t, 30*time.Second, "bytes are carried", try(plain, "", "echo: hello\n"))
	eventually(t, 30*time.Second, "TLS is ended", try(ends, "ends.test", "echo: hello\n"))
	if err := try(pass, "other.test", "own: hello\n")(); err == nil {
		t.Error("a server name that nobody has is served")
	}
}

// TestClientCertificatesOfAMesh serves only clients with a certificate of an authority that a Secret of the mesh has.
func TestClientCertificatesOfAMesh(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	ca, port := newAuthority(t), freePort(t)
	gw := strings.Replace(tlsGateway(port), "gatewayClassName: weft\n", `gatewayClassName: weft
  tls: {frontend: {default: {validation: {caCertificateRefs: [{group: "", kind: Secret, name: clients}]}}}}
`, 1)
	clients := fmt.Sprintf("---\napiVersion: v1\nkind: Secret\nmetadata: {name: clients}\nstringData: {ca.crt: %q}\n", ca.pem)
	m.must("apply", "-f", m.file("edge.yaml", gw+ca.secret("a", "a.test")+clients))
	m.gateway("--gateway", "default/edge")
	cert, key := ca.client("someone")
	pair, err := tls.X509KeyPair(cert, key)
	if err != nil {
		t.Fatal(err)
	}
	known, stranger := newVisitor(t, ca.pool, "a.test", port), newVisitor(t, ca.pool, "a.test", port)
	known.conf.Certificates = []tls.Certificate{pair}
	eventually(t, 30*time.Second, "a client with a certificate is served", func() error {
		_, err := known.afresh(t.Context())
		return err
	})
	if _, err := stranger.get(t.Context()); err == nil {
		t.Error("a client without a certificate is served")
	}
}

// client returns a certificate of a client and its key, both PEM.
func (a *authority) client(name string) (cert, key []byte) {
	a.t.Helper()
	_, k, cert := a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, a.cert)
	der, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		a.t.Fatal(err)
	}
	return cert, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}
