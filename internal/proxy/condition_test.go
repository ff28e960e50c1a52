package proxy

import (
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestConditions asks an engine of two loops which endpoints it leaves out and what is left of the retry budget.
func TestConditions(t *testing.T) {
	down := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(503) }
	web := program(t, "web", down, saying("well"))
	web.Endpoints = append(web.Endpoints, model.Endpoint{ID: "web-3", Address: netip.MustParseAddrPort("127.0.0.1:1"), Plain: true})
	web.Upstream = &model.Upstream{
		Ejection: &model.Ejection{ConsecutiveGateway: 1, Base: time.Hour, Max: time.Hour, MaxShare: 1},
		Budget:   &model.RetryBudget{Ratio: 0.5, Window: time.Hour, MinPerSecond: 1},
	}
	web.Policy = &model.Policy{Retry: &model.Retry{Attempts: 3, On: []model.RetryOn{model.Retry5xx}, Backoff: time.Millisecond}}
	l := newLab(t)
	e, at := l.gateway(&model.Snapshot{Services: []model.Service{web, program(t, "other", saying("hi"))}, Sockets: []model.Socket{{
		Address: loopback, Kind: model.SocketHTTP, Listeners: []model.Listener{{Name: "edge", Rules: toAll()}},
	}}}, 2)
	deadline := time.Now().Add(30 * time.Second)
	for {
		// Each request comes by a connection of its own, so both loops see some.
		if resp, _ := ask(t, at, "GET", "/", ""); resp.StatusCode != 200 {
			t.Fatalf("status %d", resp.StatusCode)
		}
		pools := e.Conditions([]model.ServiceName{name("web"), name("nothing")})
		if len(pools) != 1 {
			t.Fatalf("%d pools: %v", len(pools), pools)
		}
		p := pools[0]
		for _, x := range p.GetOut() {
			if x.GetLoops() < 1 || x.GetLoops() > 2 {
				t.Fatalf("at %d of 2 loops: %v", x.GetLoops(), x)
			}
		}
		if p.GetService() != "default/web" || p.GetLoops() != 2 || p.GetEndpoints() != 3 {
			t.Fatalf("%v", p)
		}
		var states []string
		for _, x := range p.GetOut() {
			states = append(states, fmt.Sprintf("%s %s", x.GetId(), x.GetState()))
			if until := time.Until(x.GetUntil().AsTime()); x.GetState() == stateEjected && (until < 30*time.Minute || until > 2*time.Hour) {
				t.Errorf("%s is ejected for %s", x.GetId(), until)
			}
		}
		b := p.GetBudget()
		all := strings.Join(states, ", ")
		if strings.Contains(all, "web-1 ejected") && strings.Contains(all, "web-3") && b.GetRetries() > 0 {
			if b.GetRequests() == 0 || b.GetLeft() == 0 || b.GetRatio() != 0.5 || b.GetWindow().AsDuration() != time.Hour {
				t.Errorf("budget %v", b)
			}
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("left out: %s; budget %v", all, b)
		}
	}
}
