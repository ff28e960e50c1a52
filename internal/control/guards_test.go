package control

import (
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// guarded applies a set under a guard of 10 s.
func (p *plane) guarded(text string) *adminv1.ApplyResponse {
	p.t.Helper()
	resp, err := p.client.Apply(p.ctx(), connect.NewRequest(&adminv1.ApplyRequest{
		Documents: []*adminv1.Document{{File: "web.yaml", Text: text}}, Guard: &adminv1.GuardSpec{Window: durationpb.New(minGuard)},
	}))
	if err != nil {
		p.t.Fatal(err)
	}
	return resp.Msg
}

// ended waits until the guard of a revision has ended; while it has not, busy is called.
func (p *plane) ended(revision int64, busy func()) *adminv1.GuardStatus {
	p.t.Helper()
	deadline := time.Now().Add(40 * time.Second)
	for tick := time.NewTicker(100 * time.Millisecond); ; <-tick.C {
		busy()
		g := p.history(&adminv1.HistoryRequest{Revision: revision})[0].GetGuard()
		switch g.GetState() {
		case adminv1.GuardStatus_STATE_WAITING, adminv1.GuardStatus_STATE_WATCHING:
		default:
			tick.Stop()
			return g
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("the guard does not end: %v", g)
		}
	}
}

func nothing() {}

func TestGuardIsChecked(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	for _, g := range []*adminv1.GuardSpec{
		{},
		{Window: durationpb.New(time.Second)},
		{Window: durationpb.New(time.Hour)},
		{Window: durationpb.New(time.Minute), SuccessRate: 1.1},
		{Window: durationpb.New(time.Minute), LatencyIncrease: -1},
		{Window: durationpb.New(time.Minute), Latency: durationpb.New(-time.Second)},
	} {
		_, err := p.client.Apply(p.ctx(), connect.NewRequest(&adminv1.ApplyRequest{Documents: []*adminv1.Document{{Text: service("a", 80)}}, Guard: g}))
		if connect.CodeOf(err) != connect.CodeInvalidArgument || p.ports() != "" {
			t.Errorf("%v: %v; stored: %s", g, err, p.ports())
		}
	}
}

// TestGuardOfARefusal rolls back what a proxy cannot run.
func TestGuardOfARefusal(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	w := p.join("web", "web-1", func(s *model.Snapshot) error {
		for _, svc := range s.Services {
			if len(svc.Rules) > 0 {
				return errors.New("cannot run that")
			}
		}
		return nil
	})
	if err := w.register(p.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	w.find(p.ctx(), t, "web")
	applied := p.guarded(routeYAML)
	if got := strings.Join(applied.GetGuarded(), " "); got != "default/web" {
		t.Errorf("guarded: %s", got)
	}
	g := p.ended(applied.GetRevision(), nothing)
	if g.GetState() != adminv1.GuardStatus_STATE_ROLLED_BACK || !strings.Contains(g.GetReason(), "cannot run that") || g.GetRollback() <= applied.GetRevision() {
		t.Errorf("%v", g)
	}
	last := p.history(&adminv1.HistoryRequest{Limit: 1})[0]
	if last.GetRevision() != g.GetRollback() || last.GetUndone() != applied.GetRevision() || !strings.HasPrefix(last.GetCaller(), "guard of revision ") {
		t.Errorf("%v", last)
	}
	list, err := p.client.List(p.ctx(), connect.NewRequest(&adminv1.ListRequest{Kind: "httproutes"}))
	if err != nil || len(list.Msg.GetResources()) != 0 {
		t.Errorf("the route is still there: %v %v", list, err)
	}
}

// TestGuardSurvivesARestart has the control plane end during a guard: the next one ends it.
func TestGuardSurvivesARestart(t *testing.T) {
	dir := shortDir(t)
	p := startPlane(t, dir, nil)
	p.mustApply(service("a", 79), "")
	applied := p.guarded(service("a", 80))
	p.stop()
	p = startPlane(t, dir, nil)
	g := p.ended(applied.GetRevision(), nothing)
	if g.GetState() != adminv1.GuardStatus_STATE_UNJUDGED || !strings.Contains(g.GetReason(), "default/a (0 of 50 requests)") || p.ports() != "a:80" {
		t.Errorf("%v; stored: %s", g, p.ports())
	}
	if v, _ := p.s.state.read(false); len(v.guards) != 0 {
		t.Errorf("the guard is still in the store: %v", v.guards)
	}
}

// traffic reports requests for a service, as proxies do.
type traffic struct {
	p             *plane
	started       time.Time
	good, bad     atomic.Uint64
	node, service string
}

func (f *traffic) report(good, bad uint64) {
	f.p.t.Helper()
	err := f.p.s.metrics.Report(f.node, f.started, []*discoveryv1.Series{{
		Direction: "outbound", Source: "default/x", Service: f.service, Destination: f.service, Success: f.good.Add(good), Failure: f.bad.Add(bad),
	}}, time.Now())
	if err != nil {
		f.p.t.Fatal(err)
	}
}

// TestGuardDoesNotOverwrite: what somebody changed during a guard stays, and the guard says that it would not.
func TestGuardDoesNotOverwrite(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	p.mustApply(service("a", 80), "")
	load := &traffic{p: p, started: time.Now(), node: "n", service: "default/a"}
	load.report(500, 0)
	applied := p.guarded(service("a", 81))
	p.mustApply(service("a", 82), "meanwhile")
	g := p.ended(applied.GetRevision(), func() { load.report(0, 10) })
	if g.GetState() != adminv1.GuardStatus_STATE_CONFLICT || !strings.Contains(g.GetReason(), "success rate") || !strings.Contains(g.GetReason(), "was changed since") || p.ports() != "a:82" {
		t.Errorf("%v; stored: %s", g, p.ports())
	}
	// Without interference the same traffic condemns the change.
	load = &traffic{p: p, started: time.Now(), node: "m", service: "default/b"}
	p.mustApply(service("b", 80), "")
	load.report(500, 0)
	applied = p.guarded(service("b", 81))
	g = p.ended(applied.GetRevision(), func() { load.report(0, 10) })
	if g.GetState() != adminv1.GuardStatus_STATE_ROLLED_BACK || !strings.HasPrefix(g.GetReason(), "default/b: success rate 0.00%") || p.ports() != "a:82 b:80" {
		t.Errorf("%v; stored: %s", g, p.ports())
	}
}
