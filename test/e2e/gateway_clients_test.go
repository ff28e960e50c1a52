package e2e

import (
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"
)

// revoke is a list of revoked serial numbers that holds for an hour, PEM.
func (a *authority) revoke(serials ...int64) string {
	a.t.Helper()
	list := &x509.RevocationList{Number: big.NewInt(a.next), ThisUpdate: time.Now().Add(-time.Minute), NextUpdate: time.Now().Add(time.Hour)}
	for _, s := range serials {
		list.RevokedCertificateEntries = append(list.RevokedCertificateEntries, x509.RevocationListEntry{SerialNumber: big.NewInt(s), RevocationTime: list.ThisUpdate})
	}
	der, err := x509.CreateRevocationList(rand.Reader, list, a.cert, a.key)
	if err != nil {
		a.t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "X509 CRL", Bytes: der}))
}

// TestIstioClientsLetIn: a gateway of a mesh lets in clients by the names in their certificates, and no longer one whose
// certificate comes onto the list of revoked ones, which is a file that the gateway follows.
func TestIstioClientsLetIn(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.httpService("web", "v2")
	m.ready("web", 2)
	ca := newAuthority(t)
	cert, key := ca.issue("web.test")
	m.file("web.crt", string(cert))
	m.file("web.key", string(key))
	m.file("ca.crt", string(ca.pem))
	m.file("ca.crl", ca.revoke())
	port := freePort(t)
	m.gateway("--labels", "istio=ingressgateway", "--certificates", m.dir)
	edge := strings.Replace(fmt.Sprintf(istioServers, port, freePort(t)), "caCertificates: ca.crt}",
		"caCertificates: ca.crt, caCrl: ca.crl, subjectAltNames: [reader, late], cipherSuites: [ECDHE-ECDSA-AES128-GCM-SHA256]}", 1)
	m.must("apply", "--wait", "-f", m.file("edge.yaml", edge))
	url := fmt.Sprintf("https://web.test:%d/", port)
	serial := ca.next
	reader, late, writer := ca.caller(port, "reader"), ca.caller(port, "late"), ca.caller(port, "writer")
	eventually(t, 30*time.Second, "HTTPS is served", func() error {
		if status, body := ask(t, reader, url); status != 200 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := ask(t, writer, url); status != 0 {
		t.Errorf("a client of another name: %d %s", status, body)
	}
	m.file("ca.crl", ca.revoke(serial, 77))
	eventually(t, 30*time.Second, "the revoked client is refused", func() error {
		if status, body := ask(t, reader, url); status != 0 {
			return fmt.Errorf("%d %s", status, body)
		}
		return nil
	})
	if status, body := ask(t, late, url); status != 200 {
		t.Errorf("a client that is not revoked: %d %s", status, body)
	}
}
