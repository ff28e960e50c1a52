package config

import (
	"fmt"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// parseStandalone reads text that must be right.
func parseStandalone(t testing.TB, text string) []Resource {
	t.Helper()
	resources, problems := ParseStandalone([]document.Source{{File: "conf/f.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	return resources
}

const plainGateway = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: g}
spec:
  gatewayClassName: weft
  listeners: [{name: web, port: 8080, protocol: HTTP}]
`

func TestStandaloneBind(t *testing.T) {
	resources := parseStandalone(t, plainGateway)
	for _, x := range []struct {
		bind []string
		want []string
	}{
		{nil, []string{"127.0.0.1:8080", "[::1]:8080 optional"}},
		{[]string{"::1", "10.0.0.1", "::ffff:10.0.0.1"}, []string{"10.0.0.1:8080", "[::1]:8080"}},
	} {
		var bind []netip.Addr
		for _, s := range x.bind {
			bind = append(bind, netip.MustParseAddr(s))
		}
		var got []string
		for _, s := range CompileStandalone(StandaloneInput{Resources: resources, Bind: bind}).Snapshot.Sockets {
			text := s.Address.String()
			if s.Optional {
				text += " optional"
			}
			got = append(got, text)
		}
		if d := cmp.Diff(x.want, got); d != "" {
			t.Error(d)
		}
	}
}

// TestStandaloneSharedAddress has two Gateways on one address, one of which wants it for certain.
func TestStandaloneSharedAddress(t *testing.T) {
	other := strings.NewReplacer("name: g", "name: h", "listeners:", "addresses: [{value: \"::1\"}]\n  listeners:", "protocol: HTTP", "protocol: HTTP, hostname: h.example").Replace(plainGateway)
	out := CompileStandalone(StandaloneInput{Resources: parseStandalone(t, plainGateway+"---"+other)})
	if len(out.Problems) != 0 || len(out.Snapshot.Sockets) != 2 {
		t.Fatal(out.Problems, out.Snapshot.Sockets)
	}
	if s := out.Snapshot.Sockets[1]; s.Optional || len(s.Listeners) != 2 {
		t.Errorf("%+v", s)
	}
}

// TestStandaloneFileNames wants file names relative to the document's, and none read without ReadFile.
func TestStandaloneFileNames(t *testing.T) {
	files := testFiles(t)
	text := strings.ReplaceAll(plainGateway, "protocol: HTTP", "protocol: HTTPS, tls: {options: {weft.dev/certificate-file: ../a.crt, weft.dev/key-file: /a.key}}")
	resources := parseStandalone(t, text)
	var read []string
	out := CompileStandalone(StandaloneInput{Resources: resources, ReadFile: func(name string) ([]byte, error) {
		read = append(read, name)
		return []byte(files[filepath.Base(name)]), nil
	}})
	want := []string{"a.crt", "/a.key"}
	if d := cmp.Diff(want, read); d != "" || len(out.Problems) != 0 || len(out.Snapshot.Sockets) != 2 {
		t.Error(d, out.Problems)
	}
	if d := cmp.Diff([]string{"/a.key", "a.crt"}, out.Files); d != "" {
		t.Error(d)
	}
	out = CompileStandalone(StandaloneInput{Resources: resources})
	if err := out.Problems.Err(); err == nil || !strings.Contains(err.Error(), "conf/f.yaml:7:") || len(out.Snapshot.Sockets) != 0 {
		t.Error(err)
	}
	large := CompileStandalone(StandaloneInput{Resources: resources, ReadFile: func(string) ([]byte, error) { return make([]byte, maxFileBytes+1), nil }})
	if err := large.Problems.Err(); err == nil || !strings.Contains(err.Error(), "more than 1 MiB") {
		t.Error(err)
	}
}

func TestStandaloneKeepsNoSecret(t *testing.T) {
	files := testFiles(t)
	resources := parseStandalone(t, string(fill(document.Source{Data: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\ndata: {tls.crt: \"@a.crt@\", tls.key: \"@a.key@\"}\n")}, files).Data))
	text := fmt.Sprintf("%v %+v %#v", resources[0].YAML, resources, resources[0].body)
	if resources[0].YAML != "" || len(resources[0].Source().Data) != 0 || strings.Contains(text, "PRIVATE") {
		t.Error("the secret is kept")
	}
}

func TestStandaloneKindsAreNotOfTheMesh(t *testing.T) {
	for _, name := range []string{"endpointslices"} {
		if k, ok := LookupKind(name); ok && k.Group == gateway.Group || ok && k.Group == "" {
			t.Errorf("%s is found", name)
		}
	}
	for _, name := range []string{"grpcroute", "tcproutes", "TLSRoute", "udproute", "referencegrants", "Gateway", "gatewayclass", "listenersets", "configmaps", "secrets", "backendtlspolicies"} {
		if _, ok := LookupKind(name); !ok {
			t.Errorf("%s is not found", name)
		}
	}
}

func TestCommonHosts(t *testing.T) {
	for _, x := range []struct {
		route    string
		listener string
		want     string
		ok       bool
	}{
		{"", "", "", true},
		{"", "a.b", "a.b", true},
		{"a.b *.c", "", "a.b *.c", true},
		{"a.b", "a.b", "a.b", true},
		{"a.b", "c.b", "", false},
		{"a.b x.y.b b", "*.b", "a.b x.y.b", true},
		{"*.b", "a.b", "a.b", true},
		{"*.b *.c", "x.b", "x.b", true},
		{"*.b *.a.b *.c", "*.a.b", "*.a.b", true},
		{"*.b", "b", "", false},
		{"ab", "*.b", "", false},
	} {
		got, ok := commonHosts(strings.Fields(x.route), x.listener)
		if strings.Join(got, " ") != x.want || ok != x.ok {
			t.Errorf("%+v: %q %v", x, got, ok)
		}
	}
}

// manyStandalone makes a gateway with n routes to n services.
func manyStandalone(n int) []document.Source {
	var text strings.Builder
	text.WriteString(plainGateway)
	for i := range n {
		fmt.Fprintf(&text, "---\napiVersion: gateway.networking.k8s.io/v1\nkind: HTTPRoute\nmetadata:\n  name: r%d\nspec:\n  parentRefs:\n  - name: g\n  rules:\n  - matches:\n    - path: {type: PathPrefix, value: /p%d}\n    backendRefs:\n    - {name: web, port: 80}\n", i, i)
	}
	text.WriteString("---\napiVersion: v1\nkind: Service\nmetadata: {name: web}\nspec: {ports: [{port: 80}]}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {name: web, labels: {kubernetes.io/service-name: web}}\naddressType: IPv4\nports: [{port: 9080}]\nendpoints: [{addresses: [127.0.0.1]}]\n")
	return []document.Source{{File: "many.yaml", Data: []byte(text.String())}}
}

func TestStandaloneTenThousandRoutes(t *testing.T) {
	start := time.Now()
	resources, problems := ParseStandalone(manyStandalone(10_000), document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	out := CompileStandalone(StandaloneInput{Resources: resources})
	if took := time.Since(start); took > 90*time.Second {
		t.Errorf("10,000 routes took %v", took) // about 1 s; the bound allows for a busy machine and the race detector
	}
	if len(out.Problems) != 0 || len(out.Snapshot.Sockets) != 2 || len(out.Snapshot.Sockets[0].Listeners[0].Rules) != 10_000 {
		t.Error(out.Problems, len(out.Snapshot.Sockets))
	}
}

func BenchmarkStandalone(b *testing.B) {
	sources := manyStandalone(10_000)
	for b.Loop() {
		resources, _ := ParseStandalone(sources, document.Limits{})
		CompileStandalone(StandaloneInput{Resources: resources})
	}
}

func FuzzStandalone(f *testing.F) {
	for _, pattern := range []string{"testdata/standalone/*/*.yaml", "testdata/good/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range files {
			f.Add(source(f, file).Data)
		}
	}
	files := testFiles(f)
	f.Fuzz(func(t *testing.T, data []byte) {
		src := fill(document.Source{File: "f", Data: data}, files)
		resources, problems := ParseStandalone([]document.Source{src}, document.Limits{})
		if problems.Failed() != (resources == nil) {
			t.Fatalf("%d resources, problems %v", len(resources), problems)
		}
		out := CompileStandalone(standaloneInput(resources, files))
		checkSnapshot(t, out.Snapshot)
		for _, p := range append(problems, out.Problems...) {
			if len(p.Error()) > 8192 {
				t.Fatalf("message of %d bytes", len(p.Error()))
			}
		}
		if s := out.Snapshot; s.Workload.ID != "gateway" || s.Workload.Identity != (model.Identity{}) {
			t.Fatalf("%+v", s.Workload)
		}
	})
}
