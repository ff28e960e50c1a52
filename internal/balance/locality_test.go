package balance

import (
	"testing"

	"github.com/weft-mesh/weft/internal/model"
)

func TestNearness(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"eu/a/1", "eu/a/1", 3},
		{"eu/a/1", "eu/a/2", 2},
		{"eu/a/1", "eu/b/1", 1},
		{"eu/a/1", "us/a/1", 0},
		{"eu/a", "eu/a/1", 2},
		{"eu/a", "eu/a", 2},
		{"eu", "eu/a", 1},
		{"eu//1", "eu//1", 1},
		{"/a", "/a", 2},
		{"/a", "/b", 0},
		{"/a", "eu/a", 0},
		{"/a/1", "/a/2", 2},
		{"//1", "//1", 0},
		{"", "", 0},
		{"", "eu", 0},
		{"eu/a/1/x", "eu/a/1/x", 3},
		{"eu", "europe", 0},
	} {
		if got := Nearness(c.a, c.b); got != c.want || Nearness(c.b, c.a) != got {
			t.Errorf("%q and %q: %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestCovers(t *testing.T) {
	for _, c := range []struct {
		pattern, locality string
		want              bool
	}{
		{"*", "eu/a/1", true},
		{"*", "", true},
		{"eu/*", "eu/a", true},
		{"eu/*", "eu", true},
		{"eu/*", "europe/a", false},
		{"eu/a/*", "eu/a/1", true},
		{"eu/a/*", "eu/b/1", false},
		{"eu/a", "eu/a/1", true},
		{"eu/a/1", "eu/a", false},
	} {
		if covers(c.pattern, c.locality) != c.want {
			t.Errorf("%q covers %q: %v", c.pattern, c.locality, !c.want)
		}
	}
}

// TestGroups: which endpoints are in which priority or share.
func TestGroups(t *testing.T) {
	at := func(localities ...string) []Candidate {
		var all []Candidate
		for _, l := range localities {
			all = append(all, Candidate{ID: l, Locality: l, Labels: map[string]string{"version": l[:1]}})
		}
		return all
	}
	places := at("eu/a/1", "eu/a/2", "eu/b/1", "us/a/1", "ap/a/1")
	client := Client{Locality: "eu/a/1", Labels: map[string]string{"version": "e"}}
	type want struct {
		name    string
		members []int32
	}
	for _, c := range []struct {
		name   string
		m      *model.Locality
		client Client
		all    []Candidate
		want   []want
	}{
		{"none", nil, client, places, []want{{"all", []int32{0, 1, 2, 3, 4}}}},
		{"nothing asked for", &model.Locality{Capacity: 2}, client, places, []want{{"all", []int32{0, 1, 2, 3, 4}}}},
		{"prefer", &model.Locality{Prefer: true}, client, places, []want{{"same subzone", []int32{0}}, {"same zone", []int32{1}}, {"same region", []int32{2}}, {"other region", []int32{3, 4}}}},
		{"prefer, nobody near", &model.Locality{Prefer: true}, client, at("us/a/1", "ap/a/1"), []want{{"other region", []int32{0, 1}}}},
		{"prefer, the client is nowhere", &model.Locality{Prefer: true}, Client{}, places, []want{{"any place, as the client's is not known", []int32{0, 1, 2, 3, 4}}}},
		{"failover", &model.Locality{Failover: []model.Failover{{From: "eu", To: "ap"}}}, client, places, []want{{"same subzone", []int32{0}}, {"same zone", []int32{1}}, {"same region", []int32{2}}, {"failover region", []int32{4}}, {"other region", []int32{3}}}},
		{"failover of others", &model.Locality{Failover: []model.Failover{{From: "us", To: "ap"}}}, client, at("ap/a", "us/a"), []want{{"other region", []int32{0, 1}}}},
		{"labels", &model.Locality{Priorities: []string{"topology.kubernetes.io/region", "topology.kubernetes.io/zone"}}, client, places, []want{
			{"same topology.kubernetes.io/region, topology.kubernetes.io/zone", []int32{0, 1}},
			{"same topology.kubernetes.io/region", []int32{2}},
			{"other topology.kubernetes.io/region", []int32{3, 4}},
		}},
		{"labels with a value", &model.Locality{Priorities: []string{"version=u"}}, client, places, []want{{"same version=u", []int32{3}}, {"other version=u", []int32{0, 1, 2, 4}}}},
		{"a later label does not count", &model.Locality{Priorities: []string{"app", "version"}}, client, places, []want{{"other app", []int32{0, 1, 2, 3, 4}}}},
		{"labels and failover", &model.Locality{Priorities: []string{"version"}, Failover: []model.Failover{{From: "eu", To: "ap"}}}, client, at("eu/b", "us/a", "ap/a"), []want{
			{"same version; same region", []int32{0}},
			{"other version; failover region", []int32{2}},
			{"other version; other region", []int32{1}},
		}},
		{"distribute", &model.Locality{Distribute: []model.LocalityShare{
			{From: "us/*", To: map[string]float64{"eu/*": 1}},
			{From: "eu/a/*", To: map[string]float64{"eu/*": 0.2, "eu/a/*": 0.8, "us/*": 0}},
		}}, client, places, []want{{"eu/*", []int32{2}}, {"eu/a/*", []int32{0, 1}}}},
		{"distribute of others", &model.Locality{Distribute: []model.LocalityShare{{From: "us/*", To: map[string]float64{"eu/*": 1}}}}, client, places, []want{{"all", []int32{0, 1, 2, 3, 4}}}},
	} {
		got, distributed := groups(c.m, c.client, c.all)
		if len(got) != len(c.want) || distributed != (c.name == "distribute") {
			t.Errorf("%s: %+v", c.name, got)
			continue
		}
		for i, w := range c.want {
			same := len(got[i].members) == len(w.members)
			for n := range w.members {
				same = same && got[i].members[n] == w.members[n]
			}
			if got[i].name != w.name || !same {
				t.Errorf("%s: group %d is %+v, want %+v", c.name, i, got[i], w)
			}
		}
	}
}
