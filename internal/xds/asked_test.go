package xds

import (
	"net/netip"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// asking is a policy with a limit that a service decides on.
func asking(service string) *model.Policy {
	return &model.Policy{Limits: []model.RateLimit{{Name: "api", Status: 503, Service: &model.LimitService{
		Service: svc(service), Port: 8081, Domain: "shop", Hits: 2, Timeout: time.Second, FailClosed: true,
		Descriptors: []model.LimitDescriptor{{Entries: []model.LimitEntry{
			{Key: "a", Value: "v"},
			{Key: "b", Header: "x-b", Optional: true},
			{Key: "c", Path: true},
			{Key: "d", Method: true},
			{Key: "e", Identity: true},
			{Key: "f", Source: true},
		}}},
	}}}}
}

// TestAskedServicesAreSent: a proxy has the services that it asks about requests: those of its routes, and about those
// that come in; not those that only servers ask. What it is told of them arrives whole.
func TestAskedServicesAreSent(t *testing.T) {
	b := newBench(t) // a workload of the service load
	m := mesh(1, map[string]string{"load": "", "a": "b", "b": "", "routed": "", "own": "", "others": "", "unresolved": "", "auth": "", "backend": "", "copies": ""})
	m.Services[svc("load")].Policy = asking("own")
	m.Services[svc("a")].Rules[0].Policy = asking("routed")
	auth := &model.ExternalAuth{GRPC: true, Service: svc("auth"), Port: 81, Path: "/a", Request: []string{"x"}, Response: []string{"y"}, MaxBody: 9}
	m.Services[svc("a")].Rules[0].Filters.Auth = auth
	m.Services[svc("a")].Rules[0].Backends[0].Filters = &model.Filters{
		Auth: &model.ExternalAuth{Service: svc("backend"), Port: 80}, Mirrors: []model.Mirror{{Service: svc("copies"), Port: 80, Share: 1}},
	}
	m.Services[svc("b")].Policy = asking("others") // its servers' proxies ask
	m.Services[svc("b")].Endpoints = []model.Endpoint{{ID: "b-1", Address: netip.MustParseAddrPort("127.0.0.1:1")}}
	more := asking("unresolved")
	more.Limits[0].Service.Invalid = "no"
	m.Services[svc("a")].Policy = more
	b.server.Publish(m)
	<-b.client.Ready()
	b.lookup("a")
	if got, want := names(b.last()), []string{"a", "auth", "b", "backend", "copies", "own", "routed"}; !slices.Equal(got, want) {
		t.Errorf("the proxy has %v, want %v", got, want)
	}
	if got := b.last().Workload.Policy; !reflect.DeepEqual(got, asking("own")) {
		t.Errorf("of requests that come in it is told %+v", got.Limits[0].Service)
	}
	for _, s := range b.last().Services {
		if s.Name == svc("a") && (!reflect.DeepEqual(s.Rules[0].Policy, asking("routed")) || !reflect.DeepEqual(s.Rules[0].Filters.Auth, auth)) {
			t.Errorf("of requests that go out it is told %+v, %+v", s.Rules[0].Policy.Limits[0].Service, s.Rules[0].Filters.Auth)
		}
	}
}
