package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

const sidecarHead = "apiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: %s, namespace: %s}\nspec: %s\n---\n"

// sidecarEntries are a ServiceEntry in default, and one in other that other namespaces do not see.
const sidecarEntries = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec: {hosts: [api.outside.test], addresses: [198.51.100.7], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 198.51.100.8}]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside, namespace: other}
spec: {hosts: [db.other.test], addresses: [198.51.100.9], exportTo: ["."], resolution: STATIC, ports: [{number: 80, name: http, protocol: HTTP}], endpoints: [{address: 198.51.100.8}]}
`

// TestSidecars compiles Sidecars and asks what holds for workloads: what each sees, and whether it may call anything else.
func TestSidecars(t *testing.T) {
	type one struct{ name, namespace, spec string }
	all := "api.outside.test db.other.test details productpage ratings reviews"
	for _, x := range []struct {
		what      string
		sidecars  []one
		namespace string
		labels    string
		sees      string
		only      string // the Sidecar that says REGISTRY_ONLY
	}{
		{"none", nil, "default", "", all, ""},
		{"of the namespace", []one{{"a", "default", "{outboundTrafficPolicy: {}}"}}, "default", "", all, "Sidecar default/a"},
		{"of another namespace", []one{{"a", "other", "{outboundTrafficPolicy: {}}"}}, "default", "", all, ""},
		{"of the root namespace", []one{{"a", "istio-system", "{egress: [{hosts: ['*/details.other.svc.cluster.local']}], outboundTrafficPolicy: {}}"}}, "default", "", "details", "Sidecar istio-system/a"},
		{"of the root namespace, for its own", []one{{"a", "istio-system", "{workloadSelector: {labels: {a: b}}, outboundTrafficPolicy: {}}"}}, "default", "a=b", all, ""},
		{"of labels", []one{{"a", "default", "{workloadSelector: {labels: {a: b}}, outboundTrafficPolicy: {}}"}}, "default", "a=b,c=d", all, "Sidecar default/a"},
		{"of the service, by the label that all have", []one{{"a", "default", "{workloadSelector: {labels: {app: cart}}, outboundTrafficPolicy: {}}"}}, "default", "c=d", all, "Sidecar default/a"},
		{"of other labels", []one{{"a", "default", "{workloadSelector: {labels: {a: b, e: f}}, outboundTrafficPolicy: {}}"}}, "default", "a=b,c=d", all, ""},
		{
			"labels first, and field by field",
			[]one{
				{"ns", "default", "{egress: [{hosts: ['./*']}], outboundTrafficPolicy: {}}"}, {"some", "default", "{workloadSelector: {labels: {a: b}}, outboundTrafficPolicy: {mode: ALLOW_ANY}}"},
			},
			"default", "a=b", "api.outside.test productpage ratings reviews", "",
		},
		{
			"the namespace before the root",
			[]one{{"root", "istio-system", "{egress: [{hosts: ['./*']}], outboundTrafficPolicy: {}}"}, {"ns", "default", "{egress: [{hosts: ['*/*']}]}"}},
			"default", "", all, "Sidecar istio-system/root",
		},
		{"nothing", []one{{"a", "default", "{egress: [{hosts: ['~/*']}]}"}}, "default", "", "", ""},
		{"several listeners", []one{{"a", "default", "{egress: [{hosts: [other/details]}, {hosts: [./ratings.default.svc.cluster.local, './*.outside.test']}]}"}}, "default", "", "api.outside.test details ratings", ""},
		{"in another namespace than named", []one{{"a", "default", "{egress: [{hosts: [other/ratings.default.svc.cluster.local]}]}"}}, "default", "", "", ""},
	} {
		var text strings.Builder
		for _, s := range x.sidecars {
			fmt.Fprintf(&text, sidecarHead, s.name, s.namespace, s.spec)
		}
		resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text.String() + sidecarEntries)}}, document.Limits{})
		if problems.Failed() {
			t.Fatal(x.what, problems.Err())
		}
		mesh, problems := Compile(Input{Resources: resources, Registry: registry(t)})
		if problems.Failed() {
			t.Fatal(x.what, problems)
		}
		labels := map[string]string{}
		for kv := range strings.SplitSeq(x.labels, ",") {
			k, v, _ := strings.Cut(kv, "=")
			labels[k] = v
		}
		w := &model.Workload{Identity: model.Identity{Namespace: x.namespace}, Service: model.ServiceName{Namespace: x.namespace, Name: "cart"}, Labels: labels}
		outbound, sees := mesh.Sidecar(w)
		var seen []string
		for n := range mesh.Services {
			_, hidden := mesh.Unseen(w, n)
			if is := sees == nil || sees(n); is == hidden {
				t.Errorf("%s: %s is seen: %v, and explained as hidden: %v", x.what, n, is, hidden)
			} else if is {
				seen = append(seen, n.Name)
			}
		}
		slices.Sort(seen)
		if got := strings.Join(seen, " "); got != x.sees {
			t.Errorf("%s: sees %s, want %s", x.what, got, x.sees)
		}
		only := ""
		if outbound != nil && outbound.RegistryOnly {
			only, _, _ = strings.Cut(outbound.Ref.String(), " (")
		}
		if only != x.only {
			t.Errorf("%s: REGISTRY_ONLY by %q, want %q", x.what, only, x.only)
		}
	}
}

// TestSidecarTwice: of two Sidecars for all workloads of a namespace the second is not to be stored, and does nothing
// where it is.
func TestSidecarTwice(t *testing.T) {
	text := fmt.Sprintf(sidecarHead+sidecarHead+sidecarHead, "a", "default", "{}", "b", "default", "{outboundTrafficPolicy: {}}", "c", "other", "{}")
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	mesh, problems := Compile(Input{Resources: resources, Registry: registry(t)})
	want := "f.yaml:9:7: spec: namespace default has a Sidecar without workloadSelector already: a; write workloadSelector, or what is to hold for the namespace into that one"
	if !problems.Failed() || len(problems) != 1 || problems[0].Error() != want {
		t.Errorf("got %v, want %s", problems, want)
	}
	if out, _ := mesh.Sidecar(&model.Workload{Identity: model.Identity{Namespace: "default"}}); out != nil {
		t.Errorf("the second holds: %v", out)
	}
	if c := mesh.Status[ResourceKey{"Sidecar", "default", "b"}]; len(c) != 1 || c[0].Status != "False" || c[0].Reason != ReasonConflicted {
		t.Errorf("its status is %v", c)
	}
}

// TestAddressedEntries: hosts with an address of their own are known by it, to whom they are exported.
func TestAddressedEntries(t *testing.T) {
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(sidecarEntries)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
	mine := model.ServiceName{Namespace: "default", Name: "api.outside.test"}
	theirs := model.ServiceName{Namespace: "other", Name: "db.other.test"}
	if got := mesh.Addressed("default"); !slices.Equal(got, []model.ServiceName{mine}) {
		t.Errorf("default: %v", got)
	}
	if got := mesh.Addressed("other"); len(got) != 2 || !slices.Contains(got, theirs) {
		t.Errorf("other: %v", got)
	}
}

// TestSidecarInbound: the ports that a Sidecar names are served where it says, others no more, and each is bounded.
func TestSidecarInbound(t *testing.T) {
	const text = `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: all, namespace: istio-system}
