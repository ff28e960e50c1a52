package config

import (
	"slices"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
)

// TestTLSOfPortsWithOneTarget has two ports of a Service lead to the same port of its endpoints, one with a policy of its
// own: the endpoints are apart, so that each port is called by its own policy's TLS (facts of the conformance test
// BackendTLSPolicyConflictResolution).
func TestTLSOfPortsWithOneTarget(t *testing.T) {
	rs, problems := ParseStandalone([]document.Source{{File: "m.yaml", Data: []byte(defaultGateways + `
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{name: own, port: 80, targetPort: 8443}, {name: other, port: 443, targetPort: 8443}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{name: own, port: 8443}, {name: other, port: 8443}]
endpoints: [{addresses: [127.0.0.1]}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: own}
spec: {targetRefs: [{group: "", kind: Service, name: web, sectionName: own}], validation: {hostname: own.example, wellKnownCACertificates: System}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: whole}
spec: {targetRefs: [{group: "", kind: Service, name: web}], validation: {hostname: whole.example, wellKnownCACertificates: System}}
`)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	s := CompileStandalone(StandaloneInput{Resources: rs}).Snapshot.Services[0]
	if len(s.Endpoints) != 2 || s.Endpoints[0].ID == s.Endpoints[1].ID || !slices.Equal(s.Endpoints[0].Ports, []uint16{443}) || !slices.Equal(s.Endpoints[1].Ports, []uint16{80}) {
		t.Errorf("endpoints: %+v", s.Endpoints)
	}
	if up := s.Upstream; up == nil || up.TLS == nil || up.TLS.Hostname != "whole.example" || len(up.PortTLS) != 1 || up.PortTLS[0].Hostname != "own.example" {
		t.Errorf("TLS: %+v", up)
	}
}
