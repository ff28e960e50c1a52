package proxy

import (
	"net/http"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestEjectionByStatuses ejects an endpoint for the statuses that the policy names, and not for others.
func TestEjectionByStatuses(t *testing.T) {
	for status, want := range map[int]int{404: 2, 500: 10} {
		bad := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status) }
		s := program(t, "web", saying("good"), bad)
		s.Upstream = &model.Upstream{
			Balance:  model.Balance{Algorithm: model.RoundRobin},
			Ejection: &model.Ejection{Consecutive5xx: 2, Statuses: []int{404}, Base: time.Hour, Max: time.Hour},
		}
		c := newClient(t, newLab(t).edge(toAll(), s))
		got := 0
		for range 20 {
			if code, _, _ := c.get("/"); code == status {
				got++
			}
		}
		if got != want {
			t.Errorf("%d answers %d of 20 requests, want %d", got, status, want)
		}
	}
}

// TestRetriesInOtherLocalities has one retry, which finds the good endpoint far away only where it may go there while
// another near one is left.
func TestRetriesInOtherLocalities(t *testing.T) {
	for _, remote := range []bool{false, true} {
		bad := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
		s := program(t, "web", bad, bad, saying("far"))
		for i, zone := range []string{"eu/a", "eu/a", "us/a"} {
			s.Endpoints[i].Locality = zone
		}
		s.Upstream = &model.Upstream{Balance: model.Balance{Locality: &model.Locality{Prefer: true}}}
		rules := toAll()
		rules[0].Policy = &model.Policy{Retry: &model.Retry{
			Attempts: 1, On: []model.RetryOn{model.Retry5xx}, Remote: remote, Elsewhere: true, Backoff: time.Millisecond, MaxBackoff: time.Millisecond,
		}}
		_, at := newLab(t).gateway(&model.Snapshot{
			Workload: model.Workload{Labels: map[string]string{"topology.kubernetes.io/region": "eu", "topology.kubernetes.io/zone": "a"}},
			Services: []model.Service{s},
			Sockets:  []model.Socket{{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: rules}}}},
		}, 1)
		c := newClient(t, at)
		want := map[bool]int{false: 503, true: 200}[remote]
		for range 20 {
			if code, body, _ := c.get("/"); code != want {
				t.Fatalf("other localities %v: %d %q, want %d", remote, code, body, want)
			}
		}
	}
}

// TestAttributesOfCookies sets a cookie with the attributes that the policy adds.
func TestAttributesOfCookies(t *testing.T) {
	s := fleet(t, 2, &model.Upstream{Balance: model.Balance{Algorithm: model.RingHash, Hash: []model.HashKey{{
		Cookie: "who", TTL: time.Hour, Attributes: []model.CookieAttribute{{Name: "SameSite", Value: "Strict"}, {Name: "Secure"}, {Name: "Domain", Value: "shop.example"}},
	}}}})
	resp, _ := ask(t, newLab(t).edge(toAll(), s), "GET", "/", "")
	if c := resp.Cookies(); len(c) != 1 || c[0].SameSite != http.SameSiteStrictMode || !c[0].Secure || c[0].Domain != "shop.example" || c[0].MaxAge != 3600 || !c[0].HttpOnly {
		t.Errorf("%v", resp.Header["Set-Cookie"])
	}
}
