package control

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"connectrpc.com/connect"
	clientv3 "go.etcd.io/etcd/client/v3"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/control/guard"
)

const (
	guardianTTL = 10 // seconds after which another control plane takes over from one that is gone
	guardPoll   = 250 * time.Millisecond
	guardWait   = 30 * time.Second // for proxies to run a guarded change
	reportLag   = 2 * time.Second  // until what happened has been reported
	sweepEvery  = time.Minute
)

// runGuards ends the guards of the store, one goroutine each, and prunes the history, until ctx ends. Which control
// plane runs a guard is decided by a leased key; when it goes, another one goes on where it was.
func (s *Server) runGuards(ctx context.Context) error {
	var running sync.Map // history ID -> struct{}
	var wg sync.WaitGroup
	defer wg.Wait()
	poll, sweep := time.NewTicker(guardPoll), time.NewTicker(sweepEvery)
	defer poll.Stop()
	defer sweep.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-sweep.C:
			if err := s.sweepHistory(ctx, now); err != nil {
				s.o.Logger.Warn("the history could not be pruned", "error", err)
			}
		case <-poll.C:
			for _, id := range s.state.orphans() {
				if _, already := running.LoadOrStore(id, struct{}{}); already {
					continue
				}
				wg.Go(func() {
					defer running.Delete(id)
					if err := s.watchOver(ctx, id); err != nil && ctx.Err() == nil {
						s.o.Logger.Warn("a guard was interrupted and will be taken up again", "error", err)
						pause(ctx, time.Second)
					}
				})
			}
		}
	}
}

// orphans returns the guards that no control plane runs.
func (s *state) orphans() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for id := range s.guards {
		if _, ok := s.guardians[id]; !ok {
			out = append(out, id)
		}
	}
	return out
}

// pause waits, and reports whether ctx is still there.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// guarding is a guard that this control plane runs.
type guarding struct {
	s      *Server
	id     string
	token  string // value of the guardian's key, ours alone
	record guardRecord
	entry  historyEntry
}

// watchOver becomes the guardian of a guard and ends it. It returns nil too when another control plane is.
func (s *Server) watchOver(ctx context.Context, id string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	client, key := s.store.Client(), s.store.Prefix()+dirGuardians+id
	lease, err := client.Grant(ctx, guardianTTL)
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = client.Revoke(end, lease.ID) // it would end by itself
	}()
	g := &guarding{s: s, id: id, token: fmt.Sprintf("%s %x", s.o.Instance, lease.ID)}
	resp, err := client.Txn(ctx).If(clientv3.Compare(clientv3.CreateRevision(key), "=", 0), clientv3.Compare(clientv3.CreateRevision(s.guardKey(id)), ">", 0)).
		Then(clientv3.OpPut(key, g.token, clientv3.WithLease(lease.ID)), clientv3.OpGet(s.guardKey(id))).Commit()
	if err != nil || !resp.Succeeded {
		return err
	}
	alive, err := client.KeepAlive(ctx, lease.ID)
	if err != nil {
		return err
	}
	go func() {
		for range alive {
		}
		cancel() // the lease is lost: another one may be the guardian now
	}()
	if g.record, err = decode[guardRecord](dirGuards+id, resp.Responses[1].GetResponseRange().Kvs[0].Value); err != nil {
		return err
	}
	v, _ := s.state.read(false)
	at := slices.IndexFunc(v.history, func(e historyEntry) bool { return e.ID == id })
	if at < 0 {
		return fmt.Errorf("guard %s is of no change of the history", id)
	}
	g.entry = v.history[at]
	return g.run(ctx)
}

func (s *Server) guardKey(id string) string { return s.store.Prefix() + dirGuards + id }

// run waits for the proxies, looks until the window is over or a service does worse, and ends the guard.
func (g *guarding) run(ctx context.Context) error {
	if g.record.Began.IsZero() {
		refused, err := g.begin(ctx)
		if err != nil {
			return err
		}
		if refused != "" {
			return g.undo(ctx, nil, refused)
		}
	}
	if len(g.record.Services) == 0 {
		return g.end(ctx, adminv1.GuardStatus_STATE_UNJUDGED, "the change touches no service that was there before", nil)
	}
	names := map[string]bool{}
	for _, s := range g.record.Services {
		names[s.Name] = true
	}
	// Sooner, the window would hold more from before the change than since.
	if !pause(ctx, time.Until(g.record.Began.Add(2*reportLag))) {
		return ctx.Err()
	}
	for {
		until := g.record.Began.Add(g.record.Window)
		over := !time.Now().Before(until.Add(reportLag))
		now, err := g.s.figures(ctx, names, min(time.Since(g.record.Began), maxGuard))
		if err != nil {
			return err
		}
		figures := g.record.judge(now)
		if why := worse(figures); why != "" {
			return g.undo(ctx, figures, why)
		}
		if over {
			state, why := verdict(figures)
			return g.end(ctx, state, why, figures)
		}
		if !pause(ctx, min(g.record.every(), max(time.Until(until.Add(reportLag)), 10*time.Millisecond))) {
			return ctx.Err()
		}
	}
}

