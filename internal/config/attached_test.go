package config

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

const twoRoutes = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: tcp, port: 9000, protocol: TCP}, {name: udp, port: 9000, protocol: UDP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: a}
spec: {parentRefs: [{name: edge, sectionName: tcp}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: b}
spec: {parentRefs: [{name: edge, sectionName: tcp}], rules: [{backendRefs: [{name: other, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: a}
spec: {parentRefs: [{name: edge, sectionName: udp}], rules: [{backendRefs: [{name: web, port: 53}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: b}
spec: {parentRefs: [{name: edge, sectionName: udp}], rules: [{backendRefs: [{name: other, port: 53}]}]}
`

// TestTwoRoutesOfBytes has two TCPRoutes, and two UDPRoutes, of a listener both be accepted and counted as attached, while
// the first alone has effect: facts of the conformance tests TCPRouteMultipleRoutesAttachment and
// UDPRouteMultipleRoutesAttachment.
func TestTwoRoutesOfBytes(t *testing.T) {
	mesh, warnings := compileMesh(t, twoRoutes)
	for _, kind := range []string{"TCPRoute", "UDPRoute"} {
		for _, name := range []string{"a", "b"} {
			if c := mesh.Parents[ResourceKey{kind, "default", name}][0].Conditions[0]; c.Type != ConditionAccepted || c.Status != "True" {
				t.Errorf("%s %s: %+v", kind, name, c)
			}
		}
	}
	for _, ln := range mesh.Listeners[ResourceKey{"Gateway", "default", "edge"}] {
		if ln.Attached != 2 {
			t.Errorf("listener %s: %d routes are attached", ln.Name, ln.Attached)
		}
	}
	for _, s := range mesh.Gateway("default", "edge", nil) {
		routes := []string{}
		for _, r := range s.Listeners[0].Rules {
			routes = append(routes, r.Ref.Name)
		}
		if !slices.Equal(routes, []string{"a"}) {
			t.Errorf("%s: rules of %v", s.Kind, routes)
		}
	}
	if !told(warnings, "go to UDPRoute default/a, which is older: this route has no effect there") {
		t.Errorf("%v", warnings)
	}
}

// TestStandardAppProtocols takes the names of application protocols that Kubernetes has (KEP-3726).
func TestStandardAppProtocols(t *testing.T) {
	for name, want := range map[string]model.Protocol{
		"kubernetes.io/h2c": model.HTTP2, "kubernetes.io/ws": model.HTTP, "kubernetes.io/wss": model.HTTP, "HTTPS": model.HTTP,
	} {
		if got, err := model.ParseProtocol(name); got != want || err != nil {
			t.Errorf("%s is %s, %v", name, got, err)
		}
	}
}
