package xds

import (
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestServersHearOfTheirRateLimits has a proxy told of the limits of its own workload's service, and of nothing while
// they stay.
func TestServersHearOfTheirRateLimits(t *testing.T) {
	b := newBench(t) // a workload of the service load
	with := func(revision int64, limits ...model.RateLimit) *Mesh {
		m := mesh(revision, map[string]string{"load": ""})
		if len(limits) > 0 {
			m.Services[svc("load")].Policy = &model.Policy{Timeout: time.Second, Limits: limits}
		}
		return m
	}
	limit := model.RateLimit{Name: "all", Requests: 10, Per: time.Second}
	b.server.Publish(with(1, limit))
	<-b.client.Ready()
	b.wait(1)
	if p := b.last().Workload.Policy; p == nil || len(p.Limits) != 1 || p.Limits[0].Requests != 10 || p.Timeout != 0 {
		t.Fatalf("the proxy has %+v, want the limits alone", p)
	}
	before := b.server.Pushes()
	b.server.Publish(with(2, limit))
	if b.wait(2); b.server.Pushes() != before {
		t.Error("limits that stay were sent again")
	}
	limit.Requests = 20
	b.server.Publish(with(3, limit))
	b.wait(3)
	if p := b.last().Workload.Policy; p == nil || p.Limits[0].Requests != 20 {
		t.Errorf("after the change the proxy has %+v", p)
	}
	b.server.Publish(with(4))
	b.wait(4)
	if p := b.last().Workload.Policy; p != nil {
		t.Errorf("after the end the proxy has %+v", p)
	}
}

// TestMirrorsAreSent has a proxy told of the services that copies of its requests go to.
func TestMirrorsAreSent(t *testing.T) {
	b := newBench(t)
	m := mesh(1, map[string]string{"a": "b", "b": "", "shadow": ""})
	m.Services[svc("a")].Rules[0].Filters.Mirrors = []model.Mirror{{Service: svc("shadow"), Share: 1}, {Service: svc("none"), Share: 1, Invalid: "x"}}
	b.server.Publish(m)
	<-b.client.Ready()
	b.lookup("a")
	if got := names(b.last()); !slices.Equal(got, []string{"a", "b", "shadow"}) {
		t.Errorf("got %v", got)
	}
}
