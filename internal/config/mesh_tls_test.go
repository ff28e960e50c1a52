package config

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// secretsOf writes Secrets of type kubernetes.io/tls, by name: the certificate of testFiles each has.
func secretsOf(names map[string]string) string {
	var out strings.Builder
	for name, cert := range names {
		ns, n, _ := strings.Cut(name, "/")
		fmt.Fprintf(&out, "---\napiVersion: v1\nkind: Secret\nmetadata: {name: %s, namespace: %s, annotations: {kubectl.kubernetes.io/last-applied-configuration: \"@%s.key@\"}}\ntype: kubernetes.io/tls\ndata: {tls.crt: \"@%s.crt@\", tls.key: \"@%s.key@\"}\n", n, ns, cert, cert, cert)
	}
	return out.String()
}

// compileTLS compiles documents with the certificates of testFiles filled in, at testNow.
func compileTLS(t *testing.T, text string) (*Mesh, []document.Problem, map[string]string) {
	t.Helper()
	files := testFiles(t)
	resources, problems := ParseSet([]document.Source{fill(document.Source{File: "m.yaml", Data: []byte(text)}, files)}, document.Limits{})
	if problems.Failed() {
		t.Fatal(problems.Err())
	}
	web := model.Service{Name: model.ServiceName{Namespace: "default", Name: "web"}, Ports: []model.Port{{Number: 80, Protocol: model.HTTP}}, Endpoints: []model.Endpoint{{ID: "w", Ports: []uint16{80}}}}
	mesh, warnings := Compile(Input{TrustDomain: "mesh.test", Resources: resources, Registry: Registry{Services: []model.Service{web}}, Now: testNow})
	return mesh, append(problems, warnings...), files
}

func told(problems []document.Problem, text string) bool {
	return slices.ContainsFunc(problems, func(p document.Problem) bool { return p.Warning && p.Line > 0 && strings.Contains(p.Message, text) })
}

const meshHTTPS = `
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  addresses: [{value: 127.0.0.9}]
  tls: {frontend: {default: {validation: {caCertificateRefs: [{group: "", kind: Secret, name: ca}]}}}}
  listeners:
  - {name: a, port: 8443, protocol: HTTPS, hostname: a.example, tls: {certificateRefs: [{name: one}]}}
  - {name: b, port: 8443, protocol: HTTPS, hostname: b.example, tls: {certificateRefs: [{name: two, namespace: vault}]}}
  - {name: c, port: 8443, protocol: HTTPS, hostname: c.example, tls: {certificateRefs: [{name: three, namespace: closed}]}}
---
apiVersion: gateway.networking.k8s.io/v1
kind: ReferenceGrant
metadata: {name: g, namespace: vault}
spec:
  from: [{group: gateway.networking.k8s.io, kind: Gateway, namespace: default}]
  to: [{group: "", kind: Secret}]
---
apiVersion: v1
kind: Secret
metadata: {name: ca}
stringData: {ca.crt: @b.crt.json@}
`

// TestSecretsOfTheMesh compiles listeners with Secrets: of their own namespace, of another with and without a grant, and
// one that has gone.
func TestSecretsOfTheMesh(t *testing.T) {
	all := map[string]string{"default/one": "a", "vault/two": "b", "closed/three": "a"}
	mesh, problems, files := compileTLS(t, meshHTTPS+secretsOf(all))
	served := func(m *Mesh) (names []string) {
		for _, s := range m.Gateway("default", "edge", nil) {
			for _, ln := range s.Listeners {
				names = append(names, ln.Name)
				want := map[string]string{"default/edge/a": "a", "default/edge/b": "b"}[ln.Name]
				if len(ln.Certificates) != 1 || ln.Certificates[0].Chain != files[want+".crt"] && m == mesh || ln.ClientCA == "" || ln.ClientMode != model.ClientRequired {
					t.Errorf("%s: %v, clients %v", ln.Name, ln.Certificates, ln.ClientMode)
				}
			}
		}
		return names
	}
	if got := served(mesh); !slices.Equal(got, []string{"default/edge/a", "default/edge/b"}) {
		t.Errorf("served: %v", got)
	}
	if !told(problems, "the Secret closed/three is in another namespace") || !told(problems, "expires on") {
		t.Errorf("problems: %v", problems)
	}
	if got := mesh.Status[ResourceKey{"Secret", "default", "one"}]; len(got) != 1 || !strings.Contains(got[0].Message, "expires on") {
		t.Errorf("status of a Secret: %v", got)
	}
	delete(all, "default/one")
	all["closed/three"] = "old"
	mesh2, problems, _ := compileTLS(t, meshHTTPS+secretsOf(all))
	if got := served(mesh2); !slices.Equal(got, []string{"default/edge/b"}) {
		t.Errorf("served without the Secret: %v", got)
	}
	status := mesh2.Status[ResourceKey{"Gateway", "default", "edge"}]
	if status[1].Type != ConditionResolvedRefs || status[1].Status != "False" || status[1].Reason != ReasonInvalidCertificateRef || !strings.Contains(status[1].Message, "there is no Secret default/one") {
		t.Errorf("status: %+v", status)
	}
	if status[2].Status != "True" || status[2].Message != "1 of 3 listeners" {
		t.Errorf("programmed: %+v", status[2])
	}
	for i, want := range []string{"False InvalidCertificateRef False", "True ResolvedRefs True", "False RefNotPermitted False"} {
		ln := mesh2.Listeners[ResourceKey{"Gateway", "default", "edge"}][i]
		if got := ln.Conditions[1].Status + " " + ln.Conditions[1].Reason + " " + ln.Conditions[2].Status; got != want || ln.Name != string(rune('a'+i)) {
			t.Errorf("listener %s: %s, want %s", ln.Name, got, want)
		}
	}
	if !told(problems, "the certificate expired on") {
		t.Errorf("problems: %v", problems)
	}
}

