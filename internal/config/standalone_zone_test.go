package config

import (
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
)

const zoned = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, defaultScope: All, listeners: [{name: http, port: 8080, protocol: HTTP}]}
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: web}
spec: {useDefaultGateways: All, rules: [{backendRefs: [{name: web, port: 80}]}]}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {ports: [{port: 80}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: web-1, labels: {kubernetes.io/service-name: web}}
addressType: IPv4
ports: [{port: 8000}]
endpoints:
- {addresses: [10.0.0.1], zone: a}
- {addresses: [10.0.0.2], zone: b, hints: {forZones: [{name: c}, {name: a}]}}
- {addresses: [10.0.0.3], zone: b, hints: {forZones: [{name: b}]}}
- {addresses: [10.0.0.4]}
`

// TestZonesOfSlices has endpoints be where their slices say, or where the clients are that they are meant for, in the
// gateway's region; the gateway is where its labels say.
func TestZonesOfSlices(t *testing.T) {
	rs, problems := ParseStandalone([]document.Source{{File: "z.yaml", Data: []byte(zoned)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	for what, c := range map[string]struct {
		labels map[string]string
		want   [4]string
	}{
		"nothing is known of the gateway": {nil, [4]string{"/a", "/c", "/b", ""}},
		"its zone is":                     {map[string]string{"topology.kubernetes.io/zone": "a"}, [4]string{"/a", "/a", "/b", ""}},
		"its region is too": {
			map[string]string{"topology.kubernetes.io/zone": "c", "topology.kubernetes.io/region": "eu"}, [4]string{"eu/a", "eu/c", "eu/b", ""},
		},
	} {
		out := CompileStandalone(StandaloneInput{Resources: rs, Labels: c.labels}).Snapshot
		var got [4]string
		for i, e := range out.Services[0].Endpoints {
			got[i] = e.Locality
		}
		if got != c.want || out.Workload.Labels["topology.kubernetes.io/zone"] != c.labels["topology.kubernetes.io/zone"] {
			t.Errorf("%s: %q, want %q", what, got, c.want)
		}
	}
	if _, problems := ParseStandalone([]document.Source{{File: "z.yaml", Data: []byte(zoned + "- {addresses: [10.0.0.5], zone: a/b}\n")}}, document.Limits{}); !problems.Failed() {
		t.Error("a zone with a slash is taken")
	}
}