// begin waits until the proxies run the change, or says which refused it, and notes when the window began.
func (g *guarding) begin(ctx context.Context) (refused string, err error) {
	resp, err := (&admin{g.s}).Wait(ctx, connect.NewRequest(&adminv1.WaitRequest{Revision: g.entry.Revision, Timeout: durationpb.New(guardWait)}))
	if err != nil {
		return "", err
	}
	if r := resp.Msg.GetRefusals(); len(r) > 0 {
		return fmt.Sprintf("%d of the proxies refused the change, the first of them %s: %s", len(r), r[0].GetProxy(), r[0].GetReason()), nil
	}
	g.record.Began = time.Now().UTC()
	value, err := encode(g.record)
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	txn, err := g.s.store.Client().Txn(ctx).If(g.conditions()...).Then(clientv3.OpPut(g.s.guardKey(g.id), value)).Commit()
	if err == nil && !txn.Succeeded {
		err = errNotGuardian
	}
	return "", err
}

var errNotGuardian = errors.New("another control plane took the guard over")

// conditions hold as long as the guard is ours and has not ended.
func (g *guarding) conditions() []clientv3.Cmp {
	return []clientv3.Cmp{
		clientv3.Compare(clientv3.Value(g.s.store.Prefix()+dirGuardians+g.id), "=", g.token),
		clientv3.Compare(clientv3.CreateRevision(g.s.guardKey(g.id)), ">", 0),
	}
}

// ops end the guard with an outcome.
func (g *guarding) ops(state adminv1.GuardStatus_State, reason string, figures []guardFigures) ([]clientv3.Op, error) {
	head := g.entry.historyRecord
	record := g.record
	record.Services = nil
	head.Guard = &guardOutcome{State: state, Reason: reason, Ended: time.Now().UTC(), Record: record, Services: figures}
	value, err := encode(head)
	if err != nil {
		return nil, err
	}
	prefix := g.s.store.Prefix()
	return []clientv3.Op{clientv3.OpPut(prefix+historyHead(g.id), value), clientv3.OpDelete(g.s.guardKey(g.id))}, nil
}

// end leaves the change as it is.
func (g *guarding) end(ctx context.Context, state adminv1.GuardStatus_State, reason string, figures []guardFigures) error {
	ops, err := g.ops(state, reason, figures)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	txn, err := g.s.store.Client().Txn(ctx).If(g.conditions()...).Then(ops...).Commit()
	if err == nil && !txn.Succeeded {
		err = errNotGuardian
	}
	if err == nil {
		g.s.o.Logger.Info("a guard has ended: the change stays", "revision", g.entry.Revision, "state", state.String(), "reason", reason)
	}
	return err
}

// undo takes the change back and ends the guard, in one step. Where somebody changed the same resources since, they
// stay, and the outcome says so.
func (g *guarding) undo(ctx context.Context, figures []guardFigures, reason string) error {
	_, _, err := g.s.transact(ctx, false, func(v *view) (*plan, error) {
		changes, err := g.s.undo(ctx, v, []historyEntry{g.entry}, false)
		if err != nil {
			return nil, err
		}
		p := &plan{changes: changes, conditions: g.conditions(), entry: historyRecord{
			Action: actionRollback, Caller: fmt.Sprintf("guard of revision %d", g.entry.Revision), Message: reason, Undone: g.entry.Revision,
		}}
		if !p.needed() {
			return nil, errUndone
		}
		p.ops, err = g.ops(adminv1.GuardStatus_STATE_ROLLED_BACK, reason, figures)
		return p, err
	})
	var conflict *conflictError
	switch {
	case err == nil:
		g.s.o.Logger.Warn("a guard rolled its change back", "revision", g.entry.Revision, "reason", reason)
		return nil
	case errors.Is(err, errUndone):
		return g.end(ctx, adminv1.GuardStatus_STATE_CONFLICT, reason+"; but somebody had undone the change already", figures)
	case errors.As(err, &conflict):
		return g.end(ctx, adminv1.GuardStatus_STATE_CONFLICT, reason+"; but "+strings.Join(conflict.conflicts, "; "), figures)
	}
	return err
}

var errUndone = errors.New("the change has been undone")

// worse says which services do worse; "" is none.
func worse(figures []guardFigures) string {
	var out []string
	for _, f := range figures {
		if f.Verdict == guard.Worse {
			out = append(out, f.Service+": "+f.Reason)
		}
	}
	return strings.Join(out[:min(len(out), 5)], "; ")
}

// verdict is what to make of figures of which none is worse.
func verdict(figures []guardFigures) (adminv1.GuardStatus_State, string) {
	var unjudged []string
	for _, f := range figures {
		if f.Verdict == guard.Unjudged {
			unjudged = append(unjudged, fmt.Sprintf("%s (%s)", f.Service, f.Reason))
		}
	}
	few := ""
	if len(unjudged) > 0 {
		few = string(guard.Unjudged) + ": " + strings.Join(unjudged[:min(len(unjudged), 5)], ", ")
	}
	if len(unjudged) == len(figures) {
		return adminv1.GuardStatus_STATE_UNJUDGED, few
	}
	return adminv1.GuardStatus_STATE_KEPT, few
}
