package agent

import (
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// TestGlobalLimitsNeedAControlPlane: a snapshot with one is refused by a proxy that has none, wherever it is written.
func TestGlobalLimitsNeedAControlPlane(t *testing.T) {
	policy := &model.Policy{Limits: []model.RateLimit{{Name: "here", Requests: 1}, {Name: "all", Requests: 1, Global: true}}}
	rules := []model.Rule{{Policy: policy}}
	for name, s := range map[string]*model.Snapshot{
		"workload": {Workload: model.Workload{Policy: policy}},
		"service":  {Services: []model.Service{{Policy: policy}}},
		"rule":     {Services: []model.Service{{Rules: rules}}},
		"listener": {Sockets: []model.Socket{{Listeners: []model.Listener{{Rules: rules}}}}},
	} {
		if err := needsControl(s); err == nil || !strings.Contains(err.Error(), "rate limit all: scope global needs a control plane") {
			t.Errorf("%s: %v", name, err)
		}
	}
	policy.Limits = policy.Limits[:1]
	if err := needsControl(&model.Snapshot{Workload: model.Workload{Policy: policy}, Services: []model.Service{{Rules: rules}}}); err != nil {
		t.Error(err)
	}
}

// TestLeasesThatFailAreSaidOnce: after a while, and again when it is over.
func TestLeasesThatFailAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var said strings.Builder
		l := &leaser{a: &Agent{log: slog.New(slog.NewTextHandler(&said, nil))}}
		lines := func() int { return strings.Count(said.String(), "\n") }
		for range 10 {
			if l.note(errNotGranted) {
				t.Fatal("it answered")
			}
			if !l.note(io.ErrUnexpectedEOF) {
				t.Fatal("it did not answer")
			}
			time.Sleep(quotaQuiet / 10)
		}
		if lines() != 0 {
			t.Errorf("said too early: %s", said.String())
		}
		l.note(errors.New("down"))
		l.note(errors.New("down"))
		if lines() != 1 || !strings.Contains(said.String(), "error=down") {
			t.Errorf("%s", said.String())
		}
		l.note(nil)
		l.note(nil)
		if lines() != 2 || !strings.Contains(said.String(), "leased again") {
			t.Errorf("%s", said.String())
		}
	})
}
