package config

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// asked is what becomes of a request for a service.
type asked struct {
	Versions map[string]uint32 // weight of each version
	Delay    time.Duration
	Abort    int
	Mirror   string
}

// ask matches a request as the proxy of the product page does.
func ask(t *testing.T, snapshot *model.Snapshot, service string, fields ...string) asked {
	t.Helper()
	for i := range snapshot.Services {
		s := &snapshot.Services[i]
		if s.Name != (model.ServiceName{Namespace: "default", Name: service}) {
			continue
		}
		table, err := route.CompileWith(s.Rules, route.Options{Ordered: s.Ordered, Client: &snapshot.Workload})
		if err != nil {
			t.Fatal(err)
		}
		h := &message.Head{Method: "GET", Path: "/" + service + "/0", Authority: service + ":9080", Length: message.Unknown}
		for j := 0; j < len(fields); j += 2 {
			h.Add(fields[j], fields[j+1])
		}
		at, _, ok := table.Match(h, 9080)
		if !ok {
			t.Fatalf("no rule of %s", service)
		}
		rule := &s.Rules[at]
		out := asked{Versions: map[string]uint32{}}
		for _, b := range rule.Backends {
			if b.Invalid != "" {
				t.Error(b.Invalid)
			}
			out.Versions[b.Subset["version"]] += b.Weight
		}
		for _, f := range rule.Policy.Faults {
			if f.DelayShare == 1 {
				out.Delay = f.Delay
			}
			if f.AbortShare == 1 {
				out.Abort = f.Status
			}
		}
		for _, m := range rule.Filters.Mirrors {
			out.Mirror = fmt.Sprintf("%s %s %g", m.Service.Name, m.Subset["version"], m.Share)
		}
		return out
	}
	t.Fatalf("no service %s", service)
	return asked{}
}

// TestIstioBookInfo has what the documentation of Istio says of its samples.
func TestIstioBookInfo(t *testing.T) {
	v1 := map[string]uint32{"v1": 1}
	for _, c := range []struct {
		file, service string
		fields        []string
		want          asked
	}{
		{"all-v1", "reviews", nil, asked{Versions: v1}},
		{"all-v1", "ratings", nil, asked{Versions: v1}},
		{"jason-v2", "reviews", []string{"end-user", "jason"}, asked{Versions: map[string]uint32{"v2": 1}}},
		{"jason-v2", "reviews", []string{"end-user", "Jason"}, asked{Versions: v1}},
		{"jason-v2", "reviews", nil, asked{Versions: v1}},
		{"half-v1-half-v3", "reviews", nil, asked{Versions: map[string]uint32{"v1": 50, "v3": 50}}},
		{"delay-for-jason", "ratings", []string{"end-user", "jason"}, asked{Versions: v1, Delay: 7 * time.Second}},
		{"delay-for-jason", "ratings", nil, asked{Versions: v1}},
		{"abort-for-jason", "ratings", []string{"end-user", "jason"}, asked{Versions: v1, Abort: 500}},
		{"abort-for-jason", "ratings", nil, asked{Versions: v1}},
		{"mirror-to-v3", "reviews", nil, asked{Versions: map[string]uint32{"v1": 100}, Mirror: "reviews v3 0.25"}},
	} {
		sources := []document.Source{source(t, "testdata/istio/bookinfo/destination-rules.yaml"), source(t, "testdata/istio/bookinfo/"+c.file+".yaml")}
		resources, problems := ParseSet(sources, document.Limits{})
		if len(problems) > 0 {
			t.Fatal(c.file, problems)
		}
		mesh, warnings := Compile(Input{Resources: resources, Registry: registry(t)})
		if len(warnings) > 0 {
			t.Error(c.file, warnings)
		}
		for key, conditions := range mesh.Status {
			for _, s := range conditions {
				if s.Status != "True" {
					t.Errorf("%s: %s %+v", c.file, key, s)
				}
			}
		}
		if d := cmp.Diff(c.want, ask(t, Scope(mesh, page(), everything(mesh)), c.service, c.fields...)); d != "" {
			t.Errorf("%s %v: %s", c.file, c.fields, d)
		}
	}
}
