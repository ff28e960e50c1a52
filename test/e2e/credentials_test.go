package e2e

import (
	"encoding/base64"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// credentialRule has TLS begun on port 443 with the certificate of a Secret, for requests of HTTP on port 80.
const credentialRule = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.outside.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside}
spec:
  host: api.outside.test
  trafficPolicy: {tls: {mode: MUTUAL, credentialName: client}}
`

// relayRule sends requests of another namespace to the host outside.
const relayRule = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: relay, namespace: elsewhere}
spec:
  hosts: [relay.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %d}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: relay, namespace: elsewhere}
spec:
  hosts: [relay.test]
  http: [{route: [{destination: {host: api.outside.test}}]}]
`

// credential is a Secret with a certificate for a name, and the CA of the host outside.
func (o *outsider) credential(name string) string {
	text := strings.TrimSuffix(o.ca.secret("client", name), "}\n")
	return text + fmt.Sprintf(", ca.crt: %s}\n", base64.StdEncoding.EncodeToString(o.ca.pem))
}

// TestIstioCredentials: a sidecar shows a host outside the certificate of a Secret of its namespace, also a new one; the
// sidecars of other namespaces send nothing; where requests leave by a gateway, the gateway shows it.
func TestIstioCredentials(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	o := newOutsider(t, "api.outside.test")
	shows := func(who string) {
		t.Helper()
		eventually(t, 30*time.Second, "the host is shown the certificate of "+who, func() error {
			if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "outside api.outside.test for "+who+"\n200") {
				return errors.New(got)
			}
			return nil
		})
	}
	m.must("apply", "--wait", "-f", m.file("out.yaml", fmt.Sprintf(credentialRule, o.mutual)+o.credential("first")))
	shows("first")
	m.must("apply", "--wait", "-f", m.file("secret.yaml", o.credential("second")))
	shows("second")
	calls := o.calls.Load()
	m.must("apply", "--wait", "-f", m.file("relay.yaml", fmt.Sprintf(relayRule, o.plain)))
	other := m.weft("run", "--service", "load", "-n", "elsewhere", "--", "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "http://relay.test/")
	if !strings.HasSuffix(other.stdout, "503") || !strings.Contains(other.stdout, "default/client") || o.calls.Load() != calls {
		t.Errorf("a program of another namespace: %+v, and %d calls", other, o.calls.Load()-calls)
	}
	// The same by files, which the sidecar has.
	o.files(m)
	byFiles := strings.Replace(fmt.Sprintf(credentialRule, o.mutual), "credentialName: client", "clientCertificate: client.crt, privateKey: client.key, caCertificates: outside-ca.crt", 1)
	m.must("apply", "--wait", "-f", m.file("files.yaml", byFiles))
	asks := []string{"--", "curl", "-sS", "--max-time", "20", "-w", "\n%{http_code}", "http://api.outside.test/"}
	if out := m.weft(append([]string{"run", "--service", "load", "--certificates", m.dir}, asks...)...); !strings.HasSuffix(out.stdout, "for the-mesh\n200") {
		t.Errorf("by files: %+v", out)
	}
	if out := m.weft(append([]string{"run", "--service", "load", "--certificates", t.TempDir()}, asks...)...); !strings.HasSuffix(out.stdout, "503") || !strings.Contains(out.stdout, "there is no file outside-ca.crt") {
		t.Errorf("by files that are not there: %+v", out)
	}
	m.must("apply", "--wait", "-f", m.file("out.yaml", fmt.Sprintf(credentialRule, o.mutual)+o.credential("second")))
	if out := m.must("get", "secrets", "-o", "yaml") + m.must("explain", "api.outside.test", "--from", "load"); strings.Contains(out, "PRIVATE KEY") {
		t.Errorf("a key is shown:\n%s", out)
	}
	log := filepath.Join(m.dir, "egress.log")
	m.gateway("--egress", "--as", "infra/egress", "--access-log", log)
	m.must("apply", "--wait", "-f", m.file("policy.yaml", strings.TrimPrefix(egressPolicy, "---\n")))
	eventually(t, 30*time.Second, "requests leave by the gateway, which shows the certificate", func() error {
		if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "for second\n200") {
			return errors.New(got)
		}
		return nil
	})
	if left := egressLine(t, log); !strings.Contains(left, `"destination":"default/api.outside.test"`) {
		t.Errorf("the gateway's access log: %s", left)
	}
}
