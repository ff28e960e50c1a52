package config

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

const meshUDP = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners: [{name: dns, port: 53, protocol: UDP}, {name: tcp, port: 53, protocol: TCP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: UDPRoute
metadata: {name: dns}
spec:
  parentRefs: [{name: edge, sectionName: dns}]
  rules: [{backendRefs: [{name: outside, port: 53}, {name: web, port: 80}, {name: mixed, port: 54}]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: TCPRoute
metadata: {name: dns}
spec:
  parentRefs: [{name: edge, sectionName: tcp}]
  rules: [{backendRefs: [{name: outside, port: 53}, {name: mixed, port: 53}]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [outside.default.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 53, name: dns, protocol: UDP, targetPort: 5353}]
  endpoints: [{address: 10.9.0.1}, {address: 10.9.0.2}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mixed}
spec:
  hosts: [mixed.default.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 53, name: dns, protocol: UDP}, {number: 53, name: dns-tcp, protocol: TCP}]
  endpoints: [{address: 10.9.0.3}]
`

// TestMeshUDPRoute has a gateway of the mesh send datagrams to endpoints outside, and says why not to those behind
// sidecars.
func TestMeshUDPRoute(t *testing.T) {
	mesh, warnings := compileMesh(t, meshUDP)
	sockets := mesh.Gateway("default", "edge", nil)
	byKind := map[model.SocketKind]model.Rule{}
	for _, s := range sockets {
		byKind[s.Kind] = s.Listeners[0].Rules[0]
	}
	for _, want := range []struct {
		kind    model.SocketKind
		invalid []string // of each backend
	}{
		{model.SocketUDP, []string{"", "UnsupportedProtocol: the endpoints of service default/web are behind sidecars, which carry no datagrams", "BackendNotFound: service default/mixed has no port 54"}},
		{model.SocketTCP, []string{"UnsupportedProtocol: port 53 of service default/outside takes datagrams, and a TCPRoute carries connections", ""}},
	} {
		for i, b := range byKind[want.kind].Backends {
			if b.Invalid != want.invalid[i] {
				t.Errorf("%s: backend %s: %q, want %q", want.kind, b.Service, b.Invalid, want.invalid[i])
			}
		}
	}
	outside := mesh.Services[model.ServiceName{Namespace: "default", Name: "outside"}]
	if len(outside.Endpoints) != 2 || outside.Endpoints[0].Protocol != model.UDP || !outside.Endpoints[0].Plain || outside.Endpoints[0].Address.Port() != 5353 {
		t.Errorf("%+v", outside.Endpoints)
	}
	var told string
	for _, w := range warnings {
		told += w.Error() + "\n"
	}
	if !strings.Contains(told, "behind sidecars, which carry no datagrams; declare endpoints outside the mesh by a ServiceEntry") {
		t.Errorf("warnings:\n%s", told)
	}
}
