package config

import (
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// asking is a rate limit that asks a service.
func asking(service string) string {
	return "  rateLimits: [{name: api, scope: service, service: {" + service + ", domain: d, descriptors: [{entries: [{key: k, value: v}]}]}}]\n"
}

// TestAskedServiceReachesWhoAsks: the proxies of a Service's workloads are told of the service they ask, its clients'
// are not; those of a route's clients are.
func TestAskedServiceReachesWhoAsks(t *testing.T) {
	text := `
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{kind: Service, group: "", name: productpage}]
  rules: [{backendRefs: [{name: productpage, port: 9080}]}]
` +
		trafficPolicy("p", "kind: Service, name: reviews", asking("name: limits, port: 81")) +
		trafficPolicy("q", "kind: HTTPRoute, name: r", asking("name: limits, port: 81")) + `---
apiVersion: v1
kind: Service
metadata: {name: limits}
spec: {ports: [{port: 81}]}
`
	mesh, warnings := Compile(Input{Resources: parsed(t, text), Registry: registry(t)})
	if len(warnings) > 0 {
		t.Fatal(warnings)
	}
	has := func(w model.Workload, calls ...string) bool {
		var names []model.ServiceName
		for _, n := range calls {
			names = append(names, model.ServiceName{Namespace: "default", Name: n})
		}
		return slices.ContainsFunc(Scope(mesh, w, names).Services, func(s model.Service) bool { return s.Name.Name == "limits" })
	}
	if !has(model.Workload{Service: model.ServiceName{Namespace: "default", Name: "reviews"}}) {
		t.Error("the proxies of reviews do not know whom they ask")
	}
	if has(model.Workload{}, "reviews") {
		t.Error("a client of reviews is told of a service that it has no business with")
	}
	if !has(model.Workload{}, "productpage") {
		t.Error("a client of productpage does not know whom it asks")
	}
}

// TestAskedServiceDoesNotResolve: each reference that leads nowhere is a warning with its place, a condition, and known
// to the proxies.
func TestAskedServiceDoesNotResolve(t *testing.T) {
	grant := `---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: other}
spec: {from: [{group: weft.dev, kind: TrafficPolicy, namespace: default}], to: [{group: "", kind: Service}]}
`
	declared := `---
apiVersion: v1
kind: Service
metadata: {name: ratings, namespace: other}
spec: {ports: [{name: a, port: 80, appProtocol: http}, {name: b, port: 81, appProtocol: grpc}, {name: c, port: 82}]}
`
	for _, c := range []struct{ what, service, more, reason, message string }{
		{"no such service", "name: ratngs, port: 9080", "", ReasonBackendNotFound, `no service default/ratngs is registered or declared`},
		{"no such port", "name: ratings, port: 1", "", ReasonBackendNotFound, "service default/ratings has no port 1"},
		{"itself", "name: reviews, port: 9080", "", reasonUnsupported, "about the requests by which it is asked"},
		{"not allowed", "name: ratings, namespace: other, port: 81", declared, ReasonRefNotPermitted, "service other/ratings is in another namespace than the policy"},
		{"not gRPC", "name: ratings, namespace: other, port: 80", declared + grant, "UnsupportedProtocol", "port 80 of service other/ratings carries http, and it is to be asked by grpc"},
		{"gRPC", "name: ratings, namespace: other, port: 81", declared + grant, "", ""},
		{"said nothing", "name: ratings, namespace: other, port: 82", declared + grant, "", ""},
	} {
		t.Run(c.what, func(t *testing.T) {
			in := Input{Resources: parsed(t, trafficPolicy("p", "kind: Service, name: reviews", asking(c.service))+c.more), Registry: registry(t)}
			mesh, warnings := Compile(in)
			policy := mesh.Services[model.ServiceName{Namespace: "default", Name: "reviews"}].Policy
			status := mesh.Status[ResourceKey{"TrafficPolicy", "default", "p"}]
			i := slices.IndexFunc(status, func(c Condition) bool { return c.Type == ConditionResolvedRefs })
			if i < 0 {
				t.Fatalf("no condition of references: %+v", status)
			}
			if c.message == "" {
				if len(warnings) > 0 || policy.Limits[0].Service.Invalid != "" || status[i].Status != "True" {
					t.Errorf("%v, %+v", warnings, status[i])
				}
				return
			}
			if len(warnings) != 1 || !strings.Contains(warnings[0].Message, c.message) || warnings[0].Line == 0 || warnings[0].Field != "spec.rateLimits[0].service.name" {
				t.Errorf("warned %v, want %s", warnings, c.message)
			}
			if got := policy.Limits[0].Service.Invalid; !strings.Contains(got, c.message) || status[i].Status != "False" || status[i].Reason != c.reason {
				t.Errorf("proxies are told %q, the user %+v", got, status[i])
			}
		})
	}
}

// TestStandaloneAsksServices: a gateway from files has the service that its policies ask, by gRPC.
func TestStandaloneAsksServices(t *testing.T) {
	text := `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec: {gatewayClassName: weft, listeners: [{name: http, protocol: HTTP, port: 8080}]}
---
apiVersion: v1
kind: Service
metadata: {name: ratelimit}
spec: {ports: [{port: 8081}]}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {name: ratelimit-1, labels: {kubernetes.io/service-name: ratelimit}}
addressType: IPv4
ports: [{port: 18081}]
endpoints: [{addresses: [127.0.0.1]}]
` + trafficPolicy("p", "kind: Gateway, name: edge", asking("name: ratelimit, port: 8081")) +
		trafficPolicy("q", "kind: Gateway, name: edge, sectionName: http", asking("name: ratelimt, port: 8081"))
	out := CompileStandalone(StandaloneInput{Resources: parseStandalone(t, text)})
	if len(out.Problems) != 1 || !strings.Contains(out.Problems[0].Message, "there is no Service default/ratelimt") || !strings.Contains(out.Problems[0].Remedy, "ratelimit") {
		t.Errorf("%v", out.Problems)
	}
	s := out.Snapshot.Services
	if len(s) != 1 || s[0].Name.Name != "ratelimit" || len(s[0].Endpoints) != 1 || s[0].Endpoints[0].Protocol != model.GRPC {
		t.Errorf("%+v", s)
	}
}
