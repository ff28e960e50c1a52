package config

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/configtest"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// compiled is what compiling a file gave, in a form for people.
type compiled struct {
	Warnings []string
	Status   map[string][]Condition
	Views    map[string][]model.Service `json:",omitempty"` // of services by namespaces that see them in their own way
	Services []model.Service
}

func compileIstio(t testing.TB, r Registry, resources []Resource, problems document.Problems) compiled {
	t.Helper()
	mesh, warnings := Compile(Input{TrustDomain: "mesh.test", Resources: resources, Registry: r})
	out := compiled{Status: map[string][]Condition{}, Views: map[string][]model.Service{}}
	for _, p := range append(problems, warnings...) {
		if p.File == "" || p.Line == 0 {
			t.Errorf("no place: %v", p)
		}
		out.Warnings = append(out.Warnings, p.Error())
	}
	for k, v := range mesh.Status {
		out.Status[k.String()] = v
	}
	for key := range mesh.istio {
		s, _ := mesh.ServiceFor(key.service, key.namespace)
		s.Endpoints = nil
		out.Views[key.namespace] = append(out.Views[key.namespace], s)
	}
	for _, services := range out.Views {
		slices.SortFunc(services, func(a, b model.Service) int { return strings.Compare(a.Name.String(), b.Name.String()) })
	}
	out.Services = Scope(mesh, page(), everything(mesh)).Services
	for _, s := range out.Services {
		if _, err := route.CompileWith(s.Rules, route.Options{Ordered: s.Ordered}); err != nil {
			t.Errorf("%s: the proxy refuses what was accepted: %v", s.Name, err)
		}
	}
	return out
}

func TestIstioGoodFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/istio/good/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			resources, problems := ParseSet([]document.Source{source(t, file)}, document.Limits{})
			if problems.Failed() {
				t.Fatal(problems.Err())
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want.json", encode(t, compileIstio(t, registry(t), resources, problems)))
		})
	}
}

// TestIstioOrder compiles the documents of each file in many orders: the result is the same.
func TestIstioOrder(t *testing.T) {
	files, err := filepath.Glob("testdata/istio/good/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	random := rand.New(rand.NewPCG(3, 4))
	for _, file := range files {
		resources, problems := ParseSet([]document.Source{source(t, file)}, document.Limits{})
		want := encode(t, compileIstio(t, registry(t), resources, problems))
		for range 5 {
			random.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
			if d := cmp.Diff(string(want), string(encode(t, compileIstio(t, registry(t), resources, problems)))); d != "" {
				t.Errorf("%s: %s", file, d)
				break
			}
		}
	}
}

// TestIstioBadFiles has files of bad documents, each of which begins with its name.
func TestIstioBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/istio/bad/*.bad.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(len(files), err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			var out bytes.Buffer
			for doc := range strings.SplitSeq(string(source(t, file).Data), "\n---\n") {
				resources, problems := ParseStandalone([]document.Source{{File: "f.yaml", Data: []byte(doc)}}, document.Limits{})
				name, _, _ := strings.Cut(doc, "\n")
				if resources != nil || !problems.Failed() {
					t.Errorf("%s is taken: %v", name, problems)
				}
				fmt.Fprintln(&out, name)
				for _, p := range problems {
					configtest.Told(t, p)
					fmt.Fprintln(&out, p.Error())
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", out.Bytes())
		})
	}
}

// manyVirtualServices makes n services of the registry and a VirtualService with a DestinationRule for each.
func manyVirtualServices(n int) ([]document.Source, Registry) {
	var out Registry
	var text strings.Builder
	for i := range n {
		name := model.ServiceName{Namespace: "default", Name: fmt.Sprintf("s%d", i)}
		out.Services = append(out.Services, model.Service{Name: name, Ports: []model.Port{{Number: 80, Protocol: model.HTTP}}})
		const spec = "---\napiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {name: %[1]s}\nspec: {hosts: [%[1]s], http: [{match: [{uri: {prefix: /a}}], timeout: 1s, route: [{destination: {host: %[1]s, subset: v1}}]}, {route: [{destination: {host: %[1]s}}]}]}\n"
		const rule = "---\napiVersion: networking.istio.io/v1\nkind: DestinationRule\nmetadata: {name: %[1]s}\nspec: {host: %[1]s, subsets: [{name: v1, labels: {version: v1}}]}\n"
		fmt.Fprintf(&text, spec+rule, name.Name)
	}
	return []document.Source{{File: "many.yaml", Data: []byte(text.String())}}, out
}

func BenchmarkIstio(b *testing.B) {
	sources, known := manyVirtualServices(10_000)
	resources, problems := ParseSet(sources, document.Limits{})
	if problems.Failed() {
		b.Fatal(problems.Err())
	}
	for b.Loop() {
		if _, warnings := Compile(Input{Resources: resources, Registry: known}); len(warnings) > 0 {
			b.Fatal(warnings)
		}
	}
}

func FuzzIstio(f *testing.F) {
	for _, pattern := range []string{"testdata/istio/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(source(f, file).Data)
		}
	}
	known := registry(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		resources, problems := ParseSet([]document.Source{{File: "f", Data: data}}, document.Limits{})
		if problems.Failed() != (resources == nil) {
			t.Fatalf("%d resources, problems %v", len(resources), problems)
		}
		compileIstio(t, known, resources, nil)
		resources, _ = ParseStandalone([]document.Source{{File: "f", Data: data}}, document.Limits{})
		checkSnapshot(t, CompileStandalone(standaloneInput(resources, nil)).Snapshot)
	})
}

func TestIstioGatewayFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/istio/gateway/*.yaml")
	if err != nil || len(files) < 4 {
		t.Fatal(len(files), err)
	}
	certificates := testFiles(t)
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".yaml"), func(t *testing.T) {
			resources, problems := ParseStandalone([]document.Source{fill(source(t, file), certificates)}, document.Limits{})
			if problems.Failed() {
				t.Fatal(problems.Err())
			}
			out := CompileStandalone(standaloneInput(resources, certificates))
			checkSnapshot(t, out.Snapshot)
			golden(t, strings.TrimSuffix(file, ".yaml")+".want.json", readable(t, out, certificates))
		})
	}
}
