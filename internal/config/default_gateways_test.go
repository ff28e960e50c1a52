package config

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

const defaultGateways = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: a}
spec: {gatewayClassName: weft, defaultScope: All, addresses: [{value: 127.0.0.1}], listeners: [{name: http, port: 80, protocol: HTTP, allowedRoutes: {namespaces: {from: All}}}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: b}
spec: {gatewayClassName: weft, defaultScope: All, addresses: [{value: 127.0.0.1}], listeners: [{name: http, port: 81, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: none}
spec: {gatewayClassName: weft, defaultScope: None, addresses: [{value: 127.0.0.1}], listeners: [{name: http, port: 82, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: both}
spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: far, namespace: other}
spec: {useDefaultGateways: All, hostnames: [far.example], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: named}
spec: {useDefaultGateways: All, hostnames: [named.example], parentRefs: [{name: none}, {name: a}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: off}
spec: {useDefaultGateways: None, hostnames: [off.example], parentRefs: [{name: none}], rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: bytes}
spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: web, port: 80}]}]}
`

// hostsOf says which hosts of which routes each port has.
func hostsOf(sockets []model.Socket) map[uint16]string {
	out := map[uint16]string{}
	for _, s := range sockets {
		var all []string
		for _, r := range s.Listeners[0].Rules {
			all = append(all, r.Ref.Name+strings.Join(r.Hosts, ","))
		}
		out[s.Address.Port()] = strings.Join(all, " ")
	}
	return out
}

// TestDefaultGateways attaches routes to the Gateways with a default scope, and to those that they name besides, at a
// gateway and in a mesh; conditions say so.
func TestDefaultGateways(t *testing.T) {
	rs, problems := ParseStandalone([]document.Source{{File: "m.yaml", Data: []byte(defaultGateways)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	alone := CompileStandalone(StandaloneInput{Resources: rs})
	mesh, warnings := compileMesh(t, defaultGateways)
	var sockets []model.Socket
	for _, name := range []string{"a", "b", "none"} {
		sockets = append(sockets, mesh.Gateway("default", name, nil)...)
	}
	for where, got := range map[string]map[uint16]string{"standalone": hostsOf(alone.Snapshot.Sockets), "mesh": hostsOf(sockets)} {
		for port, want := range map[uint16]string{80: "both namednamed.example farfar.example", 81: "both namednamed.example", 82: "namednamed.example offoff.example"} {
			if got[port] != want {
				t.Errorf("%s: port %d has %q, want %q", where, port, got[port], want)
			}
		}
	}
	for where, status := range map[string]map[ResourceKey][]Condition{"standalone": alone.Status, "mesh": mesh.Status} {
		for name, want := range map[string]bool{"a": true, "b": true, "none": false} {
			is := false
			for _, c := range status[ResourceKey{"Gateway", "default", name}] {
				is = is || c.Type == ConditionDefaultGateway && c.Status == "True" && c.Message == "Gateway has default scope All"
			}
			if is != want {
				t.Errorf("%s: Gateway %s is a default one: %t", where, name, is)
			}
		}
		// Two HTTP listeners do not take it: it is bound nowhere, and says why.
		if c := status[ResourceKey{"TCPRoute", "default", "bytes"}][0]; c.Status != "False" || c.Reason != ReasonNotAllowedByListeners {
			t.Errorf("%s: the TCPRoute: %+v", where, c)
		}
	}
	parents := mesh.Parents[ResourceKey{"HTTPRoute", "other", "far"}]
	if len(parents) != 1 || parents[0].Name != "default/a" || parents[0].Conditions[0].Status != "True" || parents[0].Conditions[0].Message != "Route is bound to default Gateway" {
		t.Errorf("parents of a route of another namespace: %+v", parents)
	}
	if n := len(mesh.Parents[ResourceKey{"HTTPRoute", "default", "named"}]); n != 3 {
		t.Errorf("a route that names two Gateways and has the defaults has %d parents", n)
	}
	var told string
	for _, w := range warnings {
		told += w.Error() + "\n"
	}
	if strings.Contains(told, "m.yaml:25:28") || !strings.Contains(told, "m.yaml:40:28: spec.useDefaultGateways: the default Gateway default/a does not take the route: listener default/a/http takes no TCPRoute") {
		t.Errorf("warnings:\n%s", told)
	}
}

// TestNoDefaultGateway says of a route that has no other parent that there is no default Gateway.
func TestNoDefaultGateway(t *testing.T) {
	const text = `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: alone}
spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: inside}
spec: {useDefaultGateways: All, parentRefs: [{group: "", kind: Service, name: web}], rules: [{backendRefs: [{name: web, port: 80}]}]}
`
	for _, more := range []string{"", "---\napiVersion: gateway.networking.k8s.io/v1\nkind: Gateway\nmetadata: {name: g}\nspec: {gatewayClassName: weft, listeners: [{name: http, port: 80, protocol: HTTP}]}\n"} {
		mesh, _ := compileMesh(t, text+more)
		alone, inside := mesh.Status[ResourceKey{"HTTPRoute", "default", "alone"}][0], mesh.Status[ResourceKey{"HTTPRoute", "default", "inside"}][0]
		if alone.Status != "False" || alone.Reason != ReasonNoMatchingParent || alone.Message != "there is no default Gateway" {
			t.Errorf("%+v", alone)
		}
		if inside.Status != "True" {
			t.Errorf("a route with a Service as parent: %+v", inside)
		}
	}
}
