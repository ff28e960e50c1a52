package balance

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// Client is who chooses: what localities and labels of endpoints are compared with.
type Client struct {
	Locality string // "region/zone/subzone", cut where it is not known
	Labels   map[string]string
}

// Labels that a locality stands for where they are not given (Kubernetes, "Well-Known Labels"; Istio).
const (
	labelRegion  = "topology.kubernetes.io/region"
	labelZone    = "topology.kubernetes.io/zone"
	labelSubzone = "topology.istio.io/subzone"
)

// Nearness is how many parts of "region/zone/subzone" the two localities share from the left: 0 to 3. A part that
// one of them does not know is not shared; a region that neither knows is: "/a" is in the zone of "/a".
func Nearness(client, endpoint string) int {
	n := 0
	for i := 1; i <= 3 && client != "" && endpoint != ""; i++ {
		var a, b string
		a, client, _ = strings.Cut(client, "/")
		b, endpoint, _ = strings.Cut(endpoint, "/")
		if a != b || a == "" && i > 1 {
			break
		}
		if a != "" {
			n = i
		}
	}
	return n
}

// part is the nth of region, zone and subzone; "" where it is not known.
func part(locality string, n int) string {
	for range n {
		_, locality, _ = strings.Cut(locality, "/")
	}
	p, _, _ := strings.Cut(locality, "/")
	return p
}

// group is a priority, or a locality that has a fixed share.
type group struct {
	name    string
	share   float64 // Distribute
	members []int32 // indexes of candidates, in order
}

// groups divides candidates by a policy: one group without any. distributed tells that they have shares, else they
// are priorities, the nearest first. Candidates that no share concerns are in no group.
func groups(l *model.Locality, client Client, all []Candidate) (out []group, distributed bool) {
	if l != nil {
		for i := range l.Distribute {
			if covers(l.Distribute[i].From, client.Locality) {
				return shared(&l.Distribute[i], all), true
			}
		}
		if l.Prefer || len(l.Failover) > 0 || len(l.Priorities) > 0 {
			return prioritised(l, client, all), false
		}
	}
	one := group{name: "all", members: make([]int32, len(all))}
	for i := range all {
		one.members[i] = int32(i)
	}
	return []group{one}, false
}

// covers reports whether a locality is of a pattern: "*", "region/*", "region/zone/*", or the locality itself or one
// within it.
func covers(pattern, locality string) bool {
	pattern = strings.TrimSuffix(strings.TrimSuffix(pattern, "*"), "/")
	return pattern == "" || locality == pattern || strings.HasPrefix(locality, pattern) && locality[len(pattern)] == '/'
}

func shared(d *model.LocalityShare, all []Candidate) []group {
	var out []group
	for to, share := range d.To {
		if share > 0 {
			out = append(out, group{name: to, share: share})
		}
	}
	// The most specific pattern takes an endpoint that several cover.
	slices.SortFunc(out, func(a, b group) int {
		return cmp.Or(cmp.Compare(len(b.name), len(a.name)), cmp.Compare(a.name, b.name))
	})
	for i := range all {
		for g := range out {
			if covers(out[g].name, all[i].Locality) {
				out[g].members = append(out[g].members, int32(i))
				break
			}
		}
	}
	slices.SortFunc(out, func(a, b group) int { return cmp.Compare(a.name, b.name) })
	return out
}

// rank is how far a candidate is, by labels first.
type rank struct{ labels, place int }

func prioritised(l *model.Locality, client Client, all []Candidate) []group {
	ranks := make([]rank, len(all))
	for i := range all {
		ranks[i] = rankOf(l, client, &all[i])
	}
	sorted := slices.Clone(ranks)
	slices.SortFunc(sorted, func(a, b rank) int {
		return cmp.Or(cmp.Compare(a.labels, b.labels), cmp.Compare(a.place, b.place))
	})
	sorted = slices.Compact(sorted) // a distance at which nobody is, is no priority
	out := make([]group, len(sorted))
	for g, r := range sorted {
		out[g].name = r.name(l)
		for i := range ranks {
			if ranks[i] == r {
				out[g].members = append(out[g].members, int32(i))
			}
		}
	}
	return out
}

const (
	placeFailover = 3 // in the region that stands in for the client's
	placeOther    = 4
	placeUnknown  = 5 // the client's own locality is
)

func rankOf(l *model.Locality, client Client, c *Candidate) rank {
	var r rank
	if len(l.Priorities) > 0 {
		r.labels = len(l.Priorities)
		for _, label := range l.Priorities {
			if !sharesLabel(label, client, c) {
				break
			}
			r.labels--
		}
	}
	if !l.Prefer && len(l.Failover) == 0 {
		return r
	}
	if part(client.Locality, 0) == "" && part(client.Locality, 1) == "" {
		r.place = placeUnknown
		return r
	}
	r.place = 3 - Nearness(client.Locality, c.Locality)
	if r.place == 3 {
		r.place = placeOther
		for _, f := range l.Failover {
			if f.From == part(client.Locality, 0) && covers(f.To, c.Locality) {
				r.place = placeFailover
			}
		}
	}
	return r
}

// sharesLabel compares one label; "key=value" asks endpoints for that value, whatever the client has.
func sharesLabel(label string, client Client, c *Candidate) bool {
	key, want, given := strings.Cut(label, "=")
	if !given {
		if want = labelOf(key, client.Labels, client.Locality); want == "" {
			return false
		}
	}
	return labelOf(key, c.Labels, c.Locality) == want
}

func labelOf(key string, labels map[string]string, locality string) string {
	if v, ok := labels[key]; ok {
		return v
	}
	switch key {
	case labelRegion:
		return part(locality, 0)
	case labelZone:
		return part(locality, 1)
	case labelSubzone:
		return part(locality, 2)
	}
	return ""
}

// name says who is at this distance.
func (r rank) name(l *model.Locality) string {
	var parts []string
	if n := len(l.Priorities); n > 0 {
		switch shared := n - r.labels; shared {
		case 0:
			parts = append(parts, "other "+l.Priorities[0])
		default:
			parts = append(parts, "same "+strings.Join(l.Priorities[:shared], ", "))
		}
	}
	if l.Prefer || len(l.Failover) > 0 {
		parts = append(parts, [...]string{"same subzone", "same zone", "same region", "failover region", "other region", "any place, as the client's is not known"}[r.place])
	}
	return strings.Join(parts, "; ")
}
