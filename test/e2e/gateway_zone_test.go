package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// TestGatewayZones has a gateway prefer the endpoints of its zone, as EndpointSlices and its labels say.
func TestGatewayZones(t *testing.T) {
	slice := ""
	for zone, ip := range map[string]string{"a": "127.0.0.1", "b": "127.0.0.2"} {
		l, err := net.Listen("tcp", ip+":0")
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, zone) })}
		done := make(chan struct{})
		go func() { defer close(done); _ = s.Serve(l) }()
		t.Cleanup(func() { s.Close(); <-done })
		slice += fmt.Sprintf("---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web-%[1]s, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{port: %[2]d}]\nendpoints: [{addresses: [%[3]s], zone: %[1]s}]\n",
			zone, l.Addr().(*net.TCPAddr).Port, ip)
	}
	port := freePort(t)
	e := &edge{t: t, dir: filepath.Join(t.TempDir(), "conf"), port: port}
	if err := os.Mkdir(e.dir, 0o700); err != nil {
		t.Fatal(err)
	}
	e.write("edge.yaml", fmt.Sprintf(`apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, defaultScope: All, listeners: [{name: http, port: %d, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: near}
spec: {targetRefs: [{kind: Service, name: web}], loadBalancing: {locality: {prefer: true}}}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
`, port)+slice)
	e.p = start(t, nil, bin(t, "weft"), "gateway", "-f", e.dir, "--bind", "127.0.0.1", "--labels", "topology.kubernetes.io/zone=b")
	eventually(t, 20*time.Second, "the gateway answers", func() error { return e.answers("b") })
	for range 50 {
		if err := e.answers("b"); err != nil {
			t.Fatal(err)
		}
	}
}
