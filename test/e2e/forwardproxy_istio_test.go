package e2e

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// throughForwardProxy is a forward proxy outside, by which TLS for a host leaves, and a bound on port 80 of the host alone
// (Istio, TrafficPolicy.tunnel and portLevelSettings).
const throughForwardProxy = `---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: forward-proxy}
spec:
  hosts: [proxy.corp.test]
  resolution: STATIC
  ports: [{number: 3128, name: http-connect, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http-connect: %d}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: forward-proxy}
spec:
  host: proxy.corp.test
  subsets:
  - name: to-outside
    trafficPolicy: {tunnel: {protocol: CONNECT, targetHost: api.outside.test, targetPort: 443}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: through-forward-proxy}
spec:
  hosts: [api.outside.test]
  http:
  - route: [{destination: {host: api.outside.test}}]
  tls:
  - match: [{port: 443, sniHosts: [api.outside.test]}]
    route: [{destination: {host: proxy.corp.test, subset: to-outside, port: {number: 3128}}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: outside}
spec:
  host: api.outside.test
  trafficPolicy:
    connectionPool: {http: {http2MaxRequests: 7}}
    portLevelSettings: [{port: {number: 80}, connectionPool: {http: {http2MaxRequests: 5}}}]
`

// forwardProxy connects those who ask for a target to an address, and counts them.
func forwardProxy(t *testing.T, target, to string, asked *atomic.Int64) int {
	return behaving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect || r.Host != target {
			http.Error(w, "not allowed", http.StatusForbidden)
			return
		}
		asked.Add(1)
		up, err := net.Dial("tcp", to)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		defer up.Close()
		c, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer c.Close()
		_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(up, rw) }()
		_, _ = io.Copy(c, up)
	}))
}

// TestIstioForwardProxy: a program's own TLS goes by CONNECT through the forward proxy that Istio's documents name, and the
// settings of one port are that port's.
func TestIstioForwardProxy(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	o := newOutsider(t, "api.outside.test")
	o.files(m)
	var asked atomic.Int64
	port := forwardProxy(t, "api.outside.test:443", fmt.Sprintf("127.0.0.1:%d", o.mutual), &asked)
	// The host itself is where nobody listens: only the forward proxy knows the way.
	entry := fmt.Sprintf(outsideEntry, o.plain, 1, 1) + fmt.Sprintf(throughForwardProxy, port)
	m.must("apply", "--wait", "-f", m.file("out.yaml", entry))
	eventually(t, 30*time.Second, "TLS goes through the forward proxy", func() error {
		if got := m.curl("--cacert", filepath.Join(m.dir, "outside-ca.crt"), "https://api.outside.test/"); !strings.HasSuffix(got, "outside api.outside.test for nobody\n200") {
			return errors.New(got)
		}
		return nil
	})
	if asked.Load() == 0 {
		t.Error("the forward proxy was not asked")
	}
	if got := m.curl("http://api.outside.test/"); !strings.HasSuffix(got, "outside api.outside.test for nobody\n200") || asked.Load() != 1 {
		t.Errorf("HTTP, which goes directly: %s, the forward proxy was asked %d times", got, asked.Load())
	}
	for url, want := range map[string]string{"api.outside.test:80": "5 requests in flight", "api.outside.test:7000": "7 requests in flight"} {
		if out := m.must("explain", url, "--from", "load"); !strings.Contains(out, want) {
			t.Errorf("explain %s lacks %q:\n%s", url, want, out)
		}
	}
}
