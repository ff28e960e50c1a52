package config

import (
	"fmt"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// TestDestinationRulesForSomeClients asks for which version of reviews the requests of clients are, by their labels.
func TestDestinationRulesForSomeClients(t *testing.T) {
	resources, problems := ParseSet([]document.Source{source(t, "testdata/istio/good/views-selected.yaml")}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
	reviews := model.ServiceName{Namespace: "default", Name: "reviews"}
	for _, x := range []struct {
		namespace, labels string
		version           string
		balance           model.Algorithm
	}{
		{"default", "", "v1", ""},
		{"default", "role=tester", "v2", model.Random},
		{"default", "role=tester,team=b", "v2", model.Random},
		{"other", "role=tester", "v1", ""},
		{"other", "role=tester,team=b", "v3", ""},
		{"third", "role=tester,team=b", "v1", ""},
	} {
		w := model.Workload{ID: "w", Identity: model.Identity{Namespace: x.namespace}, Labels: map[string]string{}}
		for kv := range strings.SplitSeq(x.labels, ",") {
			k, v, _ := strings.Cut(kv, "=")
			w.Labels[k] = v
		}
		s := Scope(mesh, w, []model.ServiceName{reviews}).Services[0]
		if len(s.Rules) != 1 || len(s.Rules[0].Backends) != 1 {
			t.Fatalf("%+v: %+v", x, s.Rules)
		}
		if got := s.Rules[0].Backends[0].Subset["version"]; got != x.version {
			t.Errorf("%s of %s: requests go to %s, want %s", x.labels, x.namespace, got, x.version)
		}
		balance := model.Algorithm("")
		if s.Upstream != nil {
			balance = s.Upstream.Balance.Algorithm
		}
		if balance != x.balance {
			t.Errorf("%s of %s: balanced by %q, want %q", x.labels, x.namespace, balance, x.balance)
		}
	}
}

// TestManySelectors: the fifth selector that tells clients apart is told of, and has no effect.
func TestManySelectors(t *testing.T) {
	var text strings.Builder
	for i := range 5 {
		const rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: r%[1]d}\nspec: {host: reviews, workloadSelector: {matchLabels: {n: \"%[1]d\"}}, subsets: [{name: s, labels: {a: b}}]}\n"
		fmt.Fprintf(&text, rule, i)
	}
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text.String())}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	_, warnings := Compile(Input{Resources: resources, Registry: registry(t)})
	if len(warnings) != 1 || !strings.Contains(warnings[0].Error(), "workloadSelectors of 4 others") {
		t.Errorf("got %v", warnings)
	}
}
