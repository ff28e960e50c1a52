package config

import (
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

const selectedDocuments = `
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec:
  selector: {istio: ingressgateway}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*.shop.test"]
  - port: {number: 8443, name: https, protocol: HTTPS}
    hosts: [www.shop.test]
    tls: {mode: MUTUAL, serverCertificate: a.crt, privateKey: a.key, caCertificates: ca.crt}
  - port: {number: 9443, name: in-mesh, protocol: HTTPS}
    hosts: ["*.mesh.test"]
    tls: {mode: ISTIO_MUTUAL}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: zone, namespace: shop}
spec:
  selector: {zone: a}
  servers:
  - port: {number: 8080, name: http, protocol: HTTP}
    hosts: ["*.shop.test", other.test]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: web}
spec:
  hosts: [www.shop.test]
  gateways: [edge, shop/zone]
  http:
  - route: [{destination: {host: web, subset: v2}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: lost}
spec:
  hosts: [www.elsewhere.test]
  gateways: [edge]
  http:
  - route: [{destination: {host: web}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: web}
spec:
  host: web
  subsets: [{name: v2, labels: {version: v2}}]
`

// TestIstioGatewaysOfTheMesh compiles Istio's Gateways, which proxies are selected for by their labels.
func TestIstioGatewaysOfTheMesh(t *testing.T) {
	mesh, warnings := compileMesh(t, selectedDocuments)
	for _, w := range warnings {
		if !strings.Contains(w.Message, "no server of its gateways takes its hosts") {
			t.Errorf("warning: %s", w.Message)
		}
	}
	bind := []netip.Addr{netip.MustParseAddr("10.0.0.1")}
	at := func(labels map[string]string) (out []string) {
		for _, s := range mesh.Selected(labels, "istio-system", bind) {
			text := s.Address.String() + " " + string(s.Kind)
			if s.Mesh {
				text += " mesh"
			}
			for _, ln := range s.Listeners {
				text += " " + ln.Hostname
				if s.Address.Port() == 8080 && ln.Hostname == "*.shop.test" && (len(ln.Rules) == 0 || ln.Rules[0].Backends[0].Subset["version"] != "v2" || ln.Rules[0].Backends[0].Port != 80) {
					t.Errorf("%v: %+v", labels, ln.Rules)
				}
				if s.Kind == model.SocketHTTPS && (ln.Certificates[0].KeyFile != "a.key" || ln.ClientCAFile != "ca.crt" || ln.ClientMode != model.ClientRequired) {
					t.Errorf("certificates: %+v", ln)
				}
			}
			out = append(out, text)
		}
		return out
	}
	ingress := []string{"10.0.0.1:8080 http *.shop.test", "10.0.0.1:8443 https www.shop.test", "10.0.0.1:9443 http mesh *.mesh.test"}
	both := slices.Clone(ingress)
	both[0] += " other.test"
	for _, c := range []struct {
		labels map[string]string
		want   []string
	}{
		{map[string]string{"istio": "ingressgateway", "app": "x"}, ingress},
		{map[string]string{"istio": "ingressgateway", "zone": "a"}, both},
		{map[string]string{"zone": "a"}, []string{"10.0.0.1:8080 http *.shop.test other.test"}},
		{map[string]string{"istio": "other"}, nil},
	} {
		if got := at(c.labels); !slices.Equal(got, c.want) {
			t.Errorf("%v: %q, want %q", c.labels, got, c.want)
		}
	}
	for key, want := range map[string]string{"web": "True", "lost": "False"} {
		if c := mesh.Status[ResourceKey{"VirtualService", "default", key}]; len(c) == 0 || c[0].Status != want {
			t.Errorf("VirtualService %s: %+v", key, c)
		}
	}
	if c := mesh.Status[ResourceKey{"Gateway.networking.istio.io", "default", "edge"}]; len(c) != 2 || c[0].Status+c[1].Status != "TrueTrue" {
		t.Errorf("Gateway edge: %+v", c)
	}
}

// TestSecretsOfSelectedGateways: labels are what a proxy says of itself, so that a private key goes to the namespace of
// its Secret, and to Istio's own.
func TestSecretsOfSelectedGateways(t *testing.T) {
	m := &Mesh{selected: []selectedSockets{{
		selector: map[string]string{"istio": "ingressgateway"}, secrets: map[string][]string{"secret": {"shop"}},
		sockets: []model.Socket{{Address: netip.MustParseAddrPort("10.0.0.1:443"), Listeners: []model.Listener{{Name: "secret"}, {Name: "open"}}}},
	}}}
	for namespace, want := range map[string]int{"shop": 2, "istio-system": 2, "default": 1} {
		got := m.Selected(map[string]string{"istio": "ingressgateway"}, namespace, nil)
		if len(got) != 1 || len(got[0].Listeners) != want {
			t.Errorf("a proxy of %s gets %+v, want %d listeners", namespace, got, want)
		}
	}
}

const leaving = `
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: outside}
spec:
  hosts: [api.outside.test, www.outside.test]
  resolution: DNS
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 443, name: https, protocol: HTTPS}]
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: out}
spec:
  targetRefs: [{kind: ServiceEntry, name: outside}]
  egress: {gateway: infra/egress}
  timeouts: {request: 7s}
---
apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: nobody}
spec:
  targetRefs: [{kind: ServiceEntry, name: outsider}]
  egress: {gateway: shop/cart}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: api.outside.test
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: MUTUAL, clientCertificate: c.crt, privateKey: c.key, caCertificates: ca.crt}
`

// TestEgressPolicy compiles the way out of a ServiceEntry's hosts, with the files of the gateway that begins TLS.
func TestEgressPolicy(t *testing.T) {
	mesh, warnings := compileMesh(t, leaving)
	var said []string
	for _, w := range warnings {
		said = append(said, w.Message)
	}
	all := strings.Join(said, "\n")
	for _, want := range []string{"no gateway infra/egress is in the mesh yet", "there is no ServiceEntry default/outsider", "files are read by proxies"} {
		if !strings.Contains(all, want) {
			t.Errorf("the warnings lack %q:\n%s", want, all)
		}
	}
	out := mesh.Egress(model.ServiceName{Namespace: "infra", Name: "egress"})
	if len(out) != 2 || out[0].Name != "api.outside.test" || out[1].Name != "www.outside.test" {
		t.Fatalf("leave by the gateway: %v", out)
	}
	if got := mesh.Egress(model.ServiceName{Namespace: "shop", Name: "cart"}); got != nil {
		t.Errorf("leave by shop/cart: %v", got)
	}
	s := mesh.Services[out[0]]
	tls := s.Upstream.TLS
	if s.Policy == nil || s.Policy.Timeout.Seconds() != 7 || tls == nil || !slices.Equal(tls.Ports, []uint16{443}) ||
		tls.CAFile != "ca.crt" || tls.Certificate.KeyFile != "c.key" || tls.Hostname != "api.outside.test" {
		t.Errorf("api.outside.test: policy %+v, tls %+v", s.Policy, tls)
	}
	other := mesh.Services[out[1]]
	if !s.VIP.IsValid() || s.VIP == other.VIP || s.VIP.As4()[1] != 241 {
		t.Errorf("addresses of the hosts: %s and %s", s.VIP, other.VIP)
	}
}
