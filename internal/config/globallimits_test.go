package config

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// TestGlobalLimitsOfAMesh: those of services are for their servers, those of routes for everyone; each has an ID of its
// own, which stays while what is said stays.
func TestGlobalLimitsOfAMesh(t *testing.T) {
	server := model.Identity{TrustDomain: "mesh.local", Namespace: "default", Account: "reviews"}
	compile := func(requests string) map[model.LimitID]GlobalLimit {
		text := `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{kind: Service, group: "", name: reviews}]
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]
` +
			trafficPolicy("p", "kind: Service, name: reviews", "  rateLimits: [{name: all, requests: "+requests+", scope: global}, {name: here, requests: 7}]\n") +
			trafficPolicy("q", "kind: HTTPRoute, name: r", "  rateLimits: [{name: all, requests: 5, scope: global}]\n")
		in := Input{Resources: parsed(t, text), Registry: registry(t)}
		for i := range in.Registry.Services {
			for j := range in.Registry.Services[i].Endpoints {
				in.Registry.Services[i].Endpoints[j].Identity = server
			}
		}
		mesh, warnings := Compile(in)
		if len(warnings) > 0 {
			t.Fatal(warnings)
		}
		return mesh.GlobalLimits()
	}
	first := compile("9")
	stranger := model.Identity{TrustDomain: "mesh.local", Namespace: "default", Account: "stranger"}
	ids := map[uint32]model.LimitID{}
	for id, l := range first {
		ids[l.Requests] = id
		switch l.Requests {
		case 9:
			if !l.Counts(server) || l.Counts(stranger) {
				t.Errorf("the limit of the service is counted by %v", l.Counted)
			}
		case 5:
			if !l.Counts(server) || !l.Counts(stranger) {
				t.Errorf("the limit of the route is counted by %v alone", l.Counted)
			}
		}
	}
	if len(first) != 2 || len(ids) != 2 {
		t.Fatalf("%v", first)
	}
	if again := compile("9"); again[ids[9]].RateLimit == nil || again[ids[5]].RateLimit == nil {
		t.Error("the IDs of the same limits differ")
	}
	if other := compile("10"); other[ids[9]].RateLimit != nil || other[ids[5]].RateLimit == nil {
		t.Error("another rate is another limit, and no other changes")
	}
}

// TestStandaloneRefusesGlobalLimits: a gateway alone has nobody who counts for all.
func TestStandaloneRefusesGlobalLimits(t *testing.T) {
	text := `apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  listeners: [{name: http, protocol: HTTP, port: 8080}]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: p}
spec:
  targetRefs: [{kind: Gateway, name: edge}]
  rateLimits:
  - {name: here, requests: 10}
  - {name: everywhere, requests: 10, scope: global}
`
	resources, problems := ParseStandalone([]document.Source{{File: "f.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	out := CompileStandalone(StandaloneInput{Resources: resources})
	if !out.Problems.Failed() {
		t.Fatal("taken")
	}
	const want = "f.yaml:15:45: spec.rateLimits[1].scope: global needs a control plane"
	if s := out.Problems.Err().Error(); !strings.Contains(s, want) || !strings.Contains(s, "write local") {
		t.Errorf("%s\nwant %s", s, want)
	}
}
