package control

import (
	"context"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

// explainNow explains a request and returns what it says about the present.
func (p *plane) explainNow(from string) string {
	p.t.Helper()
	resp, err := p.client.Explain(p.ctx(), connect.NewRequest(&adminv1.ExplainRequest{From: from, To: "web.default:80"}))
	if err != nil {
		p.t.Fatal(err)
	}
	var out strings.Builder
	for _, s := range resp.Msg.GetSteps() {
		if s.GetStage() == "now" {
			out.WriteString(s.GetSubject() + ": " + s.GetReason() + "\n")
		}
	}
	return out.String()
}

// TestExplainAsksTheClientsProxy has explain show what the client's proxy leaves out at
// the moment, and say so when there is none to ask.
func TestExplainAsksTheClientsProxy(t *testing.T) {
	dir := shortDir(t)
	a := startPlane(t, dir, nil)
	w := a.join("web", "web-1", func(*model.Snapshot) error { return nil })
	if err := w.register(a.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	w.find(a.ctx(), t, "web")
	if got := a.explainNow(""); !strings.Contains(got, "--from") {
		t.Errorf("without a client: %s", got)
	}
	if got := a.explainNow("default/load"); !strings.Contains(got, "no proxy of this client is connected") {
		t.Errorf("a client without a proxy: %s", got)
	}
	load := a.join("load", "load-1", func(*model.Snapshot) error { return nil })
	if got := a.explainNow("default/load"); !strings.Contains(got, "proxy load-1: leaves no endpoint out") {
		t.Errorf("a proxy that knows of nothing: %s", got)
	}
	load.stop()

	until := time.Now().Add(time.Minute)
	node := &discoveryv1.Node{Id: "load-2", Service: "load"}
	c := xds.NewClient(xds.ClientOptions{
		HTTP: w.source.HTTPClient(), BaseURL: w.source.BaseURL(), Node: node,
		Apply: func(*model.Snapshot) error { return nil },
		Conditions: func(services []model.ServiceName) []*discoveryv1.PoolState {
			if len(services) != 1 || services[0].String() != "default/web" {
				t.Errorf("asked about %v", services)
			}
			return []*discoveryv1.PoolState{{
				Service: "default/web", Loops: 2, Endpoints: 3,
				Out:    []*discoveryv1.EndpointState{{Id: "web-1", State: "ejected", Until: timestamppb.New(until), Reason: "5 failures in a row", Loops: 1}},
				Budget: &discoveryv1.BudgetState{Ratio: 0.2, Window: durationpb.New(10 * time.Second), Requests: 100, Retries: 17, Left: 3, Refused: 2},
			}}
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); _ = c.Run(ctx) }()
	defer func() { cancel(); <-done }()
	select {
	case <-c.Ready():
	case <-time.After(30 * time.Second):
		t.Fatal("no configuration within 30 s")
	}
	got := a.explainNow("default/load")
	for _, want := range []string{
		"proxy load-2 leaves web-1 of default/web out: ejected until " + until.UTC().Format("15:04:05.000"), "at 1 of 2 event loops",
		"5 failures in a row", "retry budget of default/web: 3 retries left: 20% of 100 requests in 10s, 17 retries made, 2 refused so far",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("explain lacks %q:\n%s", want, got)
		}
	}
}
