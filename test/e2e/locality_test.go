package e2e

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	labelRegion = "topology.kubernetes.io/region="
	labelZone   = "topology.kubernetes.io/zone="
)

func place(region, zone string) []string {
	return []string{"-l", labelRegion + region, "-l", labelZone + zone}
}

const localPolicy = `apiVersion: weft.dev/v1alpha1
kind: TrafficPolicy
metadata: {name: web}
spec:
  targetRefs: [{kind: Service, name: web}]
  healthCheck: {http: {path: /health}, interval: 1s, timeout: 1s, healthy: 1, unhealthy: 2}
  loadBalancing:
    algorithm: random
    locality: {prefer: true, failover: [{from: eu, to: us}]}
`

// zones joins the zones' counts of what client.tell returns: endpoints' names are ZONE-NUMBER.
func zones(tally map[string]int) map[string]int {
	out := map[string]int{}
	for name, n := range tally {
		zone, _, _ := strings.Cut(name, "-")
		out[zone] += n
	}
	return out
}

// localityLab is a service with four endpoints in the client's zone, one in its region, one in the region that stands
// in for it, and one elsewhere.
type localityLab struct {
	*mesh
	c    *client
	near []*process
	sick map[string]func(bool)
}

func newLocalityLab(t *testing.T) *localityLab {
	l := &localityLab{mesh: newMesh(t), sick: map[string]func(bool){}}
	join := func(name, region, zone string) *process {
		p, sick := l.mortal(t, "web", name, place(region, zone)...)
		l.sick[name] = sick
		return p
	}
	for i := range 4 {
		l.near = append(l.near, join(fmt.Sprintf("near-%d", i), "eu", "a"))
	}
	join("region-0", "eu", "b")
	join("failover-0", "us", "a")
	join("other-0", "ap", "a")
	l.ready("web", 7)
	l.c = l.prober(place("eu", "a")...)
	l.must("apply", "--wait", "-f", l.file("web.yaml", localPolicy))
	return l
}

// settled waits until only the endpoints named are asked, then measures.
func (l *localityLab) settled(n int, want ...string) map[string]int {
	l.t.Helper()
	slices.Sort(want)
	eventually(l.t, 30*time.Second, fmt.Sprintf("only %v are asked", want), func() error {
		if got := slices.Sorted(maps.Keys(l.c.tell(200, 4, "http://web/"))); !slices.Equal(got, want) {
			return fmt.Errorf("they are %v", got)
		}
		return nil
	})
	return l.c.tell(n, 4, "http://web/")
}

// TestLocality: while the client's zone is healthy all requests stay there, spread evenly. As its endpoints fail, what
// they cannot bear, taken to be 1.4 times their need, goes to the next priority: the region, the region that stands in
// for it, the others. As they recover, all comes back.
func TestLocality(t *testing.T) {
	l := newLocalityLab(t)
	const n = 3000
	near := []string{"near-0", "near-1", "near-2", "near-3"}
	t.Run("healthy", func(t *testing.T) {
		got := l.settled(n, near...)
		for _, name := range near {
			within(t, name, got[name], n, 0.25, 0)
		}
	})
	t.Run("half is sick", func(t *testing.T) {
		l.sick["near-0"](true)
		l.sick["near-1"](true)
		got := l.settled(n, "near-2", "near-3", "region-0")
		z := zones(got)
		within(t, "the zone", z["near"], n, 0.7, 0) // 1.4 * 2/4
		within(t, "the region", z["region"], n, 0.3, 0)
		within(t, "near-2 of the zone", got["near-2"], z["near"], 0.5, 0)
	})
	t.Run("three are sick", func(t *testing.T) {
		l.sick["near-2"](true)
		z := zones(l.settled(n, "near-3", "region-0"))
		within(t, "the zone", z["near"], n, 0.35, 0) // 1.4 * 1/4
		within(t, "the region", z["region"], n, 0.65, 0)
	})
	t.Run("the region is sick", func(t *testing.T) {
		l.sick["near-3"](true)
		l.sick["region-0"](true)
		l.settled(n, "failover-0")
	})
	t.Run("all but the others are sick", func(t *testing.T) {
		l.sick["failover-0"](true)
		l.settled(n, "other-0")
	})
	t.Run("well again", func(t *testing.T) {
		for name, sick := range l.sick {
			if name != "other-0" {
				sick(false)
			}
		}
		got := l.settled(n, near...)
		for _, name := range near {
			within(t, name, got[name], n, 0.25, 0)
		}
	})
	t.Run("the zone's programs end", func(t *testing.T) {
		for _, p := range l.near {
			p.stop(syscall.SIGTERM)
		}
		l.ready("web", 3)
		l.settled(n, "region-0")
	})
}
