package config

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// trafficPolicy writes a policy: its name, one target, and sections as in spec.
func trafficPolicy(name, target, sections string) string {
	return "---\napiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: " + name + "}\nspec:\n  targetRefs: [{" + target + "}]\n" + sections
}

func parsed(t testing.TB, text string) []Resource {
	t.Helper()
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	return resources
}

var reviewsName = model.ServiceName{Namespace: "default", Name: "reviews"}

// TestPolicyOlderHolds compiles two policies of one target in every order of writing: only creation counts.
func TestPolicyOlderHolds(t *testing.T) {
	text := trafficPolicy("a-younger", "kind: Service, name: reviews", "  timeouts: {request: 1s, idle: 9s}\n  limits: {pending: 5, requests: 1}\n") +
		trafficPolicy("b-older", "kind: Service, name: reviews", "  timeouts: {request: 2s}\n  limits: {requests: 2}\n") +
		trafficPolicy("c-whole", "kind: Service, name: reviews", "  limits: {requests: 3}\n")
	resources := parsed(t, text)
	created := map[string]int64{"a-younger": 200, "b-older": 100, "c-whole": 300}
	for i := range resources {
		resources[i].Created = time.Unix(created[resources[i].Key.Name], 0)
	}
	r := rand.New(rand.NewPCG(1, 2))
	for range 10 {
		r.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
		mesh, warnings := Compile(Input{Resources: resources, Registry: registry(t)})
		s := mesh.Services[reviewsName]
		if s.Policy.Timeout != 2*time.Second || s.Policy.IdleTimeout != 9*time.Second {
			t.Errorf("timeouts %v %v", s.Policy.Timeout, s.Policy.IdleTimeout)
		}
		if c := s.Upstream.Connections; c.Requests != 2 || c.Pending != 5 {
			t.Errorf("limits %+v", c)
		}
		if s.Policy.Ref.Name != "b-older" {
			t.Errorf("it says it is from %s", s.Policy.Ref.Name)
		}
		status := func(name string) []Condition { return mesh.Status[ResourceKey{"TrafficPolicy", "default", name}] }
		const given = "limits.requests of Service default/reviews is given by TrafficPolicy default/b-older"
		for name, want := range map[string][]Condition{
			"b-older": {{Type: ConditionAccepted, Status: "True", Reason: ReasonAccepted}},
			"a-younger": {
				{Type: ConditionAccepted, Status: "True", Reason: ReasonAccepted},
				{
					Type: ConditionConflicted, Status: "True", Reason: ReasonConflicted,
					Message: "timeouts.request, limits.requests of Service default/reviews are given by TrafficPolicy default/b-older",
				},
			},
			"c-whole": {
				{Type: ConditionAccepted, Status: "False", Reason: ReasonConflicted, Message: given},
				{Type: ConditionConflicted, Status: "True", Reason: ReasonConflicted, Message: given},
			},
		} {
			if d := cmp.Diff(want, status(name)); d != "" {
				t.Error(name, d)
			}
		}
		if len(warnings) != 2 || warnings[0].Field != "spec.targetRefs[0].name" || warnings[0].Line == 0 {
			t.Errorf("warnings %v", warnings)
		}
	}
}

// TestPolicyOfVersions wants a version to have the policy of its service, and a Service of its own not to.
func TestPolicyOfVersions(t *testing.T) {
	const routes = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{backendRefs: [{name: reviews-v1, port: 9080}, {name: reviews-v2, port: 9080}, {name: reviews-v3, port: 9080}]}]
---
apiVersion: v1
kind: Service
metadata: {name: reviews-v3}
spec: {selector: {app: reviews, version: v3}}
`
	mesh, _ := Compile(Input{Resources: parsed(t, routes+
		trafficPolicy("a", "kind: Service, name: reviews", "  limits: {requests: 1, pending: 1}\n")+
		trafficPolicy("b", "kind: Service, name: reviews-v2", "  limits: {requests: 2}\n")), Registry: registry(t)})
	for name, want := range map[string]model.Connections{
		"reviews": {Requests: 1, Pending: 1}, "reviews-v1": {Requests: 1, Pending: 1}, "reviews-v2": {Requests: 2, Pending: 1},
	} {
		s := mesh.Services[model.ServiceName{Namespace: "default", Name: name}]
		if s.Upstream == nil || s.Upstream.Connections != want {
			t.Errorf("%s: %+v", name, s.Upstream)
		}
	}
	if s := mesh.Services[model.ServiceName{Namespace: "default", Name: "reviews-v3"}]; s.Upstream != nil {
		t.Errorf("a Service of its own: %+v", s.Upstream)
	}
}

// TestPolicyLimitsAreCountedByTarget wants limits to keep their counters however policies are merged.
func TestPolicyLimitsAreCountedByTarget(t *testing.T) {
	const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}, {group: "", kind: Service, name: ratings}]
  rules: [{name: one, matches: [{path: {value: /a}}]}, {name: two}]
`
	mesh, _ := Compile(Input{Resources: parsed(t, route+
		trafficPolicy("services", "kind: Service, name: reviews}, {kind: Service, name: ratings", "  rateLimits: [{name: l, requests: 1}]\n")+
		trafficPolicy("route", "kind: HTTPRoute, name: r", "  rateLimits: [{name: l, requests: 1}]\n")+
		trafficPolicy("rule", "kind: HTTPRoute, name: r, sectionName: one", "  timeouts: {request: 1s}\n")), Registry: registry(t)})
	for _, name := range []string{"reviews", "ratings"} {
		s := mesh.Services[model.ServiceName{Namespace: "default", Name: name}]
		if d := s.Policy.Limits[0].Domain; d != "TrafficPolicy default/services on Service default/"+name {
			t.Error(d)
		}
		if len(s.Rules) != 2 {
			t.Fatal(s.Rules)
		}
		for _, r := range s.Rules {
			if d := r.Policy.Limits[0].Domain; d != "TrafficPolicy default/route on HTTPRoute default/r" {
				t.Error(d)
			}
		}
		if s.Rules[0].Policy.Timeout != time.Second || s.Rules[1].Policy.Timeout != 0 {
			t.Errorf("%s: the policy of one rule is that of another", name)
		}
	}
	// The proxy of the service's own workload is who counts; it learns of limits and of nothing else.
	w := page()
	w.Service = reviewsName
	got := Scope(mesh, w, nil).Workload.Policy
	if got == nil || len(got.Limits) != 1 || got.Timeout != 0 || got.Ref.Name != "services" {
		t.Errorf("%+v", got)
	}
	if got := Scope(mesh, page(), nil).Workload.Policy; got != nil {
		t.Errorf("a workload of no service: %+v", got)
	}
}

