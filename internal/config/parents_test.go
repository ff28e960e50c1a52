package config

import (
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

// TestStatusOfEachParent has a route with a parent that takes it and one that is not there, and one whose port another
// kind has: each parent says what is true of it, and the whole is False when one is.
func TestStatusOfEachParent(t *testing.T) {
	text := meshRoute("HTTPRoute", "two", "name: ratings}, {group: \"\", kind: Service, name: nothing", toRatings) +
		meshRoute("TCPRoute", "bytes", "name: ratings", toRatings)
	mesh, _ := Compile(Input{Resources: parseMesh(t, text), Registry: registry(t)})
	key := func(kind, name string) ResourceKey {
		for k := range mesh.Parents {
			if k.Kind == kind && k.Name == name {
				return k
			}
		}
		t.Fatalf("no status of %s %s", kind, name)
		return ResourceKey{}
	}
	two := mesh.Parents[key("HTTPRoute", "two")]
	if len(two) != 2 {
		t.Fatalf("%+v", two)
	}
	for i, want := range []string{"default/ratings True Accepted", "default/nothing False NoMatchingParent"} {
		c := two[i].Conditions[0]
		if got := two[i].Name + " " + c.Status + " " + c.Reason; c.Type != ConditionAccepted || got != want {
			t.Errorf("parent %d: %s %s, want %s", i, c.Type, got, want)
		}
		if r := two[i].Conditions[1]; r.Type != ConditionResolvedRefs || r.Status != "True" {
			t.Errorf("parent %d: %+v", i, r)
		}
	}
	if c := mesh.Status[key("HTTPRoute", "two")][0]; c.Status != "False" || c.Reason != ReasonNoMatchingParent {
		t.Errorf("the whole: %+v", c)
	}
	if c := mesh.Parents[key("TCPRoute", "bytes")][0].Conditions[0]; c.Status != "False" || c.Reason != ReasonConflicted {
		t.Errorf("the route whose port another kind has: %+v", c)
	}
}

// TestConsumerRouteNeedsAGrant has a consumer's route send its clients' requests back to the service's own namespace: that
// is a reference to another namespace than the route's, so it takes a ReferenceGrant there (GEP-1426, GEP-709). Until then
// its clients alone are answered 500.
func TestConsumerRouteNeedsAGrant(t *testing.T) {
	route := strings.Replace(meshRoute("HTTPRoute", "mine", "name: ratings, namespace: default", "backendRefs: [{name: ratings, namespace: default, port: 9080}]"),
		"{name: mine}", "{name: mine, namespace: shop}", 1)
	const grant = "---\napiVersion: gateway.networking.k8s.io/v1\nkind: ReferenceGrant\nmetadata: {name: g, namespace: default}\nspec:\n  from: [{group: gateway.networking.k8s.io, kind: HTTPRoute, namespace: shop}]\n  to: [{group: \"\", kind: Service}]\n"
	ratings := model.ServiceName{Namespace: "default", Name: "ratings"}
	for _, granted := range []bool{false, true} {
		text := route
		if granted {
			text += grant
		}
		mesh, _ := Compile(Input{Resources: parseMesh(t, text), Registry: registry(t)})
		mine, ok := mesh.ServiceFor(ratings, "shop")
		if !ok || len(mine.Rules) != 1 || (mine.Rules[0].Backends[0].Invalid == "") != granted {
			t.Errorf("granted %t: the consumer's rules are %+v", granted, mine.Rules)
		}
		if others, _ := mesh.ServiceFor(ratings, "other"); len(others.Rules) != 0 {
			t.Errorf("granted %t: others have the rules %+v", granted, others.Rules)
		}
		for k, parents := range mesh.Parents {
			accepted, resolved := parents[0].Conditions[0], parents[0].Conditions[1]
			if accepted.Status != "True" || (resolved.Status == "True") != granted || !granted && resolved.Reason != ReasonRefNotPermitted {
				t.Errorf("granted %t: %s: %+v", granted, k, parents)
			}
		}
	}
}
