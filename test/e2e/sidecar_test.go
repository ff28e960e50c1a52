package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// sidecarOf makes the programs with the label app=strict call nothing but web and what ServiceEntries name.
const sidecarOf = `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: strict}
spec:
  workloadSelector: {labels: {app: strict}}
  egress:
  - hosts: ["./web.default.svc.cluster.local", "./*.outside.test"]
  outboundTrafficPolicy: {mode: %s}
`

// sidecarEntry is a host outside with an address, 198.51.100.9, that nobody has (RFC 5737).
const sidecarEntry = `apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.outside.test]
  addresses: [198.51.100.9]
  resolution: STATIC
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 7000, name: tcp, protocol: TCP}]
  endpoints: [{address: 127.0.0.1, ports: {http: %d, tcp: %d}}]
`

// strictly runs a client with the label app=strict to its end.
func (m *mesh) strictly(command ...string) string {
	m.t.Helper()
	r := m.weft(append([]string{"run", "--service", "load", "--label", "app=strict", "--capture", "ebpf", "--"}, command...)...)
	return r.stdout
}

// asks has curl tell the status and why, for a URL.
func asks(url string) []string {
	return []string{"curl", "-s", "--max-time", "20", "-w", "\n%{http_code} %header{weft-failure}", url}
}

// someClients sends requests for web to the subset mine, which is another for clients with the label role=tester.
const someClients = `apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [web]
  http: [{route: [{destination: {host: web, subset: mine}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: for-all}
spec:
  host: web
  subsets: [{name: mine, labels: {version: v1}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: for-testers}
spec:
  host: web
  workloadSelector: {matchLabels: {role: tester}}
  subsets: [{name: mine, labels: {version: v2}}]
`

// TestDestinationRuleForSomeClients: a DestinationRule with a workloadSelector is for the programs of its namespace that
// have the labels, and for no others.
func TestDestinationRuleForSomeClients(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	m.nginx("web", "v1", "one")
	m.nginx("web", "v2", "two")
	m.ready("web", 2)
	m.must("apply", "--wait", "-f", m.file("some.yaml", someClients))
	for range 4 {
		if got := m.curl("http://web/"); !strings.HasPrefix(got, "one") {
			t.Errorf("a program without the label: %q", got)
		}
		if r := m.weft("run", "--service", "load", "--label", "role=tester", "--", "curl", "-sS", "http://web/"); !strings.HasPrefix(r.stdout, "two") {
			t.Errorf("a program with the label: %+v", r)
		}
	}
}

