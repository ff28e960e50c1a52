package e2e

import (
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
)

// TestGatewayExplainUDP asks why a session of datagrams goes where it goes at a gateway of a mesh, and has it name an
// endpoint that refuses datagrams and until when that is left out.
func TestGatewayExplainUDP(t *testing.T) {
	m := newMesh(t)
	server := nameServer(t, netip.MustParseAddr("10.0.0.1"))
	refusing, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	gone := portOf(refusing)
	refusing.Close()
	port := freePort(t)
	m.must("apply", "--wait", "-f", m.file("edge.yaml", fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners: [{name: dns, port: %[1]d, protocol: UDP}, {name: web, port: %[1]d, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: dns}
spec:
  parentRefs: [{name: edge, sectionName: dns}]
  rules: [{backendRefs: [{name: outside, port: 53}, {name: nobody, port: 53}]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [outside.default.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 53, name: dns, protocol: UDP}]
  endpoints: [{address: 127.0.0.1, ports: {dns: %[2]d}}, {address: 127.0.0.1, ports: {dns: %[3]d}}]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: outside}
spec:
  targetRefs: [{kind: Service, name: outside}]
  ejection: {consecutiveLocalErrors: 1, penalty: {base: 5m, max: 5m}}
  limits: {connections: 100}
  timeouts: {idle: 2s}
`, port, portOf(server), gone)))
	m.gateway("--gateway", "default/edge")
	local := netip.MustParseAddr("127.0.0.1")
	at := fmt.Sprintf("udp://127.0.0.1:%d", port)
	var out string
	eventually(t, 60*time.Second, "an endpoint is left out", func() error {
		_, _ = lookup(t, port, local) // half of the questions have no backend
		if out = m.must("explain", "--gateway", "default/edge", at); !strings.Contains(out, "ejected until") {
			return fmt.Errorf("explain:\n%s", out)
		}
		return nil
	})
	for _, want := range []string{
		"default/edge/dns", "UDPRoute default/dns rule 0", "takes every datagram of the listener", "50% of sessions", "dropped (bad_backend): BackendNotFound",
		"100 sessions at each proxy", "a session without a datagram for 2s ends", "may be picked for a session", fmt.Sprintf("127.0.0.1:%d", gone),
	} {
		if !strings.Contains(out, want) {
			t.Errorf("explain lacks %q:\n%s", want, out)
		}
	}
	if out := m.must("explain", "--gateway", "default/edge", "udp://127.0.0.1:1"); !strings.Contains(out, fmt.Sprintf("%d/udp", port)) {
		t.Errorf("explain of a port that nobody has:\n%s", out)
	}
}
