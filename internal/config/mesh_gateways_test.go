package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// compileMesh compiles documents with services web (v1 and v2) and shop/cart.
func compileMesh(t *testing.T, text string) (*Mesh, []document.Problem) {
	t.Helper()
	resources, problems := ParseSet([]document.Source{{File: "m.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	var services []model.Service
	for _, n := range []model.ServiceName{{Namespace: "default", Name: "web"}, {Namespace: "shop", Name: "cart"}} {
		s := model.Service{Name: n, Ports: []model.Port{{Number: 80, Protocol: model.HTTP}}}
		for _, v := range []string{"v1", "v2"} {
			s.Endpoints = append(s.Endpoints, model.Endpoint{ID: n.Name + v, Labels: map[string]string{"version": v}, Ports: []uint16{80}})
		}
		services = append(services, s)
	}
	return Compile(Input{TrustDomain: "mesh.test", Resources: resources, Registry: Registry{Services: services}})
}

const twoGateways = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners:
  - {name: http, port: 8080, protocol: HTTP}
  - name: https
    port: 8443
    protocol: HTTPS
    tls: {options: {weft.dev/certificate-file: a.crt, weft.dev/key-file: a.key}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: other}
spec:
  gatewayClassName: weft
  addresses: [{value: 10.1.1.1}]
  listeners: [{name: http, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}, {name: none}, {group: "", kind: Service, name: web}]
  rules:
  - matches: [{path: {type: PathPrefix, value: /cart}}]
    backendRefs: [{name: cart, namespace: shop, port: 80}]
  - backendRefs: [{name: web-v1, port: 80}]
    filters: [{type: RequestMirror, requestMirror: {backendRef: {name: web-v2, port: 80}}}]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: p}
spec:
  targetRefs: [{group: gateway.networking.k8s.io, kind: Gateway, name: edge, sectionName: https}]
  timeouts: {request: 7s}
`

// TestGatewaysOfTheMesh compiles Gateways of which each has proxies of its own.
func TestGatewaysOfTheMesh(t *testing.T) {
	mesh, warnings := compileMesh(t, twoGateways)
	bind := []netip.Addr{netip.MustParseAddr("10.0.0.1"), netip.MustParseAddr("10.0.0.2")}
	edge := mesh.Gateway("default", "edge", bind)
	var at []string
	for _, s := range edge {
		at = append(at, s.Address.String()+" "+string(s.Kind))
		for _, ln := range s.Listeners {
			if len(ln.Rules) != 2 || !strings.HasPrefix(ln.Rules[0].Backends[0].Invalid, ReasonRefNotPermitted) || ln.Rules[1].Backends[0].Invalid != "" {
				t.Errorf("%s: %+v", ln.Name, ln.Rules)
			}
			limited := ln.Rules[1].Policy != nil && ln.Rules[1].Policy.Timeout.Seconds() == 7
			if tls := s.Kind == model.SocketHTTPS; limited != tls || tls && ln.Certificates[0].KeyFile != "a.key" {
				t.Errorf("%s: policy %+v, certificates %+v", ln.Name, ln.Rules[1].Policy, ln.Certificates)
			}
		}
	}
	if want := []string{"10.0.0.1:8080 http", "10.0.0.1:8443 https", "10.0.0.2:8080 http", "10.0.0.2:8443 https"}; !slices.Equal(at, want) {
		t.Errorf("sockets at %q, want %q", at, want)
	}
	if s := mesh.Gateway("default", "edge", nil); len(s) != 4 || s[0].Address.String() != "127.0.0.1:8080" || s[0].Optional || !s[3].Optional {
		t.Errorf("without addresses: %+v", s)
	}
	if s := mesh.Gateway("default", "other", bind); len(s) != 1 || s[0].Address.String() != "10.1.1.1:8080" {
		t.Errorf("one with its own address: %+v", s)
	}
	if s := mesh.Gateway("default", "none", bind); s != nil {
		t.Errorf("one that is not there: %+v", s)
	}
	if rules := mesh.Services[model.ServiceName{Namespace: "default", Name: "web"}].Rules; len(rules) != 2 {
		t.Errorf("the Service as parent has %d rules", len(rules))
	}
	route := mesh.Status[ResourceKey{"HTTPRoute", "default", "r"}]
	if route[0].Status != "False" || route[0].Reason != ReasonNoMatchingParent || route[1].Reason != ReasonRefNotPermitted {
		t.Errorf("status of the route: %+v", route)
	}
	gw := mesh.Status[ResourceKey{"Gateway", "default", "edge"}]
	if len(gw) != 3 || gw[0].Status != "True" || gw[2].Type != ConditionProgrammed || gw[2].Message != "2 of 2 listeners" {
		t.Errorf("status of the Gateway: %+v", gw)
	}
	for _, w := range warnings {
		if !w.Warning {
			t.Errorf("no warning: %v", w)
		}
	}
	if len(warnings) != 2 {
		t.Errorf("%d warnings: %v", len(warnings), warnings)
	}
}

// TestMeshGatewayConflicts closes listeners of one Gateway that cannot share a port, and refuses no others.
func TestMeshGatewayConflicts(t *testing.T) {
	text := strings.Replace(twoGateways, "port: 8443\n    protocol: HTTPS", "port: 8080\n    protocol: HTTPS", 1)
	mesh, warnings := compileMesh(t, text)
	if s := mesh.Gateway("default", "edge", nil); s != nil {
		t.Errorf("sockets in conflict: %+v", s)
	}
	for _, ln := range mesh.Listeners[ResourceKey{"Gateway", "default", "edge"}] {
		if c := ln.Conditions[3]; ln.Conditions[0].Status != "False" || c.Type != ConditionListenerConflicted || c.Status != "True" || c.Reason != ReasonProtocolConflict || ln.Attached != 1 {
			t.Errorf("listener %s: %+v", ln.Name, ln)
		}
	}
	if s := mesh.Gateway("default", "other", nil); len(s) != 1 {
		t.Errorf("the other Gateway: %+v", s)
	}
	if !slices.ContainsFunc(warnings, func(p document.Problem) bool { return strings.Contains(p.Message, "on port 8080") }) {
		t.Errorf("warnings: %v", warnings)
	}
	managed := strings.Replace(twoGateways, "    tls: {options: {weft.dev/certificate-file: a.crt, weft.dev/key-file: a.key}}", "    hostname: a.test\n    tls: {options: {weft.dev/acme: \"true\"}}", 1)
	if mesh, warnings := compileMesh(t, managed); len(mesh.Gateway("default", "edge", nil)) != 4 || !mesh.Gateway("default", "edge", nil)[3].Listeners[0].ACME {
		t.Errorf("ACME in a mesh: %v", warnings)
	}
	if mesh, _ := compileMesh(t, "apiVersion: v1\nkind: Namespace\nmetadata: {name: x}\n"); mesh.Gateway("default", "edge", nil) != nil {
		t.Error("a mesh without Gateways has one")
	}
}

// TestPolicyOfClients has a policy of a Gateway reach its sockets: there is one word for all listeners of a socket.
func TestPolicyOfClients(t *testing.T) {
	policy := func(target string) string {
		return twoGateways + "---\napiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: clients}\nspec:\n  targetRefs: [{kind: Gateway, name: edge" + target +
			"}]\n  clients: {proxyProtocol: {trustedSources: [10.0.0.0/8]}}\n"
	}
	for _, x := range []struct {
		name, text    string
		http, https   bool
		disagreements int
	}{
		{"of the Gateway", policy(""), true, true, 0},
		{"of a listener", policy(", sectionName: https"), false, true, 0},
		{"of one listener of two on a port", strings.Replace(policy(", sectionName: https"), "  - name: https\n    port: 8443", "  - name: more\n    port: 8443\n    hostname: a.test\n    protocol: HTTPS\n    tls: {options: {weft.dev/certificate-file: a.crt, weft.dev/key-file: a.key}}\n  - name: https\n    port: 8443", 1), false, true, 1},
	} {
		mesh, warnings := compileMesh(t, x.text)
		sockets := mesh.Gateway("default", "edge", []netip.Addr{netip.MustParseAddr("10.0.0.1")})
		if len(sockets) != 2 || (sockets[0].ProxyProtocol != nil) != x.http || (sockets[1].ProxyProtocol != nil) != x.https {
			t.Errorf("%s: %+v", x.name, sockets)
		}
		n := 0
		for _, w := range warnings {
			if strings.Contains(w.Message, "PROXY protocol") {
				n++
			}
		}
		if n != x.disagreements {
			t.Errorf("%s: %v", x.name, warnings)
		}
	}
}
