package config

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/configtest"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

var update = flag.Bool("update", false, "write the expected files anew")

// golden compares got with the file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	configtest.Golden(t, *update, file, got)
}

func source(t testing.TB, file string) document.Source {
	t.Helper()
	return configtest.Source(t, file)
}

func registry(t testing.TB) Registry {
	t.Helper()
	var r Registry
	if err := json.Unmarshal(source(t, "testdata/registry.json").Data, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestBadFiles(t *testing.T) {
	for _, file := range configtest.Files(t, "testdata/bad/*.bad.yaml", 170) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			resources, problems := ParseSet([]document.Source{source(t, file)}, document.Limits{})
			if resources != nil || !problems.Failed() {
				t.Fatalf("taken: %v, problems %v", resources, problems)
			}
			var out bytes.Buffer
			for _, p := range problems {
				configtest.Told(t, p)
				fmt.Fprintln(&out, p.Error())
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", out.Bytes())
		})
	}
}

// TestGoodFiles compiles each file with the same registry and compares warnings, status, and what the
// product page's proxy runs.
func TestGoodFiles(t *testing.T) {
	for _, file := range configtest.Files(t, "testdata/good/*.yaml", 1) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			resources, problems := ParseSet([]document.Source{source(t, file)}, document.Limits{})
			if problems.Failed() {
				t.Fatal(problems.Err())
			}
			mesh, warnings := Compile(Input{TrustDomain: "mesh.test", Resources: resources, Registry: registry(t)})
			for name, s := range mesh.Services {
				checkRules(t, name.String(), s.Rules)
			}
			out := struct {
				Warnings []string
				Status   map[string][]Condition
				Snapshot *model.Snapshot
			}{Status: map[string][]Condition{}, Snapshot: Scope(mesh, page(), everything(mesh))}
			for _, p := range append(problems, warnings...) {
				if !p.Warning {
					t.Errorf("no warning: %v", p)
				}
				out.Warnings = append(out.Warnings, p.Error())
			}
			for k, v := range mesh.Status {
				out.Status[k.String()] = v
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want.json", encode(t, out))
		})
	}
}

