package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// parseMesh reads text that must be right.
func parseMesh(t testing.TB, text string) []Resource {
	t.Helper()
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	return resources
}

func meshRoute(kind, name, parent, rule string) string {
	hosts := ""
	if kind == "TLSRoute" {
		hosts = "  hostnames: [a.example]\n"
	}
	return fmt.Sprintf("---\napiVersion: gateway.networking.k8s.io/v1\nkind: %s\nmetadata: {name: %s}\nspec:\n  parentRefs: [{group: \"\", kind: Service, %s}]\n%s  rules: [{%s}]\n", kind, name, parent, hosts, rule)
}

const toRatings = "backendRefs: [{name: ratings, port: 9080}]"

func TestScopeFollowsMirrors(t *testing.T) {
	text := meshRoute("HTTPRoute", "r", "name: ratings", "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: reviews-v2, port: 9080}}}], "+toRatings)
	mesh, warnings := Compile(Input{Resources: parseMesh(t, text), Registry: registry(t)})
	if len(warnings) > 0 {
		t.Fatal(warnings)
	}
	var names []string
	for _, s := range Scope(mesh, page(), []model.ServiceName{{Namespace: "default", Name: "ratings"}}).Services {
		names = append(names, s.Name.Name)
	}
	if d := cmp.Diff([]string{"ratings", "reviews-v2"}, names); d != "" {
		t.Error(d)
	}
}

// TestRouteKindsOfAPort has every pair of kinds on one port: the more specific kind takes it, whichever is older.
func TestRouteKindsOfAPort(t *testing.T) {
	kinds := []string{"GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	for i, high := range kinds {
		for _, low := range kinds[i+1:] {
			for _, older := range []int{0, 1} {
				resources := parseMesh(t, meshRoute(high, "high", "name: ratings", toRatings)+meshRoute(low, "low", "name: ratings, port: 9080", toRatings))
				resources[older].Created, resources[1-older].Created = at, at.Add(time.Hour)
				mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
				rules := mesh.Services[model.ServiceName{Namespace: "default", Name: "ratings"}].Rules
				if len(rules) != 1 || rules[0].Ref.Kind != high || rules[0].Port != 9080 {
					t.Errorf("%s and %s: %+v", high, low, rules)
				}
				lost := mesh.Status[ResourceKey{low, "default", "low"}][0]
				if lost.Status != "False" || lost.Reason != ReasonConflicted || !strings.Contains(lost.Message, high+" default/high") {
					t.Errorf("%s and %s: %+v", high, low, lost)
				}
				if won := mesh.Status[ResourceKey{high, "default", "high"}][0]; won.Status != "True" {
					t.Errorf("%s and %s: %+v", high, low, won)
				}
			}
		}
	}
}

// TestConsumerRoutesOfAllKinds has routes of another namespace than the service's change it for their own clients only.
func TestConsumerRoutesOfAllKinds(t *testing.T) {
	details := model.ServiceName{Namespace: "other", Name: "details"}
	for _, kind := range []string{"GRPCRoute", "HTTPRoute", "TLSRoute", "TCPRoute"} {
		resources := parseMesh(t, meshRoute(kind, "r", "name: details, namespace: other, port: 9081", toRatings))
		mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
		for namespace, want := range map[string]int{"default": 1, "other": 0} {
			s, _ := mesh.ServiceFor(details, namespace)
			if len(s.Rules) != want || want == 1 && s.Rules[0].Ref.Kind != kind {
				t.Errorf("%s, clients in %s: %+v", kind, namespace, s.Rules)
			}
		}
	}
}

// TestGrants varies what a ReferenceGrant says; only the first allows the reference.
func TestGrants(t *testing.T) {
	const grant = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: other}\nspec:\n  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: default}]\n  to: [{group: \"\", kind: Service, name: details}]\n"
	route := meshRoute("HTTPRoute", "r", "name: ratings", "filters: [{type: RequestMirror, requestMirror: {backendRef: {name: details, namespace: other, port: 9080}}}], backendRefs: [{name: details, namespace: other, port: 9080}]")
	for i, change := range [][2]string{
		{"", ""},
		{"kind: HTTPRoute", "kind: GRPCRoute"},
		{"namespace: default", "namespace: third"},
		{"name: details", "name: ratings"},
		{"kind: Service", "kind: Secret"},
		{"namespace: other", "namespace: default"},
		{"group: gateway.networking.k8s.io", "group: x.y"},
	} {
		text := strings.Replace(grant, change[0], change[1], 1)
		mesh, warnings := Compile(Input{Resources: parseMesh(t, route+text), Registry: registry(t)})
		rule := mesh.Services[model.ServiceName{Namespace: "default", Name: "ratings"}].Rules[0]
		backend, mirror := rule.Backends[0].Invalid, rule.Filters.Mirrors[0].Invalid
		if allowed := i == 0; (backend == "") != allowed || (mirror == "") != allowed || (len(warnings) == 0) != allowed {
			t.Errorf("%v: backend %q, mirror %q, %v", change, backend, mirror, warnings)
		}
	}
}

// TestSessionNamesDiffer wants that no two rules share a cookie unless they say so.
func TestSessionNamesDiffer(t *testing.T) {
	text := ""
	for _, name := range []string{"a", "b"} {
		text += meshRoute("HTTPRoute", name, "name: ratings", "sessionPersistence: {}, "+toRatings+"}, {sessionPersistence: {}, "+toRatings)
	}
	mesh, _ := Compile(Input{Resources: parseMesh(t, text), Registry: registry(t)})
	var names []string
	for _, r := range mesh.Services[model.ServiceName{Namespace: "default", Name: "ratings"}].Rules {
		names = append(names, r.Policy.Session.Cookie)
	}
	slices.Sort(names)
	if len(slices.Compact(names)) != 4 {
		t.Error(names)
	}
}

// TestHostsOfOtherKinds has an HTTPRoute and a GRPCRoute at one listener: they are both accepted when they share no
// host name, else the first by name.
func TestHostsOfOtherKinds(t *testing.T) {
	for _, x := range []struct {
		http, grpc string
		both       bool
	}{
		{"a.example", "b.example", true},
		{"a.example", "a.example", false},
		{"*.example", "a.example", false},
		{"a.example", "*.example", false},
		{"*.a.example", "*.example", false},
		{"*.a.example", "*.b.example", true},
		{"example", "*.example", true},
		{"", "a.example", false},
		{"a.example", "", false},
		{"", "", false},
		{"a.example b.example", "c.example b.example", false},
	} {
		text := plainGateway
		for _, r := range [][3]string{{"HTTPRoute", "a", x.http}, {"GRPCRoute", "b", x.grpc}} {
			var hosts []string
			for _, h := range strings.Fields(r[2]) {
				hosts = append(hosts, fmt.Sprintf("%q", h))
			}
			text += fmt.Sprintf("---\napiVersion: gateway.networking.k8s.io/v1\nkind: %s\nmetadata: {name: %s}\nspec:\n  parentRefs: [{name: g}]\n  hostnames: [%s]\n  rules: [{backendRefs: []}]\n", r[0], r[1], strings.Join(hosts, ", "))
		}
		out := CompileStandalone(StandaloneInput{Resources: parseStandalone(t, text)})
		first, second := out.Status[ResourceKey{"HTTPRoute", "default", "a"}][0], out.Status[ResourceKey{"GRPCRoute", "default", "b"}][0]
		if first.Status != "True" || (second.Status == "True") != x.both {
			t.Errorf("%+v: %+v, %+v", x, first, second)
		}
	}
}