// TestRegistryOnly: programs that a Sidecar selects reach the services it names and hosts of ServiceEntries, by name and
// by address; everything else is refused, HTTP with 502 and a flag, bytes with a reset, and explain says by which line.
// Others go on as before, and so do these when it is allowed again.
func TestRegistryOnly(t *testing.T) {
	needs(t, "curl", "python3", "sh")
	m := newMesh(t)
	if r := m.weft("run", "--service", "load", "--capture", "ebpf", "--", "true"); r.code != 0 {
		t.Skip("no capture by eBPF here: ", r.stderr)
	}
	o := newOutsider(t, "api.outside.test")
	m.nginx("web", "v1", "hello")
	m.nginx("other", "v1", "hello")
	m.ready("web", 1)
	m.ready("other", 1)
	// A program that runs all the time calls an address that nobody has.
	steady := m.run("--service", "steady", "--label", "app=strict", "--capture", "ebpf", "--",
		"sh", "-c", `while :; do curl -s -o /dev/null -m 1 -w "%{http_code} %header{weft-failure}\n" http://198.51.100.7:8080/ || :; done`)
	// refused is whether its last call was; nothing else is known of what is at the address.
	refused := func(want bool) error {
		lines := strings.Split(strings.TrimSpace(steady.out.String()), "\n")
		if got := strings.TrimSpace(lines[len(lines)-1]); got == "" || (got == "502 registry_only") != want {
			return errors.New(got)
		}
		return nil
	}
	eventually(t, 60*time.Second, "what is outside is the program's own business", func() error { return refused(false) })
	m.must("apply", "--wait", "-f", m.file("entry.yaml", fmt.Sprintf(sidecarEntry, o.plain, o.plain)))
	strict := m.file("strict.yaml", fmt.Sprintf(sidecarOf, "REGISTRY_ONLY"))
	m.must("apply", "--wait", "-f", strict)
	eventually(t, 60*time.Second, "the running program is refused", func() error { return refused(true) })

	for url, want := range map[string]string{
		"http://web/":                                "hello \n\n200 ",
		"http://api.outside.test/":                   "outside api.outside.test for nobody\n200 ",
		"http://198.51.100.9/":                       "outside 198.51.100.9 for nobody\n200 ",
		"http://other/":                              "\n000 ", // its name does not resolve
		"http://198.51.100.7:8080/":                  "502 registry_only",
		"http://[2001:db8::7]:8080/":                 "502 registry_only",
		"http://[::ffff:198.51.100.7]:81/":           "502 registry_only",
		fmt.Sprintf("http://127.0.0.1:%d/", o.plain): fmt.Sprintf("outside 127.0.0.1:%d for nobody\n200 ", o.plain), // the machine's own
	} {
		if got := m.strictly(asks(url)...); !strings.HasSuffix(got, want) {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	if got := m.strictly(asks("http://198.51.100.7:8080/")...); !strings.Contains(got, "Sidecar default/strict ("+strict+":8)") {
		t.Errorf("the refusal does not say by what: %q", got)
	}
	if got := m.strictly("curl", "-s", "--max-time", "20", "--connect-to", "::198.51.100.7:80", "http://api.outside.test/"); got != "outside api.outside.test for nobody" {
		t.Errorf("a host that the program looked up elsewhere: %q", got)
	}
	const bytes = `import socket
s=socket.create_connection(("%s",%d),20); s.sendall(b"\x00\x01\r\n\r\n")
try: print("got", s.recv(9))
except ConnectionResetError: print("reset")`
	if got := m.strictly("python3", "-c", fmt.Sprintf(bytes, "198.51.100.7", 5000)); got != "reset\n" {
		t.Errorf("bytes to what is no service: %q", got)
	}
	if got := m.strictly("python3", "-c", fmt.Sprintf(bytes, "198.51.100.9", 7000)); !strings.HasPrefix(got, "got b'HTTP/1.1") {
		t.Errorf("bytes to the entry's address: %q", got)
	}
	// Who is not selected.
	if got := m.curl("http://other/"); !strings.HasSuffix(got, "hello \n\n200") {
		t.Errorf("another program: %q", got)
	}
	if got := m.must("explain", "198.51.100.7:8080", "--from", "steady"); !strings.Contains(got, "REGISTRY_ONLY") || !strings.Contains(got, "strict.yaml:8") || !strings.Contains(got, "registry_only") {
		t.Errorf("explain what is outside:\n%s", got)
	}
	if got := m.must("explain", "other", "--from", "steady"); !strings.Contains(got, "strict.yaml:7") || !strings.Contains(got, "does not see it") {
		t.Errorf("explain a service that is not seen:\n%s", got)
	}
	if got := m.must("explain", "web", "--from", "steady"); !strings.Contains(got, "may be picked") {
		t.Errorf("explain a service that is seen:\n%s", got)
	}
	twice := m.file("twice.yaml", "---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: all}\nspec: {}\n"+
		"---\napiVersion: networking.istio.io/v1\nkind: Sidecar\nmetadata: {name: every}\nspec: {}\n")
	if r := m.weft("apply", "-f", twice); r.code == 0 || !strings.Contains(r.stderr, "twice.yaml:10:7: spec: namespace default has a Sidecar without workloadSelector already") {
		t.Errorf("two Sidecars for a namespace: %+v", r)
	}
	m.must("apply", "--wait", "-f", m.file("open.yaml", fmt.Sprintf(sidecarOf, "ALLOW_ANY")))
	eventually(t, 60*time.Second, "it is the program's own business again", func() error { return refused(false) })
}

// sidecarIngress has what comes in for web go to another program, which is bounded.
const sidecarIngress = `apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: web}
spec:
  workloadSelector: {labels: {app: web}}
  ingress:
  - port: {number: 80, protocol: HTTP}
    defaultEndpoint: 127.0.0.1:%d
    connectionPool: {http: {http2MaxRequests: 1}}
`

// TestSidecarIngress: what comes in for a port goes where the Sidecar says, and no more of it at a time than it says; when
// it is gone, to where the program registered.
func TestSidecarIngress(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	began, release := make(chan bool, 8), make(chan bool)
	port := behaving(t, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			began <- true
			<-release
		}
		fmt.Fprint(w, "elsewhere")
	}))
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	m.must("apply", "--wait", "-f", m.file("web.yaml", fmt.Sprintf(sidecarIngress, port)))
	if got := m.curl("http://web/"); got != "elsewhere\n200" {
		t.Errorf("got %q", got)
	}
	slow := m.run("--service", "load", "--", "curl", "-sS", "http://web/slow")
	select {
	case <-began:
	case <-slow.done:
		t.Fatal("the slow request has ended: ", slow.out.String())
	}
	if got := m.curl("http://web/"); !strings.HasSuffix(got, "503") || !strings.Contains(got, "upstream_limit") {
		t.Errorf("beyond the bound: %q", got)
	}
	close(release)
	<-slow.done
	if got := slow.out.String(); got != "elsewhere" {
		t.Errorf("the slow request: %q", got)
	}
	m.must("delete", "sidecar", "web", "--wait")
	if got := m.curl("http://web/"); !strings.HasPrefix(got, "hello") {
		t.Errorf("without the Sidecar: %q", got)
	}
}

