package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
)

const datagramPolicies = `
apiVersion: v1
kind: Service
metadata: {name: dns}
spec: {ports: [{port: 53, protocol: UDP}]}
---
apiVersion: v1
kind: Service
metadata: {name: both}
spec: {ports: [{name: a, port: 53, protocol: UDP}, {name: b, port: 53, protocol: TCP}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: vain}
spec:
  targetRefs: [{kind: Service, name: dns}]
  timeouts: {request: 5s, idle: 10s}
  retries: {attempts: 2}
  limits: {connections: 5, requests: 10}
  ejection: {}
  healthCheck: {udp: {}}
  loadBalancing: {algorithm: maglev, hash: [{header: x-a}]}
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: some}
spec:
  targetRefs: [{kind: Service, name: both}]
  timeouts: {request: 5s}
  healthCheck: {udp: {}}
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: none}
spec: {targetRefs: [{kind: Service, name: web}], healthCheck: {udp: {}}}
`

// TestPoliciesOfDatagrams names what a policy says in vain of a service that takes datagrams alone, or none: at a gateway
// and in a mesh.
func TestPoliciesOfDatagrams(t *testing.T) {
	rs, problems := ParseStandalone([]document.Source{{File: "m.yaml", Data: []byte(datagramPolicies)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	inVainOf(t, CompileStandalone(StandaloneInput{Resources: rs}).Problems,
		"m.yaml:40:43: spec.targetRefs[0].name: healthCheck.udp has no effect on service default/web, no port of which takes datagrams; write http, grpc or tcp",
		"m.yaml:21:38: spec.targetRefs[0].name: timeouts.request, retries, limits.requests, loadBalancing.hash other than source have no effect on service default/dns, which takes datagrams alone; of datagrams are timeouts.idle, limits.connections, ejection, healthCheck, loadBalancing")

	_, warnings := compileMesh(t, meshUDP+`
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: vain}
spec:
  targetRefs: [{group: networking.istio.io, kind: ServiceEntry, name: outside}]
  timeouts: {request: 5s, idle: 10s}
  healthCheck: {udp: {}}
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: some}
spec:
  targetRefs: [{kind: Service, name: mixed}]
  timeouts: {request: 5s}
  healthCheck: {udp: {}}
`)
	inVainOf(t, warnings, "m.yaml:48:71: spec.targetRefs[0].name: timeouts.request has no effect on service default/outside, which takes datagrams alone; of datagrams are timeouts.idle, limits.connections, ejection, healthCheck, loadBalancing")
}

// inVainOf wants the warnings of what has no effect to be these.
func inVainOf(t *testing.T, problems []document.Problem, want ...string) {
	t.Helper()
	var got []string
	for _, p := range problems {
		if p.Warning && strings.Contains(p.Message, "no effect") {
			got = append(got, p.Error())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("warnings:\n%s\nwant:\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
