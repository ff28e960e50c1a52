package xds

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// TestWhoMayHaveSecrets: the certificate of a Secret goes to proxies of its namespace that use a service reached with it,
// to gateways of istio-system, and to the gateway by which the service leaves; never to others.
func TestWhoMayHaveSecrets(t *testing.T) {
	up := func(leaves model.ServiceName) *model.Upstream {
		out := &model.Upstream{TLS: &model.UpstreamTLS{Secret: "default/client"}}
		if !leaves.IsZero() {
			out.Egress = &model.Egress{Gateway: leaves}
		}
		return out
	}
	egress := model.ServiceName{Namespace: "infra", Name: "egress"}
	m := mesh(1, map[string]string{"other": ""})
	m.Services[svc("outside")] = &model.Service{Name: svc("outside"), Upstream: up(model.ServiceName{})}
	m.Services[svc("leaves")] = &model.Service{Name: svc("leaves"), Upstream: up(egress)}
	m.Services[svc("routed")] = &model.Service{Name: svc("routed"), Rules: []model.Rule{{Backends: []model.Backend{{Service: svc("other"), Upstream: up(model.ServiceName{})}}}}}
	m.Services[svc("gone")] = &model.Service{Name: svc("gone"), Upstream: &model.Upstream{TLS: &model.UpstreamTLS{Secret: "default/gone"}}}
	m.Secret = func(name string) *model.Certificate {
		if name == "default/client" {
			return &model.Certificate{Chain: "chain", Key: "key"}
		}
		return nil
	}
	m.Egress = func(g model.ServiceName) []model.ServiceName {
		if g == egress {
			return []model.ServiceName{svc("leaves")}
		}
		return nil
	}
	m.Selected = nil
	s := NewServer(ServerOptions{})
	t.Cleanup(s.Close)
	s.Publish(m)
	for _, c := range []struct {
		what      string
		namespace string
		node      *discoveryv1.Node
		uses      string
		want      bool
	}{
		{"a sidecar of the namespace", "default", &discoveryv1.Node{}, "outside", true},
		{"one that routes there", "default", &discoveryv1.Node{}, "routed", true},
		{"one that does not use it", "default", &discoveryv1.Node{}, "other", false},
		{"a Secret that is not there", "default", &discoveryv1.Node{}, "gone", false},
		{"a sidecar of another namespace", "elsewhere", &discoveryv1.Node{}, "outside", false},
		{"a sidecar of istio-system", "istio-system", &discoveryv1.Node{}, "outside", false},
		{"a gateway of istio-system", "istio-system", &discoveryv1.Node{Placement: PlacedGateway}, "outside", true},
		{"a gateway of another namespace", "elsewhere", &discoveryv1.Node{Placement: PlacedGateway}, "outside", false},
		{"a sidecar whose requests leave by a gateway", "default", &discoveryv1.Node{}, "leaves", false},
		{"the gateway by which they leave", "infra", &discoveryv1.Node{Service: "egress", Placement: PlacedEgress}, "leaves", true},
		{"another egress gateway", "infra", &discoveryv1.Node{Service: "other", Placement: PlacedEgress}, "leaves", false},
		{"one, of a service that does not leave", "infra", &discoveryv1.Node{Service: "other", Placement: PlacedEgress}, "outside", false},
		{"a sidecar that calls itself as the gateway", "infra", &discoveryv1.Node{Service: "egress"}, "leaves", false},
	} {
		c.node.Id = "p"
		st, err := newStream(c.node, model.Identity{TrustDomain: "mesh.test", Namespace: c.namespace, Account: "a"}, time.Time{})
		if err != nil {
			t.Fatal(err)
		}
		st.names[svc(c.uses)] = true
		s.mu.Lock()
		want := s.desired(st)
		s.mu.Unlock()
		if got := want[prefixSecret+"default/client"] != ""; got != c.want {
			t.Errorf("%s: has the Secret %t, want %t", c.what, got, c.want)
		}
	}
}

func TestSecretsOnTheWire(t *testing.T) {
	want := &model.Snapshot{Revision: 3, TrustDomain: "mesh.test", Secrets: map[string]model.Certificate{"default/a": {Chain: "c", Key: "k"}, "b/b": {Chain: "d", Key: "l"}}}
	want.Workload.ID = "w"
	got, err := SnapshotFromResources(3, SnapshotToResources(want))
	if err != nil || !cmp.Equal(got.Secrets, want.Secrets) {
		t.Errorf("%v, %v", got, err)
	}
	for _, r := range SnapshotToResources(want) {
		if p := r.GetGatewayPart(); p != nil {
			p.Tls = []byte(`{}`)
			if _, err := SnapshotFromResources(3, []*discoveryv1.Resource{r}); err == nil {
				t.Error("a Secret without certificate is taken")
			}
		}
	}
	if slices.ContainsFunc(SnapshotToResources(&model.Snapshot{}), func(r *discoveryv1.Resource) bool { return r.GetGatewayPart() != nil }) {
		t.Error("a Secret of nothing")
	}
}
