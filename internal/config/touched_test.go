package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
)

func TestTouched(t *testing.T) {
	route := func(namespace, parent string, weight int) string {
		return fmt.Sprintf(`---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: %s}
spec:
  parentRefs: [{group: "", kind: Service, name: %s, namespace: default}]
  rules:
  - backendRefs: [{name: a, namespace: default, port: 80, weight: %d}]
`, namespace, parent, weight)
	}
	services := ""
	for _, n := range []string{"a", "b"} {
		services += "---\napiVersion: v1\nkind: Service\nmetadata: {name: " + n + "}\nspec: {ports: [{port: 80}]}\n"
	}
	compile := func(text string) *Mesh {
		set, problems := ParseSet([]document.Source{{File: "x.yaml", Data: []byte(text)}}, document.Limits{})
		if problems.Failed() {
			t.Fatal(problems.Err())
		}
		m, _ := Compile(Input{TrustDomain: "mesh.local", Resources: set})
		return m
	}
	base := services + route("default", "a", 1)
	for _, c := range []struct{ name, after, want string }{
		{"nothing", base, "[]"},
		{"only where it is written", "# a line more\n" + base, "[]"},
		{"a weight", services + route("default", "a", 2), "[default/a]"},
		{"another parent", services + route("default", "b", 1), "[default/a default/b]"},
		{"for one namespace's clients", base + route("shop", "b", 1), "[default/b]"},
		{"a port", strings.Replace(base, "port: 80}]", "port: 81}]", 1), "[default/a]"},
		{"a service less", strings.Replace(base, "name: b}", "name: c}", 1), "[default/b]"},
	} {
		if got := fmt.Sprint(Touched(compile(base), compile(c.after))); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}

func TestTouchedListeners(t *testing.T) {
	before, _ := compileMesh(t, twoGateways+"---"+selectedDocuments)
	for _, c := range []struct{ name, from, to, want string }{
		{"nothing", "", "", "[]"},
		{"only where it is written", "apiVersion", "# a line more\napiVersion", "[]"},
		{"a route", "value: /cart", "value: /basket", "[default/edge/http default/edge/https]"},
		{"a policy of one listener", "request: 7s", "request: 8s", "[default/edge/https]"},
		{"a certificate", "a.crt, weft.dev", "b.crt, weft.dev", "[default/edge/https]"},
		{"an address", "10.1.1.1", "10.1.1.2", "[default/other/http]"},
		{"a subset of Istio's", "subset: v2", "subset: v1", "[default/edge/server-0 default/edge/server-1 shop/zone/server-0/*.shop.test]"},
		{"a listener less", "name: other}", "name: another}", "[default/other/http]"},
	} {
		after, _ := compileMesh(t, strings.Replace(twoGateways+"---"+selectedDocuments, c.from, c.to, 1))
		if got := fmt.Sprint(TouchedListeners(before, after)); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
}