spec: {inboundConnectionPool: {http: {http2MaxRequests: 90}}}
---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web}
spec:
  workloadSelector: {labels: {app: web}}
  ingress:
  - port: {number: 80, protocol: HTTP}
    defaultEndpoint: 127.0.0.1:9999
  - port: {number: 81}
    connectionPool: {tcp: {maxConnections: 3}}
`
	resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text)}}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	mesh, _ := Compile(Input{Resources: resources, Registry: registry(t)})
	registered := []model.Inbound{{ServicePort: 80, Port: 8080}, {ServicePort: 81, Port: 8081, Protocol: model.TCP}, {ServicePort: 82, Port: 8082}}
	of := func(service string) []model.Inbound {
		return mesh.Inbound(&model.Workload{
			Identity: model.Identity{Namespace: "default"}, Service: model.ServiceName{Namespace: "default", Name: service}, Inbound: registered,
		})
	}
	every := &model.Connections{Requests: 90}
	want := []model.Inbound{
		{ServicePort: 80, Port: 9999, Protocol: model.HTTP, Connections: every},
		{ServicePort: 81, Port: 8081, Protocol: model.TCP, Connections: &model.Connections{Max: 3}},
	}
	if d := cmp.Diff(want, of("web")); d != "" {
		t.Errorf("selected: %s", d)
	}
	want = nil
	for _, in := range registered {
		in.Connections = every
		want = append(want, in)
	}
	if d := cmp.Diff(want, of("other")); d != "" {
		t.Errorf("not selected: %s", d)
	}
	if registered[0].Connections != nil {
		t.Error("what was registered has changed")
	}
}

// TestSidecarProxy: who is to pass on what is for no service comes with the workload's snapshot, and one that is not there
// is told of.
func TestSidecarProxy(t *testing.T) {
	for _, x := range []struct{ host, service, warning string }{
		{"ratings", "default/ratings", ""},
		{"details.other.svc.cluster.local, port: {number: 9080}", "other/details", ""},
		{"nobody", "", "f.yaml:4:69: spec.outboundTrafficPolicy.egressProxy.host: no service default/nobody is registered or declared"},
	} {
		text := fmt.Sprintf(sidecarHead, "a", "default", "{outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: "+x.host+"}}}")
		resources, problems := ParseSet([]document.Source{{File: "f.yaml", Data: []byte(text)}}, document.Limits{})
		if problems.Failed() {
			t.Fatal(problems.Err())
		}
		mesh, warnings := Compile(Input{Resources: resources, Registry: registry(t)})
		if got := fmt.Sprint(warnings); x.warning == "" && len(warnings) > 0 || !strings.Contains(got, x.warning) {
			t.Errorf("%s: warnings %s, want %s", x.host, got, x.warning)
		}
		snap := Scope(mesh, model.Workload{ID: "w", Identity: model.Identity{Namespace: "default"}}, nil)
		out := snap.Workload.Outbound
		switch {
		case out == nil || out.Proxy == nil || !out.CapturesAll():
			t.Errorf("%s: %+v", x.host, out)
		case x.service == "" && (out.Proxy.Invalid == "" || len(snap.Services) > 0):
			t.Errorf("%s: %+v, %d services", x.host, out.Proxy, len(snap.Services))
		case x.service != "" && (len(snap.Services) != 1 || out.Proxy.Service.String() != x.service || snap.Services[0].Name != out.Proxy.Service || out.Proxy.Port != 9080):
			t.Errorf("%s: %+v, %d services", x.host, out.Proxy, len(snap.Services))
		}
	}
}
