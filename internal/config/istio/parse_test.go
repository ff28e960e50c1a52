package istio

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/route"
)

// FuzzParse wants no panic, a place for every problem, and rules that a proxy takes.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob("../testdata/istio/*/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatal(files, err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, problems := document.Parse("f", data, document.Limits{Nodes: 10_000})
		if problems.Failed() {
			return
		}
		for i := range docs {
			d := &docs[i]
			var problems document.Problems
			switch d.Kind {
			case "VirtualService":
				var v *VirtualService
				if v, problems = ParseVirtualService(d); !problems.Failed() {
					compileRules(t, v)
				}
			case "DestinationRule":
				_, problems = ParseDestinationRule(d)
			case "Gateway":
				_, problems = ParseGateway(d)
			case "ServiceEntry":
				_, problems = ParseServiceEntry(d)
			case "WorkloadEntry":
				_, problems = ParseWorkloadEntry(d)
			case "Sidecar":
				_, problems = ParseSidecar(d)
			}
			for _, p := range problems {
				if p.Line == 0 || p.Message == "" || len(p.Error()) > 8192 {
					t.Fatalf("problem without a place or text, or with too much: %v", p)
				}
			}
		}
	})
}

// compileRules compiles every rule at every gateway, and every route with every other as its delegate.
func compileRules(t *testing.T, v *VirtualService) {
	t.Helper()
	for i := range v.HTTP {
		routes := []*HTTPRoute{&v.HTTP[i]}
		for j := range v.HTTP {
			if merged, ok := v.HTTP[i].To(&v.HTTP[j]); ok {
				routes = append(routes, &merged)
			}
		}
		for _, r := range routes[:min(len(routes), 4)] {
			for _, gateway := range append([]string{Mesh}, v.Gateways...) {
				rules := r.For(gateway, v.Gateways)
				if _, err := route.CompileWith(rules, route.Options{Ordered: true}); err != nil {
					t.Fatalf("the proxy refuses what was accepted: %v", err)
				}
				for k := range rules {
					if w := rules[k].Filters.Rewrite; w != nil {
						if _, err := route.CompilePathChange(w.Path); err != nil {
							t.Fatalf("the proxy refuses what was accepted: %v", err)
						}
					}
				}
			}
		}
	}
}