// TestStoredSecretShowsNothing wants no key in what a Secret of the mesh shows, and all of it in what is stored.
func TestStoredSecretShowsNothing(t *testing.T) {
	files := testFiles(t)
	parse := func(text string) Resource {
		t.Helper()
		out, problems := ParseSet([]document.Source{fill(document.Source{File: "s.yaml", Line: 7, Data: []byte(text)}, files)}, document.Limits{})
		if problems.Failed() {
			t.Fatal(problems.Err())
		}
		return out[0]
	}
	r := parse(strings.TrimPrefix(secretsOf(map[string]string{"default/s": "a"}), "---\n"))
	shown := fmt.Sprintf("%v %+v %#v %s %s", r, r, []Resource{r}, r.YAML, fmt.Sprint(r.Private()))
	encoded := string(fill(document.Source{Data: []byte("@a.key@")}, files).Data)
	for _, secret := range []string{"PRIVATE", encoded, encoded[20:60]} {
		if strings.Contains(shown, secret) {
			t.Errorf("the secret is shown: %s", r.YAML)
		}
	}
	for _, want := range []string{"tls.key: '[hidden]'", "CN=a", "a.example", "expires 20", "SHA-256"} {
		if !strings.Contains(r.YAML, want) {
			t.Errorf("what is shown lacks %q:\n%s", want, r.YAML)
		}
	}
	again, problems := ParseSet([]document.Source{r.Source()}, document.Limits{})
	if problems.Failed() || !again[0].SameText(r) || !strings.Contains(string(r.Source().Data), encoded) {
		t.Errorf("it does not come back: %v", problems)
	}
	if other := parse(strings.TrimPrefix(secretsOf(map[string]string{"default/s": "b"}), "---\n")); other.SameText(r) || other.YAML == r.YAML {
		t.Error("another certificate looks the same")
	}
	opaque := parse("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: hunter2}\n")
	changed := parse("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: hunter3}\n")
	if strings.Contains(opaque.YAML, "hunter") || opaque.SameText(changed) {
		t.Errorf("an opaque Secret: %s", opaque.YAML)
	}
	_, problems = ParseSet([]document.Source{fill(document.Source{File: "s.yaml", Data: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: s}\ntype: kubernetes.io/tls\ndata:\n  tls.crt: \"@a.crt@\"\n  tls.key: \"@b.key@\"\n")}, files)}, document.Limits{})
	if err := problems.Err(); err == nil || !strings.Contains(err.Error(), `s.yaml:7:12: data["tls.key"]: cannot be used: private key does not match public key`) {
		t.Errorf("a key of another certificate: %v", err)
	}
}

