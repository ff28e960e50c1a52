package xds

import (
	"slices"
	"testing"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// restrict has workloads with the label see only the services it names.
func restrict(m *Mesh, only bool, see ...string) *Mesh {
	m.Sidecar = func(w *model.Workload) (*model.Outbound, func(model.ServiceName) bool) {
		if w.Identity.Namespace != "default" || w.Labels["app"] != "load" {
			return nil, nil
		}
		var out *model.Outbound
		if only {
			out = &model.Outbound{RegistryOnly: true, Ref: model.PolicyRef{Name: "strict"}}
		}
		return out, func(n model.ServiceName) bool { return slices.Contains(see, n.Name) }
	}
	return m
}

func labelled(n *discoveryv1.Node) { n.Labels = map[string]string{"app": "load"} }

// TestSidecarHidesServices: a proxy is not told of services that its workload does not see, though it asks for them;
// of those that rules of others send requests to, it is. What is hidden and shown again goes and comes.
func TestSidecarHidesServices(t *testing.T) {
	b := newBench(t, labelled)
	all := map[string]string{"a": "c", "b": "", "c": ""}
	b.server.Publish(restrict(mesh(1, all), true, "a"))
	<-b.client.Ready()
	if b.lookup("b") {
		t.Error("b is known")
	}
	if !b.lookup("a") {
		t.Error("a is unknown")
	}
	b.wait(1)
	if got := names(b.last()); !slices.Equal(got, []string{"a", "c"}) {
		t.Errorf("it has %v", got)
	}
	if out := b.last().Workload.Outbound; out == nil || !out.RegistryOnly || out.Ref.Name != "strict" {
		t.Errorf("outbound is %+v", out)
	}
	b.server.Publish(restrict(mesh(2, all), false, "b"))
	b.wait(2)
	if got := names(b.last()); !slices.Equal(got, []string{"b"}) {
		t.Errorf("after the change it has %v", got)
	}
	if out := b.last().Workload.Outbound; out != nil {
		t.Errorf("after the change outbound is %+v", out)
	}
	before := b.server.Pushes()
	b.server.Publish(restrict(mesh(3, all), false, "b"))
	if b.wait(3); b.server.Pushes() != before {
		t.Error("what is the same was sent again")
	}
	b.server.Publish(mesh(4, all))
	b.wait(4)
	if got := names(b.last()); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("without a Sidecar it has %v", got)
	}
}

// TestAddressedServices: who may call services alone holds those that have addresses of their own, unasked.
func TestAddressedServices(t *testing.T) {
	b := newBench(t, labelled)
	with := func(revision int64, only bool) *Mesh {
		m := restrict(mesh(revision, map[string]string{"a": "", "b": "", "c": ""}), only, "a", "c")
		m.Addressed = func(string) []model.ServiceName { return []model.ServiceName{svc("a"), svc("b")} }
		return m
	}
	b.server.Publish(with(1, true))
	<-b.client.Ready()
	b.wait(1)
	if got := names(b.last()); !slices.Equal(got, []string{"a"}) {
		t.Errorf("it has %v", got)
	}
	b.server.Publish(with(2, false))
	b.wait(2)
	if got := names(b.last()); len(got) != 0 {
		t.Errorf("who may call everything has %v", got)
	}
}

// TestInboundOfASidecar: a proxy is told what its programs serve as the mesh says, bounds among it; bounds that it writes
// itself are not taken.
func TestInboundOfASidecar(t *testing.T) {
	b := newBench(t, func(n *discoveryv1.Node) {
		n.Inbound = InboundToWire([]model.Inbound{{ServicePort: 80, Port: 8080, Connections: &model.Connections{Max: 1}}})
	})
	with := func(revision int64, port uint16) *Mesh {
		m := mesh(revision, nil)
		m.Inbound = func(w *model.Workload) []model.Inbound {
			if len(w.Inbound) != 1 || w.Inbound[0].Connections != nil {
				t.Errorf("the proxy says %+v", w.Inbound)
			}
			return []model.Inbound{{ServicePort: 80, Port: port, Connections: &model.Connections{Requests: 7}}}
		}
		return m
	}
	b.server.Publish(with(1, 9090))
	<-b.client.Ready()
	b.wait(1)
	if in := b.last().Workload.Inbound; len(in) != 1 || in[0].Port != 9090 || in[0].Connections == nil || in[0].Connections.Requests != 7 {
		t.Errorf("got %+v", in)
	}
	before := b.server.Pushes()
	b.server.Publish(with(2, 9090))
	if b.wait(2); b.server.Pushes() != before {
		t.Error("what is the same was sent again")
	}
	b.server.Publish(mesh(3, nil))
	b.wait(3)
	if in := b.last().Workload.Inbound; len(in) != 1 || in[0].Port != 8080 || in[0].Connections != nil {
		t.Errorf("without a Sidecar: %+v", in)
	}
}