// TestPolicyOfConsumerRoutes wants the routes of another namespace to have the policies of that namespace.
func TestPolicyOfConsumerRoutes(t *testing.T) {
	const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r, namespace: default}
spec:
  parentRefs: [{group: "", kind: Service, name: details, namespace: other}]
  rules: [{backendRefs: [{name: reviews, port: 9080}]}]
`
	mesh, warnings := Compile(Input{Resources: parsed(t, route+trafficPolicy("p", "kind: HTTPRoute, name: r", "  timeouts: {request: 3s}\n")), Registry: registry(t)})
	s, _ := mesh.ServiceFor(model.ServiceName{Namespace: "other", Name: "details"}, "default")
	if len(s.Rules) != 1 || s.Rules[0].Policy == nil || s.Rules[0].Policy.Timeout != 3*time.Second {
		t.Errorf("%+v, %v", s.Rules, warnings)
	}
}

// TestPolicyAfterRoutesOwnFields wants what a rule says itself before what policies say of it.
func TestPolicyAfterRoutesOwnFields(t *testing.T) {
	const route = `apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{group: "", kind: Service, name: reviews}]
  rules: [{name: a, timeouts: {request: 1s}, backendRefs: [{name: ratings, port: 9080}]}]
`
	mesh, _ := Compile(Input{Resources: parsed(t, route+
		trafficPolicy("p", "kind: HTTPRoute, name: r, sectionName: a", "  timeouts: {request: 5s, idle: 3s}\n")), Registry: registry(t)})
	p := mesh.Services[reviewsName].Rules[0].Policy
	if p == nil || p.Timeout != time.Second || p.IdleTimeout != 3*time.Second {
		t.Errorf("%+v", p)
	}
}

// TestPolicyBesideDestinationRule wants Weft's own dialect before Istio's, field by field.
func TestPolicyBesideDestinationRule(t *testing.T) {
	const rule = `apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: reviews}
spec:
  host: reviews
  trafficPolicy:
    connectionPool: {http: {http1MaxPendingRequests: 7}, tcp: {maxConnections: 8}}
`
	mesh, _ := Compile(Input{Resources: parsed(t, rule+trafficPolicy("p", "kind: Service, name: reviews", "  limits: {pending: 3}\n")), Registry: registry(t)})
	for _, client := range []string{"default", "other"} {
		s, _ := mesh.ServiceFor(reviewsName, client)
		if s.Upstream == nil || s.Upstream.Connections.Pending != 3 || s.Upstream.Connections.Max != 8 {
			t.Errorf("%s: %+v", client, s.Upstream)
		}
	}
}

// TestPolicyKind wants the kind under all of its names.
func TestPolicyKind(t *testing.T) {
	for _, name := range []string{"TrafficPolicy", "trafficpolicies", "tp", "trafficpolicies.weft.dev", "TP"} {
		if k, ok := LookupKind(name); !ok || k.Name != "TrafficPolicy" || k.APIVersion() != "weft.dev/v1alpha1" {
			t.Errorf("%s: %+v, %v", name, k, ok)
		}
	}
}

// BenchmarkPolicies compiles 10,000 routes, a tenth of which has a policy.
func BenchmarkPolicies(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		fmt.Fprintf(&text, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: r%d}\nspec:\n"+
			"  parentRefs: [{group: \"\", kind: Service, name: reviews}]\n  rules: [{name: a, matches: [{path: {value: /%d}}], backendRefs: [{name: ratings, port: 9080}]}]\n", i, i)
		if i%10 == 0 {
			text.WriteString(trafficPolicy(fmt.Sprint("p", i), fmt.Sprintf("kind: HTTPRoute, name: r%d, sectionName: a", i), "  timeouts: {request: 1s}\n"))
		}
	}
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text.String())}}, document.Limits{Documents: 20_000})
	if problems.Failed() {
		b.Fatal(problems.Err())
	}
	in := Input{Resources: resources, Registry: registry(b)}
	for b.Loop() {
		mesh, warnings := Compile(in)
		if len(warnings) > 0 || mesh.Services[reviewsName].Rules[0].Policy == nil {
			b.Fatal(warnings)
		}
	}
}
