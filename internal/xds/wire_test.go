package xds

import (
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/protobuf/proto"
	"pgregory.net/rapid"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

var label = rapid.StringMatching(`[a-z]([a-z0-9-]{0,8}[a-z0-9])?`)

func drawHeaderMod(t *rapid.T) model.HeaderMod {
	value := func(t *rapid.T) model.HeaderValue {
		return model.HeaderValue{Name: label.Draw(t, "name"), Value: rapid.StringMatching(`[ -~]{0,12}`).Draw(t, "value")}
	}
	var m model.HeaderMod
	for range rapid.IntRange(0, 2).Draw(t, "set") {
		m.Set = append(m.Set, value(t))
	}
	for range rapid.IntRange(0, 2).Draw(t, "add") {
		m.Add = append(m.Add, value(t))
	}
	for range rapid.IntRange(0, 2).Draw(t, "remove") {
		m.Remove = append(m.Remove, label.Draw(t, "gone"))
	}
	return m
}

func drawPolicy(t *rapid.T) *model.Policy {
	if !rapid.Bool().Draw(t, "policy") {
		return nil
	}
	return &model.Policy{
		Ref:     model.PolicyRef{Kind: "TrafficPolicy", Namespace: label.Draw(t, "pns"), Name: label.Draw(t, "p")},
		Timeout: time.Duration(rapid.Int64Range(0, 1<<40).Draw(t, "timeout")),
		Retry:   &model.Retry{Attempts: rapid.IntRange(0, 10).Draw(t, "attempts"), On: []model.RetryOn{model.Retry5xx}},
		Faults:  []model.Fault{{AbortShare: rapid.Float64Range(0, 1).Draw(t, "share"), Status: 503}},
	}
}

func drawUpstream(t *rapid.T) *model.Upstream {
	if !rapid.Bool().Draw(t, "upstream") {
		return nil
	}
	return &model.Upstream{
		Balance:  model.Balance{Algorithm: model.Maglev, Hash: []model.HashKey{{Header: label.Draw(t, "hash")}}},
		Ejection: &model.Ejection{Consecutive5xx: rapid.IntRange(0, 100).Draw(t, "consecutive")},
	}
}

func drawRule(t *rapid.T) model.Rule {
	kind := rapid.SampledFrom([]model.MatchType{model.Exact, model.Prefix, model.Regex})
	r := model.Rule{
		Ref: model.RuleRef{
			Kind: "HTTPRoute", Namespace: label.Draw(t, "ns"), Name: label.Draw(t, "route"), Rule: rapid.IntRange(0, 15).Draw(t, "i"),
			File: rapid.SampledFrom([]string{"", "a.yaml"}).Draw(t, "file"), Line: rapid.IntRange(0, 1000).Draw(t, "line"),
		},
		Port:    rapid.Uint16().Draw(t, "port"),
		Request: drawHeaderMod(t), Response: drawHeaderMod(t),
	}
	for range rapid.IntRange(0, 2).Draw(t, "matches") {
		m := model.Match{Method: rapid.SampledFrom([]string{"", "GET"}).Draw(t, "method")}
		if rapid.Bool().Draw(t, "path") {
			m.Path = model.PathMatch{Type: kind.Draw(t, "type"), Value: "/" + label.Draw(t, "value"), Fold: rapid.Bool().Draw(t, "fold")}
		}
		if rapid.Bool().Draw(t, "more") {
			m.More = &model.MoreMatch{Port: rapid.Uint16().Draw(t, "mport"), Source: &model.SourceMatch{Namespace: label.Draw(t, "sns")}}
		}
		for range rapid.IntRange(0, 2).Draw(t, "headers") {
			m.Headers = append(m.Headers, model.ValueMatch{Name: label.Draw(t, "h"), Type: model.Exact, Value: label.Draw(t, "v"), Not: rapid.Bool().Draw(t, "not")})
			m.Query = append(m.Query, model.ValueMatch{Name: label.Draw(t, "q"), Type: model.Regex, Value: label.Draw(t, "v")})
		}
		r.Matches = append(r.Matches, m)
	}
	for range rapid.IntRange(0, 3).Draw(t, "backends") {
		r.Backends = append(r.Backends, model.Backend{
			Service: model.ServiceName{Namespace: label.Draw(t, "bns"), Name: label.Draw(t, "b")},
			Port:    rapid.Uint16().Draw(t, "bport"), Weight: rapid.Uint32Range(0, 1_000_000).Draw(t, "weight"),
			Invalid: rapid.SampledFrom([]string{"", "BackendNotFound: no"}).Draw(t, "invalid"), Request: drawHeaderMod(t),
			Response: drawHeaderMod(t), Subset: map[string]string{"version": label.Draw(t, "version")}, Upstream: drawUpstream(t),
		})
		if rapid.Bool().Draw(t, "own filters") {
			r.Backends[len(r.Backends)-1].Filters = &model.Filters{
				Redirect: &model.Redirect{Host: label.Draw(t, "elsewhere"), Status: 307},
				Mirrors:  []model.Mirror{{Service: model.ServiceName{Namespace: "c", Name: "d"}, Port: 80, Share: 0.5}},
			}
		}
	}
	r.Policy = drawPolicy(t)
	if rapid.Bool().Draw(t, "rewrite") {
		r.Filters.Rewrite = &model.Rewrite{Host: label.Draw(t, "host"), Path: &model.PathChange{Type: model.ChangePrefix, Value: "/x"}}
		r.Filters.Mirrors = []model.Mirror{{Service: model.ServiceName{Namespace: "a", Name: "b"}, Port: 80, Share: 0.25}}
	}
	return r
}

func drawSnapshot(t *rapid.T) *model.Snapshot {
	id := func(what string) model.Identity {
		return model.Identity{TrustDomain: "mesh.test", Namespace: label.Draw(t, what+" ns"), Account: label.Draw(t, what)}
	}
	s := &model.Snapshot{
		Revision: rapid.Int64Range(0, 1<<40).Draw(t, "revision"), TrustDomain: "mesh.test",
		Workload: model.Workload{ID: label.Draw(t, "id"), Identity: id("workload"), Service: model.ServiceName{Namespace: "default", Name: label.Draw(t, "own")}, Policy: drawPolicy(t)},
	}
	if rapid.Bool().Draw(t, "outbound") {
		s.Workload.Outbound = &model.Outbound{RegistryOnly: rapid.Bool().Draw(t, "registry only"), Ref: model.PolicyRef{Kind: "Sidecar", Name: label.Draw(t, "sidecar")}}
	}
	names := rapid.SliceOfNDistinct(label, 0, 4, rapid.ID).Draw(t, "services")
	slices.Sort(names)
	for _, n := range names {
		svc := model.Service{
			Name:  model.ServiceName{Namespace: "default", Name: n},
			VIP:   netip.AddrFrom4([4]byte{240, 240, rapid.Byte().Draw(t, "vip"), 1}),
			Ports: []model.Port{{Number: 80, Protocol: model.HTTP}, {Number: 443}, {Number: 443, Protocol: model.UDP}}, Policy: drawPolicy(t), Upstream: drawUpstream(t), Ordered: rapid.Bool().Draw(t, "ordered"),
		}
		for range rapid.IntRange(0, 3).Draw(t, "rules") {
			svc.Rules = append(svc.Rules, drawRule(t))
		}
		for range rapid.IntRange(0, 3).Draw(t, "endpoints") {
			svc.Endpoints = append(svc.Endpoints, model.Endpoint{
				ID: label.Draw(t, "endpoint"), Address: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 0, 0, rapid.Byte().Draw(t, "ip")}), 15008),
				Identity: id("endpoint id"), Plain: rapid.Bool().Draw(t, "plain"), Draining: rapid.Bool().Draw(t, "draining"),
				Labels: map[string]string{"version": label.Draw(t, "version")}, Ports: []uint16{80},
				Protocol: rapid.SampledFrom([]model.Protocol{model.Auto, model.HTTP2, model.UDP}).Draw(t, "protocol"),
				Host:     label.Draw(t, "host"), OneHost: rapid.Bool().Draw(t, "one host"),
			})
		}
		s.Services = append(s.Services, svc)
	}
	s.Sockets, s.ClientCertificate = drawSockets(t), drawCertificate(t)
	return s
}

// TestWireIsLossless sends snapshots over the wire's form and wants them back, whatever the order of resources.
func TestWireIsLossless(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := drawSnapshot(t)
		resources := SnapshotToResources(want)
		for i, r := range resources {
			b, err := proto.Marshal(r)
			if err != nil {
				t.Fatal(err)
			}
			resources[i] = new(discoveryv1.Resource)
			if err := proto.Unmarshal(b, resources[i]); err != nil {
				t.Fatal(err)
			}
		}
		got, err := SnapshotFromResources(want.Revision, rapid.Permutation(resources).Draw(t, "order"))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b netip.Addr) bool { return a == b }), cmp.Comparer(func(a, b netip.AddrPort) bool { return a == b }), cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })); diff != "" {
			t.Fatalf("-want +got\n%s", diff)
		}
		// Equal content has an equal version, so that nothing is sent twice.
		for i, r := range SnapshotToResources(got) {
			if again := SnapshotToResources(want)[i]; again.GetVersion() != r.GetVersion() {
				t.Fatalf("%s: versions %s and %s", r.GetName(), again.GetVersion(), r.GetVersion())
			}
		}
	})
}