// sidecarProxy has what is no service go to a host of a ServiceEntry.
const sidecarProxy = `---
apiVersion: networking.istio.io/v1
kind: Sidecar
metadata: {name: out}
spec:
  outboundTrafficPolicy: {mode: ALLOW_ANY, egressProxy: {host: api.outside.test, port: {number: %d}}}
`

// TestEgressProxy: what programs call and is no service goes to the service that the Sidecar names, whatever its address,
// and explain says so. Services are called as before.
func TestEgressProxy(t *testing.T) {
	needs(t, "curl")
	m := newMesh(t)
	if r := m.weft("run", "--service", "load", "--capture", "ebpf", "--", "true"); r.code != 0 {
		t.Skip("no capture by eBPF here: ", r.stderr)
	}
	o := newOutsider(t, "api.outside.test")
	m.nginx("web", "v1", "hello")
	m.ready("web", 1)
	m.must("apply", "--wait", "-f", m.file("out.yaml", fmt.Sprintf(sidecarEntry, o.plain, o.mutual)+fmt.Sprintf(sidecarProxy, 80)))
	for url, want := range map[string]string{
		"http://198.51.100.7:8080/":  "outside 198.51.100.7:8080 for nobody\n200",
		"http://[2001:db8::7]:8080/": "outside [2001:db8::7]:8080 for nobody\n200",
		"http://web/":                "hello \n\n200",
	} {
		if got := m.curl(url); got != want {
			t.Errorf("%s: %q, want %q", url, got, want)
		}
	}
	if got := m.must("explain", "198.51.100.7", "--from", "load"); !strings.Contains(got, "egressProxy of Sidecar default/out") || !strings.Contains(got, "sent to default/api.outside.test") {
		t.Errorf("explain:\n%s", got)
	}
	// The program's own TLS goes through.
	m.must("apply", "--wait", "-f", m.file("tls.yaml", fmt.Sprintf(sidecarProxy, 7000)))
	if got := m.curl("-k", "--resolve", "x.outside.test:443:198.51.100.7", "https://x.outside.test/"); got != "outside x.outside.test for nobody\n200" {
		t.Errorf("TLS: %q", got)
	}
}
