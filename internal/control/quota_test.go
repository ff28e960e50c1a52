package control

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// limitsYAML is a policy of web with n limits for all proxies: l0 of 100 requests a second, l1 of 101 and so on.
func limitsYAML(n int) string {
	text := "apiVersion: weft.dev/v1alpha1\nkind: TrafficPolicy\nmetadata: {name: web}\nspec:\n  targetRefs: [{kind: Service, name: web}]\n  rateLimits:\n"
	for i := range n {
		text += fmt.Sprintf("  - {name: l%d, requests: %d, scope: global}\n", i, 100+i)
	}
	return text
}

// limitIDs waits until a control plane knows n limits, and returns the ID of each by its name.
func (p *plane) limitIDs(n int) map[string]model.LimitID {
	p.t.Helper()
	out := map[string]model.LimitID{}
	p.until(fmt.Sprintf("%d limits are known", n), func() bool {
		clear(out)
		for id, l := range p.s.mesh.Load().GlobalLimits() {
			out[l.Name] = id
		}
		return len(out) == n
	})
	return out
}

// until polls a condition.
func (p *plane) until(what string, f func() bool) {
	p.t.Helper()
	tick, ctx := time.NewTicker(10*time.Millisecond), p.ctx()
	defer tick.Stop()
	for !f() {
		select {
		case <-tick.C:
		case <-ctx.Done():
			p.t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// members waits until a control plane knows that n run.
func (p *plane) members(n int) {
	p.t.Helper()
	p.until(fmt.Sprintf("%d run", n), func() bool {
		p.s.quotas.mu.Lock()
		defer p.s.quotas.mu.Unlock()
		return len(p.s.quotas.owners.all) == n
	})
}

// counts are the limits that a control plane has ledgers of.
func (p *plane) counts() map[model.LimitID]bool {
	p.s.quotas.mu.Lock()
	defer p.s.quotas.mu.Unlock()
	out := map[model.LimitID]bool{}
	for id := range p.s.quotas.ledgers {
		out[id] = true
	}
	return out
}

func (w *workload) quota(ctx context.Context, t *testing.T, node string, asks ...*discoveryv1.QuotaAsk) []*discoveryv1.Quota {
	t.Helper()
	resp, err := w.api.Quota(ctx, connect.NewRequest(&discoveryv1.QuotaRequest{NodeId: node, Asks: asks, Caller: "spiffe://mesh.local/ns/default/sa/web"}))
	if err != nil {
		t.Fatal(err)
	}
	if len(resp.Msg.GetQuotas()) != len(asks) {
		t.Fatalf("%d answers to %d questions", len(resp.Msg.GetQuotas()), len(asks))
	}
	return resp.Msg.GetQuotas()
}

func TestQuota(t *testing.T) {
	p := startPlane(t, shortDir(t), nil)
	nothing := func(*model.Snapshot) error { return nil }
	web, stranger := p.join("web", "web-1", nothing), p.join("load", "load-1", nothing)
	if err := web.register(p.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	web.find(p.ctx(), t, "web")
	if _, err := p.apply(limitsYAML(1), true); err != nil {
		t.Fatal(err)
	}
	id := p.limitIDs(1)["l0"]
	p.until("the endpoint is compiled", func() bool {
		l := p.s.mesh.Load().GlobalLimits()[id]
		return l.Counts(model.Identity{TrustDomain: "mesh.local", Namespace: "default", Account: "web"}) && l.Counted != nil
	})
	explained, err := p.client.Explain(p.ctx(), connect.NewRequest(&adminv1.ExplainRequest{To: "web:80", Path: "/"}))
	const bound = "100 requests in 1s at all proxies together, in any time at most 110 more than that rate gives"
	if err != nil || !strings.Contains(fmt.Sprint(explained.Msg.GetSteps()), bound) {
		t.Errorf("explain: %v %v", explained, err)
	}
	first := &discoveryv1.QuotaAsk{Limit: id[:], First: true, Wanted: 30, Used: 20}
	if q := web.quota(p.ctx(), t, "web-1", first)[0]; q.GetError() != "" || q.GetAmount() < 10 || q.GetMicroseconds() != 200_000 || q.GetShare() != 1 {
		t.Errorf("the only proxy is granted %v", q)
	}
	for _, c := range []struct {
		name string
		w    *workload
		ask  *discoveryv1.QuotaAsk
		want string
	}{
		{"a limit that nobody wrote", web, &discoveryv1.QuotaAsk{Limit: make([]byte, 16)}, "no rate limit of this ID is in the mesh"},
		{"a short ID", web, &discoveryv1.QuotaAsk{Limit: []byte{1}}, "limit: has 1 bytes, wants 16"},
		{"a long key", web, &discoveryv1.QuotaAsk{Limit: id[:], Key: strings.Repeat("k", 129)}, "key: has 129 bytes"},
		// What it says of itself as caller is for control planes.
		{"a client of the service", stranger, first, "spiffe://mesh.local/ns/default/sa/load runs no endpoint of the service whose rate limit l0 is"},
	} {
		if q := c.w.quota(p.ctx(), t, "n", c.ask)[0]; !strings.Contains(q.GetError(), c.want) || q.GetAmount() != 0 {
			t.Errorf("%s: %v", c.name, q)
		}
	}
	var coded *connect.Error
	_, err = web.api.Quota(p.ctx(), connect.NewRequest(&discoveryv1.QuotaRequest{NodeId: "web-1", Asks: make([]*discoveryv1.QuotaAsk, maxQuotaAsks+1)}))
	if !errors.As(err, &coded) || coded.Code() != connect.CodeInvalidArgument {
		t.Errorf("too many at once: %v", err)
	}
	// The proxy may run the old configuration for a while: its limit goes on; the new one is another.
	if _, err := p.apply(strings.Replace(limitsYAML(1), "requests: 100", "requests: 50", 1), true); err != nil {
		t.Fatal(err)
	}
	p.until("the new limit is compiled", func() bool { _, old := p.s.mesh.Load().GlobalLimits()[id]; return !old })
	fresh := p.limitIDs(1)["l0"]
	for _, q := range web.quota(p.ctx(), t, "web-1", &discoveryv1.QuotaAsk{Limit: id[:], Used: 25, Wanted: 35}, &discoveryv1.QuotaAsk{Limit: fresh[:], First: true}) {
		if q.GetError() != "" {
			t.Error(q)
		}
	}
}

// TestQuotaHasOneOwner: whichever control plane is asked, one counts. When it ends the other goes on without granting
// again what is out.
func TestQuotaHasOneOwner(t *testing.T) {
	at := outsideEtcd(t)
	key := filepath.Join(t.TempDir(), "ca.key")
	run := func(name string) *plane {
		return startPlane(t, shortDir(t), func(o *Options) { o.Store.URL, o.CAKey, o.Instance = at, key, name })
	}
	a, b := run("a"), run("b")
	nothing := func(*model.Snapshot) error { return nil }
	atA, atB := a.join("web", "web-1", nothing), b.join("web", "web-2", nothing)
	const n = 16 // that all of them fall to one control plane is as likely as 15 heads in a row
	if err := atA.register(a.ctx(), "web", "web-1", "v1", 60); err != nil {
		t.Fatal(err)
	}
	atB.find(b.ctx(), t, "web")
	if _, err := a.apply(limitsYAML(n), true); err != nil {
		t.Fatal(err)
	}
	ids := a.limitIDs(n)
	b.limitIDs(n)
	a.members(2)
	b.members(2)
	all := func(w *workload, node string, first bool) (granted uint64) {
		t.Helper()
		var asks []*discoveryv1.QuotaAsk
		for _, id := range ids {
			asks = append(asks, &discoveryv1.QuotaAsk{Limit: id[:], First: first, Wanted: 1000})
		}
		for _, q := range w.quota(a.t.Context(), t, node, asks...) {
			if q.GetError() != "" {
				t.Fatal(q)
			}
			granted += q.GetAmount()
		}
		return granted
	}
	all(atA, "web-1", true)
	all(atB, "web-2", true)
	ofA, ofB := a.counts(), b.counts()
	if len(ofA)+len(ofB) != n || len(ofA) == 0 || len(ofB) == 0 {
		t.Fatalf("a counts %d and b %d limits of %d", len(ofA), len(ofB), n)
	}
	for id := range ofA {
		if ofB[id] {
			t.Error("two count one limit")
		}
	}
	atA.stop()
	a.stop()
	b.members(1)
	// Those that a counted have been leased out: b begins without tokens and grants what has come in since, which is
	// nothing the first time.
	var moved []*discoveryv1.QuotaAsk
	for id := range ofA {
		moved = append(moved, &discoveryv1.QuotaAsk{Limit: id[:], Wanted: 2000})
	}
	for _, q := range atB.quota(b.ctx(), t, "web-2", moved...) {
		if q.GetError() != "" || q.GetAmount() > 0 {
			t.Errorf("the new owner answers %v, want nothing at first", q)
		}
	}
	// A new control plane takes some of them, and b drops what it counted of them.
	c := run("c")
	c.limitIDs(n)
	c.members(2)
	b.until("c counts some limits", func() bool { return len(b.counts()) < n })
	if len(c.counts()) != 0 {
		t.Error("c counts before it is asked")
	}
	all(atB, "web-2", false)
	if ofB, ofC := b.counts(), c.counts(); len(ofB)+len(ofC) != n || len(ofC) == 0 {
		t.Errorf("b counts %d and c %d of %d", len(ofB), len(ofC), n)
	}
}
