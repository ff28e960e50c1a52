package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// TestDefaultGateways has a route without parents serve at a Gateway of a mesh as soon as that is a default one, and no
// longer than it is.
func TestDefaultGateways(t *testing.T) {
	m := newMesh(t)
	m.httpService("web", "v1")
	m.ready("web", 1)
	port := freePort(t)
	edge := func(scope string) string {
		return m.file("edge.yaml", fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: edge}\nspec: {gatewayClassName: weft, defaultScope: %s, listeners: [{name: http, port: %d, protocol: HTTP}]}\n", scope, port))
	}
	m.must("apply", "--wait", "-f", edge("None"))
	m.must("apply", "--wait", "-f", m.file("route.yaml", "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: web}\nspec: {useDefaultGateways: All, rules: [{backendRefs: [{name: web, port: 80}]}]}\n"))
	m.gateway("--gateway", "default/edge")
	url := fmt.Sprintf("http://127.0.0.1:%d/", port)
	answers := func(what string, want int) {
		t.Helper()
		eventually(t, 30*time.Second, what, func() error {
			resp, err := http.Get(url)
			if err != nil {
				return err
			}
			defer resp.Body.Close()
			if resp.StatusCode != want {
				return fmt.Errorf("%d", resp.StatusCode)
			}
			return nil
		})
	}
	answers("the gateway has no route", 404)
	m.must("apply", "--wait", "-f", edge("All"))
	answers("the default gateway serves the route", 200)
	if out := m.must("describe", "gateway", "edge"); !strings.Contains(out, "DefaultGateway") {
		t.Errorf("describe gateway:\n%s", out)
	}
	if out := m.must("describe", "httproute", "web"); !strings.Contains(out, "bound to default Gateway default/edge") {
		t.Errorf("describe httproute:\n%s", out)
	}
	m.must("apply", "--wait", "-f", edge("None"))
	answers("the gateway has no route any more", 404)
}
