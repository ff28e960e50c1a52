package proxy

import (
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// TestGlobalRateLimits: a proxy admits what it was granted, says what it used, and asks for nothing when no limit is
// left.
func TestGlobalRateLimits(t *testing.T) {
	rules := []model.Rule{{Backends: to("web"), Policy: &model.Policy{Limits: []model.RateLimit{
		{Name: "all", Requests: 10, Per: time.Hour, Global: true},
		{Name: "users", Requests: 100, Per: time.Hour, Global: true, Key: model.LimitKey{Header: "x-user"}},
	}}}}
	snapshot := func(rules []model.Rule) *model.Snapshot {
		return &model.Snapshot{
			Services: []model.Service{fleet(t, 1, nil)},
			Sockets:  []model.Socket{{Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: rules}}}},
		}
	}
	l := newLab(t)
	e, at := l.gateway(snapshot(rules), 2)
	now := time.Now()
	asks := e.DueQuota(now, nil)
	if !e.Leasing() || len(asks) != 1 || !asks[0].First || asks[0].Proxy != "gateway" {
		t.Fatalf("before the first request: %+v", asks)
	}
	e.GrantQuota(&asks[0], resilience.Quota{Amount: 3, For: time.Hour, Share: 0.5})
	c := newClient(t, at)
	for i := range 5 {
		code, body, h := c.get("/", "x-user", "anna")
		if want := map[bool]int{true: 200, false: 429}[i < 3]; code != want {
			t.Errorf("request %d: %d %s", i, code, body)
		}
		if code == 429 && (h.Get("retry-after") == "" || !strings.Contains(body, `"all" allows 10 requests in 1h0m0s at all proxies together`)) {
			t.Errorf("%v %q", h, body)
		}
	}
	used := map[string]resilience.Ask{}
	asks = e.DueQuota(now.Add(time.Hour), nil)
	for i := range asks {
		used[asks[i].Key] = asks[i].Ask
	}
	if len(asks) != 2 || used[""].Used != 3 || used[""].Wanted != 5 || used["anna"].Used != 3 || !used["anna"].First {
		t.Errorf("after the requests: %+v", asks)
	}
	// A new configuration with the same limits goes on with them; one without forgets them.
	l.apply(e, snapshot(rules))
	e.GrantQuota(&asks[0], resilience.Quota{Amount: 100, For: time.Hour})
	e.GrantQuota(&asks[1], resilience.Quota{Amount: 100, For: time.Hour})
	if code, body, _ := c.get("/", "x-user", "anna"); code != 200 {
		t.Errorf("once more is granted: %d %s", code, body)
	}
	l.apply(e, snapshot(toAll()))
	if due := e.DueQuota(now.Add(2*time.Hour), nil); e.Leasing() || len(due) != 0 {
		t.Errorf("without limits: %+v", due)
	}
	e.GrantQuota(&asks[0], resilience.Quota{Amount: 100, For: time.Hour})
}