func encode(t testing.TB, v any) []byte {
	t.Helper()
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func page() model.Workload {
	return model.Workload{ID: "p1", Identity: model.Identity{TrustDomain: "mesh.test", Namespace: "default", Account: "page"}}
}

func everything(m *Mesh) (out []model.ServiceName) {
	for n := range m.Services {
		out = append(out, n)
	}
	return out
}

func TestScopeFollowsBackends(t *testing.T) {
	resources, problems := ParseSet([]document.Source{source(t, "testdata/good/bookinfo-canary.yaml")}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
	mesh.Revision = 42
	got := Scope(mesh, page(), []model.ServiceName{{Namespace: "default", Name: "reviews"}, {Namespace: "default", Name: "absent"}})
	var names []string
	for _, s := range got.Services {
		names = append(names, s.Name.Name)
	}
	if d := cmp.Diff([]string{"reviews", "reviews-v1", "reviews-v2", "reviews-v3"}, names); d != "" || got.Revision != 42 {
		t.Error(d, got.Revision)
	}
}

func TestConsumerRoutesAreForTheirNamespace(t *testing.T) {
	resources, problems := ParseSet([]document.Source{source(t, "testdata/good/filters-and-merges.yaml")}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
	details := model.ServiceName{Namespace: "other", Name: "details"}
	for namespace, want := range map[string]int{"default": 1, "other": 0, "third": 0} {
		s, ok := mesh.ServiceFor(details, namespace)
		if !ok || len(s.Rules) != want {
			t.Errorf("clients in %s see %d rules, want %d", namespace, len(s.Rules), want)
		}
	}
}

func TestOldestRouteFirst(t *testing.T) {
	text := func(name, namespace string) string {
		return fmt.Sprintf("apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata: {name: %s, namespace: %s}\nspec: {parentRefs: [{group: \"\", kind: Service, name: reviews}]}\n---\n", name, namespace)
	}
	resources, problems := ParseSet([]document.Source{{File: "f", Data: []byte(text("b", "default") + text("a", "default") + text("c", "default"))}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	at := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
	resources[0].Created, resources[1].Created, resources[2].Created = at.Add(time.Second), at.Add(time.Second), at
	mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
	var names []string
	for _, r := range mesh.Services[model.ServiceName{Namespace: "default", Name: "reviews"}].Rules {
		names = append(names, fmt.Sprintf("%s:%d", r.Ref.Name, r.Ref.Line))
	}
	if d := cmp.Diff([]string{"c:14", "a:9", "b:4"}, names); d != "" {
		t.Error(d)
	}
}

func TestResourceRoundTrip(t *testing.T) {
	for _, file := range []string{"declared-services", "filters-and-merges"} {
		resources, problems := ParseSet([]document.Source{source(t, "testdata/good/"+file+".yaml")}, document.Limits{})
		if problems.Failed() || len(resources) < 2 {
			t.Fatal(problems)
		}
		for _, r := range resources {
			again, problems := ParseSet([]document.Source{r.Source()}, document.Limits{})
			if problems.Failed() || len(again) != 1 {
				t.Fatalf("%s: %v", r.Key, problems)
			}
			if d := cmp.Diff(r.body, again[0].body); d != "" || again[0].Line != r.Line {
				t.Errorf("%s: %s", r.Key, d)
			}
		}
	}
}

func TestCompileIsDeterministic(t *testing.T) {
	var sources []document.Source
	for _, f := range []string{"bookinfo-canary", "filters-and-merges"} {
		sources = append(sources, source(t, "testdata/good/"+f+".yaml"))
	}
	resources, problems := ParseSet(sources, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	rnd := rand.New(rand.NewPCG(5, 6))
	var want []byte
	for range 50 {
		r := registry(t)
		rnd.Shuffle(len(resources), func(i, j int) { resources[i], resources[j] = resources[j], resources[i] })
		rnd.Shuffle(len(r.Services), func(i, j int) { r.Services[i], r.Services[j] = r.Services[j], r.Services[i] })
		for _, s := range r.Services {
			rnd.Shuffle(len(s.Endpoints), func(i, j int) { s.Endpoints[i], s.Endpoints[j] = s.Endpoints[j], s.Endpoints[i] })
		}
		mesh, warnings := Compile(Input{Resources: resources, Registry: r})
		got := append(encode(t, Scope(mesh, page(), everything(mesh))), encode(t, warnings)...)
		if want == nil {
			want = got
		}
		if !bytes.Equal(want, got) {
			t.Fatal(cmp.Diff(string(want), string(got)))
		}
	}
}

func TestOversizedInput(t *testing.T) {
	big := bytes.Repeat([]byte("# ten million bytes\n"), 500_000)
	_, problems := ParseSet([]document.Source{{File: "big.yaml", Data: big}}, document.Limits{})
	if got := problems.Err(); got == nil || got.Error() != "big.yaml: more than 8 MiB in one set; apply it in parts" {
		t.Error(got)
	}
	if _, problems = document.Read("big.yaml", bytes.NewReader(big), document.Limits{}); !problems.Failed() {
		t.Error("read")
	}
	one := append([]byte("apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"), big[:2<<20]...)
	_, problems = ParseSet([]document.Source{{File: "one.yaml", Data: one}}, document.Limits{})
	if got := problems.Err(); got == nil || !strings.Contains(got.Error(), "one.yaml:1: document has 2097201 bytes, more than 1 MiB") {
		t.Error(got)
	}
	many := bytes.Repeat([]byte("---\na: 1\n"), 30_000)
	if _, problems = ParseSet([]document.Source{{File: "many.yaml", Data: many}}, document.Limits{}); len(problems) > 51 {
		t.Error(len(problems))
	}
}

func TestLookupKind(t *testing.T) {
	for name, want := range map[string]string{
		"httproute": "HTTPRoute", "HTTPRoutes": "HTTPRoute", "httproutes.gateway.networking.k8s.io": "HTTPRoute", "svc": "Service",
		"services.": "Service", "httproutes.example.com": "", "pods": "", "": "",
	} {
		if k, ok := LookupKind(name); k.Name != want || ok != (want != "") {
			t.Errorf("%s: %v", name, k.Name)
		}
	}
}

// manyRoutes makes n routes on n services.
func manyRoutes(t testing.TB, n int) Input {
	t.Helper()
	var text strings.Builder
	var r Registry
	for i := range n {
		fmt.Fprintf(&text, "apiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: r%d\nspec:\n  parentRefs:\n  - {group: \"\", kind: Service, name: s%d}\n  rules:\n  - matches:\n    - path: {value: /p%d}\n    backendRefs:\n    - {name: s%d-v1, port: 80}\n    - {name: s%d-v3, port: 80}\n---\n", i, i, i, i, i)
		s := model.Service{Name: model.ServiceName{Namespace: "default", Name: fmt.Sprintf("s%d", i)}, Ports: []model.Port{{Number: 80}}}
		for v := range 2 {
			s.Endpoints = append(s.Endpoints, model.Endpoint{ID: fmt.Sprintf("e%d-%d", i, v), Labels: map[string]string{"version": fmt.Sprintf("v%d", v+1)}})
		}
		r.Services = append(r.Services, s)
	}
	resources, problems := ParseSet([]document.Source{{File: "many.yaml", Data: []byte(text.String())}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems)
	}
	return Input{Resources: resources, Registry: r}
}

func TestTenThousandRoutes(t *testing.T) {
	in := manyRoutes(t, 10_000)
	start := time.Now()
	mesh, warnings := Compile(in)
	if took := time.Since(start); took > 30*time.Second {
		t.Errorf("compiling 10,000 routes took %v", took)
	}
	if len(mesh.Status) != 10_000 || len(warnings) != 10_000 {
		t.Error(len(mesh.Status), len(warnings))
	}
}

func BenchmarkCompile(b *testing.B) {
	in := manyRoutes(b, 10_000)
	for b.Loop() {
		Compile(in)
	}
}

func BenchmarkParse(b *testing.B) {
	src := source(b, "testdata/good/bookinfo-canary.yaml")
	for b.Loop() {
		ParseSet([]document.Source{src}, document.Limits{})
	}
}

func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/bad/*.yaml", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(source(f, file).Data)
		}
	}
	reg := registry(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		resources, problems := ParseSet([]document.Source{{File: "f", Data: data}}, document.Limits{})
		if problems.Failed() != (resources == nil) {
			t.Fatalf("%d resources, problems %v", len(resources), problems)
		}
		for _, p := range problems {
			if len(p.Error()) > 8192 {
				t.Fatalf("message of %d bytes", len(p.Error()))
			}
		}
		mesh, _ := Compile(Input{Resources: resources, Registry: reg})
		for name, s := range mesh.Services {
			checkRules(t, name.String(), s.Rules)
		}
	})
}
