package conformance

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/binary"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

// pebble is a CA of a test's own: Let's Encrypt's, made for clients to be tested by. It finds every host on the
// loopback, at the ports that a gateway has.
type pebble struct {
	directory  string
	management string
	rootFile   string // of the API's own certificate
	roots      *x509.CertPool
}

// newPebble runs a CA that looks for challenges at two ports.
func newPebble(t *testing.T, httpPort, tlsPort int) *pebble {
	t.Helper()
	dir := t.TempDir()
	api, management := mustPort(t), mustPort(t)
	p := &pebble{
		directory: fmt.Sprintf("https://127.0.0.1:%d/dir", api), management: fmt.Sprintf("https://127.0.0.1:%d", management),
		rootFile: filepath.Join(dir, "api.crt"), roots: x509.NewCertPool(),
	}
	p.certify(t, dir)
	config := filepath.Join(dir, "pebble.json")
	text := fmt.Sprintf(`{"pebble": {"listenAddress": "127.0.0.1:%d", "managementListenAddress": "127.0.0.1:%d",
		"certificate": %q, "privateKey": %q, "httpPort": %d, "tlsPort": %d, "retryAfter": {"authz": 1, "order": 1}}}`,
		api, management, p.rootFile, filepath.Join(dir, "api.key"), httpPort, tlsPort)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	env := []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_AUTHZREUSE=0"}
	ca := start(t, env, filepath.Join(suites, "pebble"), "-config", config, "-dnsserver", loopbackDNS(t), "-strict")
	if err := ca.listening(fmt.Sprintf("127.0.0.1:%d", api)); err != nil {
		t.Fatal(err)
	}
	return p
}

func mustPort(t *testing.T) int {
	t.Helper()
	port, err := freePort()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// certify makes the certificate of the CA's API.
func (p *pebble) certify(t *testing.T, dir string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	keyDER, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{"api.crt": {Type: "CERTIFICATE", Bytes: der}, "api.key": {Type: "PRIVATE KEY", Bytes: keyDER}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	p.roots.AddCert(cert)
}

// issuing returns the root of the certificates that the CA issues.
func (p *pebble) issuing(t *testing.T) *x509.CertPool {
	t.Helper()
	c := &http.Client{Timeout: 20 * time.Second, Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: p.roots}}}
	defer c.CloseIdleConnections()
	resp, err := c.Get(p.management + "/roots/0")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(text) {
		t.Fatalf("no root: %s", text)
	}
	return pool
}

// loopbackDNS answers every question for IPv4 with 127.0.0.1, over TCP as pebble asks, until the test ends.
func loopbackDNS(t *testing.T) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ln.Close() })
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go answerDNS(c)
		}
	}()
	return ln.Addr().String()
}

// answerDNS serves one connection (RFC 1035, section 4.2.2).
func answerDNS(c net.Conn) {
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(time.Minute))
	for {
		var size [2]byte
		if _, err := io.ReadFull(c, size[:]); err != nil {
			return
		}
		question := make([]byte, binary.BigEndian.Uint16(size[:]))
		if _, err := io.ReadFull(c, question); err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(question) != nil || len(m.Questions) != 1 {
			return
		}
		q := m.Questions[0]
		m.Header = dnsmessage.Header{ID: m.ID, Response: true, Authoritative: true, RecursionAvailable: true}
		m.Additionals = nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60},
				Body:   &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}},
			}}
		}
		b, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...)); err != nil {
			return
		}
	}
}

// managedEdge is a Gateway with a plain listener and one whose certificate is asked for.
func managedEdge(httpPort, tlsPort, backend int, host string) string {
	g := gateway{port: httpPort, backend: backend, protocol: "http"}
	return strings.Replace(g.document(), "protocol: HTTP}]}", fmt.Sprintf(`protocol: HTTP},
  {name: https, port: %d, protocol: HTTPS, hostname: %s, tls: {options: {weft.dev/acme: "true"}}}]}`, tlsPort, host), 1)
}

