package e2e

import (
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// istioEgress is Istio's documented way through an egress gateway (tasks "Egress Gateways" and "Egress Gateways with TLS
// Origination"), with a host of the test's: HTTP goes to the gateway by the mesh's TLS, which begins TLS to the host;
// the program's own TLS goes through by its server name.
const istioEgress = `---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata:
  name: istio-egressgateway
spec:
  selector:
    istio: egressgateway
  servers:
  - port:
      number: 80
      name: https-port-for-tls-origination
      protocol: HTTPS
    hosts:
    - api.outside.test
    tls:
      mode: ISTIO_MUTUAL
  - port:
      number: 443
      name: tls
      protocol: TLS
    hosts:
    - api.outside.test
    tls:
      mode: PASSTHROUGH
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: egressgateway-for-outside
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  subsets:
  - name: outside
    trafficPolicy:
      loadBalancer:
        simple: ROUND_ROBIN
      portLevelSettings:
      - port:
          number: 80
        tls:
          mode: ISTIO_MUTUAL
          sni: api.outside.test
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata:
  name: direct-outside-through-egress-gateway
spec:
  hosts:
  - api.outside.test
  gateways:
  - istio-egressgateway
  - mesh
  http:
  - match:
    - gateways:
      - mesh
      port: 80
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: outside
        port:
          number: 80
      weight: 100
  - match:
    - gateways:
      - istio-egressgateway
      port: 80
    route:
    - destination:
        host: api.outside.test
        port:
          number: 443
      weight: 100
  tls:
  - match:
    - gateways:
      - mesh
      port: 443
      sniHosts:
      - api.outside.test
    route:
    - destination:
        host: istio-egressgateway.istio-system.svc.cluster.local
        subset: outside
        port:
          number: 443
  - match:
    - gateways:
      - istio-egressgateway
      port: 443
      sniHosts:
      - api.outside.test
    route:
    - destination:
        host: api.outside.test
        port:
          number: 443
      weight: 100
`

// istioOrigination has TLS begun on port 443.
const istioOrigination = `---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata:
  name: originate-tls-for-outside
spec:
  host: api.outside.test
  trafficPolicy:
    loadBalancer:
      simple: ROUND_ROBIN
    portLevelSettings:
    - port:
        number: 443
      tls:
        mode: MUTUAL
        clientCertificate: client.crt
        privateKey: client.key
        caCertificates: outside-ca.crt
`

// TestIstioEgressGateway: Istio's documents as they are.
func TestIstioEgressGateway(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	o := newOutsider(t, "api.outside.test")
	o.files(m)
	log := filepath.Join(m.dir, "egress.log")
	m.gateway("--egress", "--labels", "istio=egressgateway", "--certificates", m.dir, "--access-log", log)
	entry := fmt.Sprintf(outsideEntry, o.plain, o.mutual, o.plain)
	m.must("apply", "--wait", "-f", m.file("out.yaml", entry+istioEgress+istioOrigination))
	eventually(t, 30*time.Second, "HTTP leaves by the gateway, which begins TLS", func() error {
		if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "outside api.outside.test for the-mesh\n200") {
			return errors.New(got)
		}
		return nil
	})
	left := egressLine(t, log)
	for _, want := range []string{
		`"direction":"inbound"`, `"tls":"mutual"`, `"source_id":"spiffe://mesh.local/ns/default/sa/load"`, `"destination":"default/api.outside.test"`,
		`"route":"VirtualService default/direct-outside-through-egress-gateway`,
	} {
		if !strings.Contains(left, want) {
			t.Errorf("the gateway's access log lacks %s: %s", want, left)
		}
	}
	if out := m.must("explain", "--gateway", "istio-system/istio-egressgateway", "http://api.outside.test/"); !strings.Contains(out, "default/istio-egressgateway/server-0") || !strings.Contains(out, "default/api.outside.test") {
		t.Errorf("explain at the gateway:\n%s", out)
	}
	if status := m.must("describe", "virtualservice", "direct-outside-through-egress-gateway"); strings.Contains(status, "False") {
		t.Errorf("status:\n%s", status)
	}
	// A TLS of the program's own goes through, by its server name. The gateway begins none then.
	m.must("delete", "destinationrule", "originate-tls-for-outside", "--wait")
	eventually(t, 30*time.Second, "TLS goes through the gateway", func() error {
		if got := m.curl("--cacert", filepath.Join(m.dir, "outside-ca.crt"), "https://api.outside.test/"); !strings.HasSuffix(got, "outside api.outside.test for nobody\n200") {
			return errors.New(got)
		}
		return nil
	})
	if left := egressLine(t, log); !strings.Contains(left, `"protocol":"tcp"`) || !strings.Contains(left, `"destination":"default/api.outside.test"`) {
		t.Errorf("the gateway's access log of TLS: %s", left)
	}
}
