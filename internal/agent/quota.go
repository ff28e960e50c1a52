package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"golang.org/x/sync/errgroup"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/proxy"
	"github.com/weft-mesh/weft/internal/resilience"
)

const (
	quotaEvery   = 25 * time.Millisecond // a quarter of the shortest Period, which is how soon more is asked for
	quotaTimeout = time.Second
	quotaRetry   = 500 * time.Millisecond // after a call that failed
	quotaBatch   = 1024                   // asks of a call; the control plane takes no more
	quotaCalls   = 4                      // at a time
	quotaQuiet   = 3 * time.Second        // failures that pass within are not worth a warning
)

// leaser leases parts of the rate limits that are counted for all proxies. While it cannot, the proxy goes on with the
// shares that it was told.
type leaser struct {
	a      *Agent
	client discoveryv1connect.DiscoveryServiceClient
	wake   chan struct{} // there may be such limits now
	asks   []proxy.QuotaAsk
	failed time.Time // since when; zero: not
	warned bool
}

func newLeaser(a *Agent) *leaser {
	return &leaser{
		a: a, wake: make(chan struct{}, 1),
		client: discoveryv1connect.NewDiscoveryServiceClient(a.source.HTTPClient(), a.source.BaseURL()),
	}
}

// applied is told of each new configuration.
func (l *leaser) applied() {
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

// run asks for what is due until ctx ends. It sleeps while no limit is counted for all proxies.
func (l *leaser) run(ctx context.Context) error {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-l.wake:
			l.lease(ctx)
		}
	}
	return nil
}

// lease asks until ctx ends or nothing is counted for all proxies any more.
func (l *leaser) lease(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for l.a.engine.Leasing() {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		began, next := time.Now(), quotaEvery
		if asked, err := l.round(ctx); asked && ctx.Err() == nil && l.note(err) {
			next = quotaRetry
		}
		timer.Reset(max(next-time.Since(began), time.Millisecond))
	}
}

// round makes the calls that are due and waits for all of them: until then none of the counts may be asked about
// again. An error says why some were not granted.
func (l *leaser) round(ctx context.Context) (asked bool, err error) {
	l.asks = l.a.engine.DueQuota(time.Now(), l.asks[:0])
	if len(l.asks) == 0 {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, quotaTimeout)
	defer cancel()
	var g errgroup.Group
	g.SetLimit(quotaCalls)
	for from := 0; from < len(l.asks); from += quotaBatch {
		g.Go(func() error { return l.call(ctx, l.asks[from:min(from+quotaBatch, len(l.asks))]) })
	}
	return true, g.Wait()
}

// errNotGranted is an answer that grants nothing.
var errNotGranted = errors.New("not granted")

func (l *leaser) call(ctx context.Context, asks []proxy.QuotaAsk) error {
	req := &discoveryv1.QuotaRequest{NodeId: l.a.o.ID, Asks: make([]*discoveryv1.QuotaAsk, len(asks))}
	for i := range asks {
		a := &asks[i]
		req.Asks[i] = &discoveryv1.QuotaAsk{Limit: a.Limit[:], Key: a.Key, Used: a.Used, Wanted: a.Wanted, First: a.First}
	}
	resp, err := l.client.Quota(ctx, connect.NewRequest(req))
	if err != nil {
		return err
	}
	if n := len(resp.Msg.GetQuotas()); n != len(asks) {
		return fmt.Errorf("%d answers to %d questions", n, len(asks))
	}
	for i, q := range resp.Msg.GetQuotas() {
		if q.GetError() != "" {
			err = fmt.Errorf("%w: %s", errNotGranted, q.GetError())
			continue
		}
		l.a.engine.GrantQuota(&asks[i], resilience.Quota{
			Amount: q.GetAmount(), For: time.Duration(q.GetMicroseconds()) * time.Microsecond,
			Share: q.GetShare(), Short: q.GetShort(), Alone: q.GetAlone(),
		})
	}
	return err
}

// note tells the log of failures that last, and of their end. It reports whether the control plane is away.
func (l *leaser) note(err error) (away bool) {
	switch {
	case err == nil && l.warned:
		l.a.log.Info("rate limits for all proxies are leased again", "after", time.Since(l.failed).Round(time.Millisecond).String())
		fallthrough
	case err == nil:
		l.failed, l.warned = time.Time{}, false
		return false
	case l.failed.IsZero():
		l.failed = time.Now()
	case !l.warned && time.Since(l.failed) >= quotaQuiet:
		l.warned = true
		l.a.log.Warn("rate limits for all proxies are not leased: going on with the last shares", "error", err)
	}
	return !errors.Is(err, errNotGranted)
}

// needsControl refuses a snapshot that nobody is there to count for.
func needsControl(s *model.Snapshot) error {
	refuse := func(p *model.Policy) error {
		if p == nil {
			return nil
		}
		for i := range p.Limits {
			if p.Limits[i].Global {
				return fmt.Errorf("rate limit %s: scope global needs a control plane, which counts for all proxies; this proxy has none", p.Limits[i].Name)
			}
		}
		return nil
	}
	err := refuse(s.Workload.Policy)
	rules := func(rs []model.Rule) {
		for i := range rs {
			err = errors.Join(err, refuse(rs[i].Policy))
		}
	}
	for i := range s.Services {
		err = errors.Join(err, refuse(s.Services[i].Policy))
		rules(s.Services[i].Rules)
	}
	for i := range s.Sockets {
		for j := range s.Sockets[i].Listeners {
			rules(s.Sockets[i].Listeners[j].Rules)
		}
	}
	return err
}
