package control

import (
	"context"
	"fmt"
	"sync"
	"time"

	"connectrpc.com/connect"
	"github.com/prometheus/client_golang/prometheus"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

const (
	maxQuotaAsks   = 1024 // of a call
	maxQuotaNode   = 253  // bytes of a proxy's ID
	quotaForward   = 500 * time.Millisecond
	quotaRemembers = time.Minute // a limit that the mesh does not have any more, after the last question about it
)

// quotas counts for the rate limits of all proxies. Each limit is counted by one of the control planes that run, by
// rendezvous hashing of their addresses, so that all agree without asking each other and a limit moves only when its
// owner leaves or a new one takes it. A question about a limit of another is passed on, once. What the limit is says
// the compiled mesh, not the proxy.
//
// A limit's Ledger is dropped when it gets another owner, which begins without tokens: see resilience.Allocator. While
// the control planes do not agree about who runs, which takes as long as a watch of the store, two may grant at once.
// A control plane that is killed owns its limits until its lease ends (instanceTTL); proxies go on with their shares.
type quotas struct {
	s     *Server
	stats *quotaStats

	mu      sync.Mutex
	known   map[model.LimitID]config.GlobalLimit
	owners  owners
	ledgers map[model.LimitID]*ledger
	swept   time.Time
	peers   map[string]*quotaPeer // by address
}

// ledger is a limit that is counted here.
type ledger struct {
	*resilience.Ledger
	limit config.GlobalLimit
	asked time.Time
}

// quotaStats count the questions about limits.
type quotaStats struct{ granted, forwarded, refused prometheus.Counter }

func newQuotas(s *Server) *quotas {
	return &quotas{s: s, stats: &s.stats.quotas, ledgers: map[model.LimitID]*ledger{}, peers: map[string]*quotaPeer{}}
}

// quotaBatch are the questions of a proxy.
type quotaBatch struct {
	caller   model.Identity
	node     string
	asks     []*discoveryv1.QuotaAsk
	passedOn bool // by another control plane
}

func (b *quotaBatch) check() error {
	switch {
	case len(b.asks) > maxQuotaAsks:
		return fmt.Errorf("asks: %d in one call; %d are allowed: send the rest in another", len(b.asks), maxQuotaAsks)
	case b.node == "" || len(b.node) > maxQuotaNode:
		return fmt.Errorf("node_id: has %d bytes, wants 1 to %d", len(b.node), maxQuotaNode)
	}
	return nil
}

// know takes the limits of a new mesh.
func (q *quotas) know(limits map[model.LimitID]config.GlobalLimit) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.known = limits
	for id, l := range q.ledgers {
		if now, ok := limits[id]; ok {
			l.limit = now // who counts may have changed; what is counted has not, by the ID
		}
	}
}

// answer answers all questions, in their order.
func (q *quotas) answer(ctx context.Context, b *quotaBatch) []*discoveryv1.Quota {
	out := make([]*discoveryv1.Quota, len(b.asks))
	elsewhere := map[string][]int{} // address -> which asks
	now := time.Now()
	q.mu.Lock()
	q.sweep(now)
	name := b.caller.String() + " " + b.node
	for i, a := range b.asks {
		id, err := askedLimit(a)
		if err != nil {
			out[i] = q.refuse(err)
			continue
		}
		switch owner := q.owners.of(id); {
		case owner == q.owners.self:
			out[i] = q.grant(id, b.caller, name, a, now)
		case b.passedOn:
			out[i] = q.refuse(fmt.Errorf("the control plane %s counts this limit, not %s: they will agree within moments", owner, q.owners.self))
		default:
			elsewhere[owner] = append(elsewhere[owner], i)
		}
	}
	q.mu.Unlock()
	var wg sync.WaitGroup
	for address, which := range elsewhere {
		wg.Go(func() { q.forward(ctx, address, b, which, out) })
	}
	wg.Wait()
	return out
}

// askedLimit checks what a question is about.
func askedLimit(a *discoveryv1.QuotaAsk) (id model.LimitID, err error) {
	switch {
	case len(a.GetLimit()) != len(id):
		return id, fmt.Errorf("limit: has %d bytes, wants %d", len(a.GetLimit()), len(id))
	case len(a.GetKey()) > resilience.MaxKey:
		return id, fmt.Errorf("key: has %d bytes, at most %d are allowed", len(a.GetKey()), resilience.MaxKey)
	}
	return model.LimitID(a.GetLimit()), nil
}

// refuse is an answer that grants nothing.
func (q *quotas) refuse(err error) *discoveryv1.Quota {
	q.stats.refused.Inc()
	return &discoveryv1.Quota{Error: err.Error()}
}

// grant answers about a limit that is counted here. The lock is held.
func (q *quotas) grant(id model.LimitID, caller model.Identity, name string, a *discoveryv1.QuotaAsk, now time.Time) *discoveryv1.Quota {
	l := q.ledgers[id]
	if l == nil {
		limit, ok := q.known[id]
		if !ok {
			return q.refuse(fmt.Errorf("no rate limit of this ID is in the mesh at the revision that the control plane %s has: the proxy's configuration is older, or newer", q.owners.self))
		}
		l = &ledger{Ledger: resilience.NewLedger(*limit.RateLimit), limit: limit}
		q.ledgers[id] = l
	}
	if !l.limit.Counts(caller) {
		return q.refuse(fmt.Errorf("%s runs no endpoint of the service whose rate limit %s is", caller, l.limit.Name))
	}
	l.asked = now
	key := a.GetKey()
	if (l.limit.Key == model.LimitKey{}) {
		key = ""
	}
	quota := l.Ask(resilience.Ask{Proxy: name, Key: key, Used: a.GetUsed(), Wanted: a.GetWanted(), First: a.GetFirst()}, now)
	q.stats.granted.Inc()
	return &discoveryv1.Quota{
		Amount: quota.Amount, Microseconds: uint64(quota.For.Microseconds()), Share: quota.Share, Short: quota.Short, Alone: quota.Alone,
	}
}

// sweep drops, once a second, limits that the mesh does not have and no proxy asks about any more. The lock is held.
func (q *quotas) sweep(now time.Time) {
	if now.Sub(q.swept) < time.Second {
		return
	}
	q.swept = now
	for id, l := range q.ledgers {
		if _, known := q.known[id]; !known && now.Sub(l.asked) > quotaRemembers {
			delete(q.ledgers, id)
		}
	}
}

// forward has another control plane answer.
func (q *quotas) forward(ctx context.Context, address string, b *quotaBatch, which []int, out []*discoveryv1.Quota) {
	ctx, cancel := context.WithTimeout(ctx, quotaForward)
	defer cancel()
	req := &discoveryv1.QuotaRequest{NodeId: b.node, Caller: b.caller.String()}
	for _, i := range which {
		req.Asks = append(req.Asks, b.asks[i])
	}
	resp, err := q.peer(address).client.Quota(ctx, connect.NewRequest(req))
	if err == nil && len(resp.Msg.GetQuotas()) != len(which) {
		err = fmt.Errorf("%d answers to %d questions", len(resp.Msg.GetQuotas()), len(which))
	}
	for n, i := range which {
		if err != nil {
			out[i] = q.refuse(fmt.Errorf("the control plane %s, which counts this limit, does not answer: %w", address, err))
			continue
		}
		q.stats.forwarded.Inc()
		out[i] = resp.Msg.GetQuotas()[n]
	}
}
