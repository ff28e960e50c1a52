package config

import (
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// TestVersionsThatHaveLeftStillResolve wants a share without endpoints, which is answered 503, not a reference
// that does not resolve, which is a mistake and answered 500.
func TestVersionsThatHaveLeftStillResolve(t *testing.T) {
	set, problems := ParseSet([]document.Source{{File: "r.yaml", Data: []byte(`apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: reviews}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{backendRefs: [{name: reviews-v2, port: 80}]}]
`)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	reviews := model.ServiceName{Namespace: "default", Name: "reviews"}
	registry := Registry{Services: []model.Service{{Name: reviews, Ports: []model.Port{{Number: 80}}}}}
	mesh, warnings := Compile(Input{Resources: set, Registry: registry})
	if len(warnings) == 0 || mesh.Services[reviews].Rules[0].Backends[0].Invalid == "" {
		t.Fatal("a version that never was resolves")
	}
	registry.Versions = map[model.ServiceName][]string{reviews: {"v1", "v2"}}
	mesh, warnings = Compile(Input{Resources: set, Registry: registry})
	if len(warnings) != 0 || mesh.Services[reviews].Rules[0].Backends[0].Invalid != "" {
		t.Fatalf("a version that has left does not resolve: %v", warnings)
	}
	if s := mesh.Services[model.ServiceName{Namespace: "default", Name: "reviews-v2"}]; s == nil || len(s.Endpoints) != 0 {
		t.Fatalf("got %+v, want a service without endpoints", s)
	}
}