// certificateAt returns the certificate of a host when it is of the CA.
func certificateAt(port int, host string, roots *x509.CertPool) (*x509.Certificate, error) {
	d := &net.Dialer{Timeout: 5 * time.Second}
	c, err := tls.DialWithDialer(d, "tcp", fmt.Sprintf("127.0.0.1:%d", port), &tls.Config{ServerName: host, RootCAs: roots})
	if err != nil {
		return nil, err
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	fmt.Fprintf(c, "GET / HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", host)
	b, err := io.ReadAll(c)
	if err != nil {
		return nil, err
	}
	if !strings.HasPrefix(string(b), "HTTP/1.1 200 ") {
		return nil, errors.New(string(b))
	}
	return c.ConnectionState().PeerCertificates[0], nil
}

func until(t *testing.T, what string, f func() error) {
	t.Helper()
	tick := time.NewTicker(250 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(90 * time.Second); ; <-tick.C {
		err := f()
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// TestACME has a gateway get certificates from a CA by either challenge, keep them over a restart, and get one for a
// host that is added while it runs.
func TestACME(t *testing.T) {
	weft := bin(t, "weft")
	program := startProgram(t)
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			httpPort, tlsPort, nobody := mustPort(t), mustPort(t), mustPort(t)
			ca := newPebble(t, httpPort, nobody)
			if challenge == "tls-alpn-01" {
				ca = newPebble(t, nobody, tlsPort)
			}
			dir := t.TempDir()
			file := filepath.Join(dir, "edge.yaml")
			write := func(host string) {
				if err := os.WriteFile(file, []byte(managedEdge(httpPort, tlsPort, program, host)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			write("shop.example.com")
			run := func() *process {
				return start(t, nil, weft, "gateway", "-f", file, "--bind", "127.0.0.1", "--acme", "ops@example.com",
					"--acme-directory", ca.directory, "--acme-root", ca.rootFile, "--acme-storage", filepath.Join(dir, "acme"))
			}
			p := run()
			roots := ca.issuing(t)
			var first *x509.Certificate
			until(t, "the certificate of the CA is served", func() (err error) {
				first, err = certificateAt(tlsPort, "shop.example.com", roots)
				return err
			})
			p.stop()
			run()
			until(t, "after a restart it is there", func() error {
				again, err := certificateAt(tlsPort, "shop.example.com", roots)
				if err == nil && again.SerialNumber.Cmp(first.SerialNumber) != 0 {
					t.Fatal("the gateway has asked for another certificate after a restart")
				}
				return err
			})
			write("next.example.com")
			until(t, "a host that is added", func() error {
				_, err := certificateAt(tlsPort, "next.example.com", roots)
				return err
			})
			st, err := os.Stat(filepath.Join(dir, "acme"))
			if err != nil || st.Mode().Perm() != 0o700 {
				t.Errorf("the storage: %v %v", st.Mode(), err)
			}
		})
	}
}

// TestACMEOfAMesh has a gateway of a mesh, whose documents are the control plane's, get certificates by either
// challenge, keep them over a restart, and get one for a host that is added while it runs.
func TestACMEOfAMesh(t *testing.T) {
	weft := bin(t, "weft")
	for _, challenge := range []string{"http-01", "tls-alpn-01"} {
		t.Run(challenge, func(t *testing.T) {
			m := newMesh(t)
			httpPort, tlsPort, nobody := mustPort(t), mustPort(t), mustPort(t)
			ca := newPebble(t, httpPort, nobody)
			if challenge == "tls-alpn-01" {
				ca = newPebble(t, nobody, tlsPort)
			}
			apply := func(host string) {
				t.Helper()
				file := filepath.Join(m.dir, "edge.yaml")
				text := fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners:
  - {name: http, port: %d, protocol: HTTP}
  - {name: https, port: %d, protocol: HTTPS, hostname: %s, tls: {options: {weft.dev/acme: "true"}}}
`, httpPort, tlsPort, host)
				if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
					t.Fatal(err)
				}
				args := []string{"apply", "-f", file}
				if host != "shop.example.com" {
					args = append(args, "--wait") // for the gateway that runs
				}
				cmd := exec.Command(weft, args...)
				cmd.Env = append(os.Environ(), m.env()...)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("apply: %v\n%s", err, out)
				}
			}
			apply("shop.example.com")
			run := func() *process {
				return start(t, m.env(), weft, "gateway", "--gateway", "default/edge", "--bind", "127.0.0.1", "--acme", "ops@example.com",
					"--acme-directory", ca.directory, "--acme-root", ca.rootFile, "--acme-storage", filepath.Join(m.dir, "acme"))
			}
			p := run()
			roots := ca.issuing(t)
			at := func(host string) (*x509.Certificate, error) {
				d := &net.Dialer{Timeout: 5 * time.Second}
				c, err := tls.DialWithDialer(d, "tcp", fmt.Sprintf("127.0.0.1:%d", tlsPort), &tls.Config{ServerName: host, RootCAs: roots})
				if err != nil {
					return nil, err
				}
				defer c.Close()
				return c.ConnectionState().PeerCertificates[0], nil
			}
			var first *x509.Certificate
			until(t, "the certificate of the CA is served", func() (err error) {
				first, err = at("shop.example.com")
				return err
			})
			p.stop()
			run()
			until(t, "after a restart it is there", func() error {
				again, err := at("shop.example.com")
				if err == nil && again.SerialNumber.Cmp(first.SerialNumber) != 0 {
					t.Fatal("the gateway has asked for another certificate after a restart")
				}
				return err
			})
			apply("next.example.com")
			until(t, "a host that is added", func() error {
				_, err := at("next.example.com")
				return err
			})
		})
	}
}

// startProgram serves HTTP until the test ends.
func startProgram(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, "hello")
	})}
	go func() { _ = s.Serve(ln) }()
	t.Cleanup(func() { _ = s.Close() })
	return ln.Addr().(*net.TCPAddr).Port
}
