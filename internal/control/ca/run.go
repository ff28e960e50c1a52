package ca

import (
	"context"
	"errors"
	"time"

	clientv3 "go.etcd.io/etcd/client/v3"

	"github.com/weft-mesh/weft/internal/identity/issue"
)

// Times of Run.
const (
	checkEvery  = time.Hour
	retryEvery  = 30 * time.Second
	storeAnswer = 10 * time.Second // how long one request to the store may take
)

// Run renews the intermediate ahead of its end and takes over what another control plane renewed, until ctx
// ends; then it returns nil. While the store is away, or holds something it cannot open, it signs with what it has.
func (c *CA) Run(ctx context.Context) error {
	wait := checkEvery
	for {
		watching, stop := context.WithCancel(ctx)
		changes := c.client.Watch(clientv3.WithRequireLeader(watching), c.place(), clientv3.WithRev(c.mat.Load().revision+1))
		woken := wakeUp(ctx, changes, wait)
		stop()
		for range changes { // until the watcher has let go
		}
		if !woken {
			return nil
		}
		wait = checkEvery
		if err := c.refresh(ctx); err != nil && ctx.Err() == nil {
			c.log.ErrorContext(ctx, "CA not refreshed, signing with the one in use", "error", err)
			wait = retryEvery
		}
	}
}

// wakeUp waits for a change or for d, and reports whether ctx still lives. A watch that breaks is no reason
// to hurry: it could break again at once.
func wakeUp(ctx context.Context, changes clientv3.WatchChan, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return false
		case <-t.C:
			return true
		case resp, ok := <-changes:
			if !ok || resp.Err() != nil {
				changes = nil
				t.Reset(min(d, retryEvery))
				continue
			}
			if len(resp.Events) > 0 {
				return true
			}
		}
	}
}

// refresh adopts what the store has, then renews if that is due.
func (c *CA) refresh(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, storeAnswer)
	defer cancel()
	rec, rev, err := c.read(ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		return damaged(c.place(), errors.New("it was deleted"))
	}
	if rev != c.mat.Load().revision {
		if err := c.adopt(rec, rev, "the key file in use"); err != nil {
			return err
		}
		c.log.InfoContext(ctx, "CA changed in the store", "intermediate_not_after", c.mat.Load().inter.Cert.NotAfter)
	}
	return c.renewIfDue(ctx)
}

// renewIfDue makes a new intermediate when the current one nears its end. Who loses the race for it adopts
// the winner's. The old one stays good for what it signed.
func (c *CA) renewIfDue(ctx context.Context) error {
	m := c.mat.Load()
	now := c.now()
	if m.inter.Cert.NotAfter.Sub(now) > renewAhead {
		return nil
	}
	inter, err := issue.NewIntermediate(m.root, c.trustDomain, now, IntermediateLife)
	if err != nil {
		return err
	}
	if !inter.Cert.NotAfter.After(m.inter.Cert.NotAfter) {
		return nil // the root ends as soon: nothing is won
	}
	value, err := c.seal.encode(c.trustDomain, m.root, inter)
	if err != nil {
		return err
	}
	_, err = c.kv.Txn(ctx).
		If(clientv3.Compare(clientv3.ModRevision(c.place()), "=", m.revision)).
		Then(clientv3.OpPut(c.place(), string(value))).
		Commit()
	if err != nil {
		return storeError(c.place(), err)
	}
	rec, rev, err := c.read(ctx)
	if err != nil {
		return err
	}
	if rec == nil {
		return damaged(c.place(), errors.New("it was deleted"))
	}
	if err := c.adopt(rec, rev, "the key file in use"); err != nil {
		return err
	}
	c.log.InfoContext(ctx, "CA intermediate renewed", "not_after", c.mat.Load().inter.Cert.NotAfter)
	return nil
}
