package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// defaultEndpoint serves HTTP and bytes; what no VirtualService takes goes to programs beside the gateway.
const defaultEndpoint = `apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: %[1]d, name: http, protocol: HTTP}
    hosts: ["*"]
    defaultEndpoint: 127.0.0.1:%[3]d
  - port: {number: %[2]d, name: tcp, protocol: TCP}
    hosts: ["*"]
    defaultEndpoint: 127.0.0.1:%[3]d
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: api}
spec:
  hosts: [api.test]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %[4]d}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: api}
spec:
  hosts: [api.test]
  gateways: [edge]
  http: [{match: [{uri: {prefix: /api}}], route: [{destination: {host: api.test}}]}]
`

// TestIstioDefaultEndpoint: a program beside the gateway has what no VirtualService takes, at a gateway from files and at
// one of a mesh.
func TestIstioDefaultEndpoint(t *testing.T) {
	program := func(name string) int {
		return behaving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, name+" "+r.Host+r.URL.Path)
		}))
	}
	beside, api := program("beside"), program("api")
	check := func(t *testing.T, port, tcp int) {
		t.Helper()
		for _, c := range []struct {
			port             int
			host, path, want string
		}{
			{port, "api.test", "/api/1", "api api.test/api/1"},
			{port, "api.test", "/other", "beside api.test/other"},
			{port, "else.test", "/api/1", "beside else.test/api/1"},
			{tcp, "api.test", "/api/1", "beside api.test/api/1"},
		} {
			eventually(t, 30*time.Second, "the gateway serves", func() error {
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", c.port, c.path), nil)
				if err != nil {
					return err
				}
				req.Host, req.Close = c.host, true
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					return err
				}
				defer resp.Body.Close()
				b, err := io.ReadAll(resp.Body)
				if got := string(b); err != nil || resp.StatusCode != 200 || !strings.HasSuffix(got, c.want) {
					return fmt.Errorf("%s%s at %d: %d %q, %w", c.host, c.path, c.port, resp.StatusCode, got, err)
				}
				return nil
			})
		}
	}
	t.Run("files", func(t *testing.T) {
		port, tcp := freePort(t), freePort(t)
		runEdge(t, port, map[string]string{"edge.yaml": fmt.Sprintf(defaultEndpoint, port, tcp, beside, api)})
		check(t, port, tcp)
	})
	t.Run("mesh", func(t *testing.T) {
		port, tcp := freePort(t), freePort(t)
		m := newMesh(t)
		m.gateway("--labels", "istio=ingressgateway")
		m.must("apply", "--wait", "-f", m.file("edge.yaml", fmt.Sprintf(defaultEndpoint, port, tcp, beside, api)))
		check(t, port, tcp)
		if out := m.must("explain", "--gateway", "istio-system/istio-ingressgateway", fmt.Sprintf("http://else.test:%d/", port)); !strings.Contains(out, fmt.Sprintf("default-endpoint:127.0.0.1:%d", beside)) {
			t.Errorf("explain:\n%s", out)
		}
	})
}