const meshOutside = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: whole}
spec:
  hosts: [whole.default.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: https, protocol: HTTP}]
  endpoints: [{address: 10.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: ports}
spec:
  hosts: [ports.default.svc.cluster.local]
  location: MESH_EXTERNAL
  resolution: STATIC
  ports: [{number: 443, name: tls, protocol: HTTP}, {number: 80, name: plain, protocol: HTTP}]
  endpoints: [{address: 10.0.0.2}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  gatewayClassName: weft
  addresses: [{value: 127.0.0.9}]
  tls: {backend: {clientCertificateRef: {name: client}}}
  listeners: [{name: web, port: 8080, protocol: HTTP}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata: {name: r}
spec:
  parentRefs: [{name: edge}]
  rules:
  - filters: [{type: RequestMirror, requestMirror: {backendRef: {name: ports, port: 443}}}]
    backendRefs: [{name: whole, port: 443}, {name: ports, port: 443}, {name: ports, port: 80}, {name: web, port: 80}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: a-whole}
spec:
  targetRefs: [{group: "", kind: Service, name: whole}]
  validation:
    hostname: whole.example
    caCertificateRefs: [{group: "", kind: Secret, name: ca}]
    subjectAltNames: [{type: Hostname, hostname: w.example}, {type: URI, uri: "spiffe://mesh.example/ns/a/sa/b"}]
---
apiVersion: gateway.networking.k8s.io/v1
kind: BackendTLSPolicy
metadata: {name: b-port}
spec:
  targetRefs: [{group: "", kind: Service, name: ports, sectionName: tls}, {group: "", kind: Service, name: whole}, {group: "", kind: Service, name: web}, {group: "", kind: Service, name: nobody}]
  validation: {hostname: port.example, wellKnownCACertificates: System}
`

// TestBackendTLSInTheMesh has policies reach services outside the mesh, whoever calls them: all ports or one, and never with a key among what everybody is sent.
func TestBackendTLSInTheMesh(t *testing.T) {
	ca := "---\napiVersion: v1\nkind: Secret\nmetadata: {name: ca}\nstringData: {ca.crt: @a.crt.json@}\n"
	mesh, problems, files := compileTLS(t, meshOutside+secretsOf(map[string]string{"default/client": "b"})+ca)
	whole := mesh.Services[model.ServiceName{Namespace: "default", Name: "whole"}].Upstream
	if whole == nil || whole.TLS == nil || whole.TLS.Hostname != "whole.example" || strings.TrimSpace(whole.TLS.CA) != strings.TrimSpace(files["a.crt"]) ||
		!slices.Equal(whole.TLS.Names, []string{"w.example", "spiffe://mesh.example/ns/a/sa/b"}) || !whole.TLS.OfGateway || whole.TLS.Certificate != nil || whole.TLS.Invalid != "" {
		t.Fatalf("the service: %+v", whole)
	}
	backends := mesh.Gateway("default", "edge", nil)[0].Listeners[0].Rules[0].Backends
	for _, b := range backends {
		if b.Invalid != "" {
			t.Errorf("backend: %+v", b)
		}
	}
	ports := mesh.Services[model.ServiceName{Namespace: "default", Name: "ports"}].Upstream
	if ports == nil || ports.TLS != nil || len(ports.PortTLS) != 1 || ports.PortTLS[0].Hostname != "port.example" || !slices.Equal(ports.PortTLS[0].Ports, []uint16{443}) || ports.PortTLS[0].Invalid != "" {
		t.Errorf("the service with TLS at one port: %+v", ports)
	}
	if m := mesh.Gateway("default", "edge", nil)[0].Listeners[0].Rules[0].Filters.Mirrors; m[0].Invalid != "" {
		t.Errorf("mirrors: %+v", m)
	}
	if c := mesh.ClientCertificate("default", "edge"); c == nil || c.Chain != files["b.crt"] || string(c.Key) != files["b.key"] || mesh.ClientCertificate("default", "other") != nil {
		t.Errorf("the certificate of the Gateway: %v", c)
	}
	for _, want := range []string{"of the mesh: they are reached by its own TLS", "there is no Service default/nobody", "Service default/whole is of"} {
		if want = strings.TrimPrefix(want, "Service "); !told(problems, want) {
			t.Errorf("no warning of %q in %v", want, problems)
		}
	}
	status := mesh.Status[ResourceKey{"BackendTLSPolicy", "default", "b-port"}]
	if status[0].Status != "False" || status[1].Status != "True" {
		t.Errorf("status: %+v", status)
	}
}

// TestBackendTLSWithoutCA sends nothing where the CA is missing: neither from routes nor from workloads.
func TestBackendTLSWithoutCA(t *testing.T) {
	mesh, _, _ := compileTLS(t, meshOutside)
	whole := mesh.Services[model.ServiceName{Namespace: "default", Name: "whole"}].Upstream
	if whole == nil || !strings.HasPrefix(whole.TLS.Invalid, ReasonInvalidCACertificateRef) {
		t.Errorf("the service: %+v", whole)
	}
	backends := mesh.Gateway("default", "edge", nil)[0].Listeners[0].Rules[0].Backends
	if !strings.HasPrefix(backends[0].Invalid, ReasonInvalidCACertificateRef) || backends[1].Invalid != "" {
		t.Errorf("backends: %+v", backends)
	}
	status := mesh.Status[ResourceKey{"BackendTLSPolicy", "default", "a-whole"}]
	if status[0].Reason != ReasonNoValidCACertificate || status[1].Reason != ReasonInvalidCACertificateRef {
		t.Errorf("status: %+v", status)
	}
	gw := mesh.Status[ResourceKey{"Gateway", "default", "edge"}]
	if gw[1].Reason != ReasonInvalidClientCertificateRef {
		t.Errorf("status of the Gateway: %+v", gw)
	}
}
