package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/proxy"
	"github.com/weft-mesh/weft/internal/xds"
)

// Agent is one running proxy.
type Agent struct {
	o        Options
	log      *slog.Logger
	source   *identity.Source // nil without an identity
	engine   *proxy.Engine
	client   *xds.Client // nil with a fixed snapshot
	registry *registrar  // nil when nothing is served
	reports  *reporter
	quota    *leaser                        // nil without a control plane
	snapshot atomic.Pointer[model.Snapshot] // as last applied
	applying sync.Mutex                     // one snapshot at a time
	names    *resolver                      // of endpoints
	capture  *capturing                     // nil: the program is not captured
	end      context.CancelFunc             // as when the context of Run ends
	started  time.Time
	dnsAddr  string
	adminAt  string
}

// Run runs a proxy until ctx ends, then lets it drain.
func Run(ctx context.Context, o Options) error {
	if err := o.Validate(); err != nil {
		return err
	}
	a := &Agent{o: o, log: o.Logger, started: time.Now(), capture: newCapturing(o.Capture, o.Logger)}
	// What serves traffic outlives ctx by the time it needs to drain.
	life, end := context.WithCancel(context.WithoutCancel(ctx))
	defer end()
	g, life := errgroup.WithContext(life)
	g.Go(func() error {
		defer end()
		return a.run(ctx, life, g)
	})
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// run brings the parts up one after another, waits for the end, and takes them down.
func (a *Agent) run(ctx, life context.Context, g *errgroup.Group) error {
	ctx, a.end = context.WithCancel(ctx)
	defer a.end()
	either, stop := context.WithCancel(life)
	defer stop()
	defer context.AfterFunc(ctx, stop)()
	if err := a.obtainIdentity(either, life, g); err != nil {
		return ended(ctx, err)
	}
	if err := a.startEngine(life, g); err != nil {
		return err
	}
	if err := a.configure(either, life, g); err != nil {
		return ended(ctx, err)
	}
	if err := a.startServices(life, g); err != nil {
		return err
	}
	if err := a.announce(); err != nil {
		return err
	}
	<-either.Done()
	if ctx.Err() == nil {
		return nil // a part has failed; the group has its error
	}
	return a.shutDown(life)
}

// ended hides an error that is only the end.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// obtainIdentity waits for the first SVID, where the proxy has one.
func (a *Agent) obtainIdentity(ctx, life context.Context, g *errgroup.Group) (err error) {
	switch {
	case a.o.Control != "":
		token, err := a.o.token()
		if err != nil {
			return err
		}
		a.source, err = identity.New(identity.Options{Control: a.o.Control, Token: token, Logger: a.log})
		if err != nil {
			return err
		}
		g.Go(func() error { return a.source.Run(life) })
	case a.o.CertFile != "":
		if a.source, err = a.o.staticIdentity(); err != nil {
			return err
		}
	default:
		return nil
	}
	select {
	case <-a.source.Ready():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (o *Options) staticIdentity() (*identity.Source, error) {
	var pem [3][]byte
	for i, name := range []string{o.CertFile, o.KeyFile, o.Bundle} {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fmt.Errorf("identity: %w", err)
		}
		pem[i] = b
	}
	return identity.NewStatic(pem[0], pem[1], pem[2])
}

// startEngine binds the listeners and runs the engine, still without configuration.
func (a *Agent) startEngine(life context.Context, g *errgroup.Group) error {
	log, err := openAccessLog(a.o.AccessLog)
	if err != nil {
		return err
	}
	a.reports = newReporter(a)
	o := proxy.Options{
		Loops: a.o.Loops, Alone: a.o.Alone, Logger: a.log, Node: a.o.ID,
		Inbound: a.o.Inbound, Outbound: a.o.Outbound, HTTPProxy: a.o.HTTPProxy,
		Upstreams: a.o.upstreams(a.namespace()),
		Tap:       a.reports.tap,
	}
	if log != nil {
		o.AccessLog = log
	}
	if a.source != nil {
		o.TLS = a.source
	}
	if a.o.Control != "" {
		o.Lookup = func(name model.ServiceName) bool { return a.lookup(life, name) }
	}
	if a.engine, err = proxy.New(o); err != nil {
		return err
	}
	a.names = newResolver(a.log, a.renew)
	if a.o.dialDNS != nil {
		a.names.lookup, a.names.min, a.names.max, a.names.ceiling = lookupWith(a.o.dialDNS), a.o.refresh, 2*a.o.refresh, 2*a.o.refresh
	}
	g.Go(func() error { return a.names.run(life) })
	g.Go(func() error {
		if log != nil {
			defer log.Close()
		}
		return a.engine.Run(life)
	})
	return nil
}

// namespace is the workload's, as its identity or snapshot says.
func (a *Agent) namespace() string {
	if a.source != nil {
		if svid := a.source.Current(); svid != nil {
			return svid.Identity.Namespace
		}
	}
	if s := a.snapshot.Load(); s != nil && s.Workload.Service.Namespace != "" {
		return s.Workload.Service.Namespace
	}
	return "default"
}

// configure applies the fixed snapshot, or connects to the control plane and waits for the first one.
func (a *Agent) configure(ctx, life context.Context, g *errgroup.Group) error {
	if a.o.Snapshot != "" {
		s, err := ReadSnapshot(a.o.Snapshot)
		if err != nil {
			return err
		}
		return a.apply(s)
	}
	if a.o.Feed != nil {
		f := newFeeder(a)
		if err := f.first(ctx); err != nil {
			return err
		}
		g.Go(func() error { return f.run(life) })
		return nil
	}
	a.quota = newLeaser(a)
	g.Go(func() error { return a.quota.run(life) })
	apply := a.apply
	if a.o.gateway() || a.o.Certificates != "" {
		e := newEdge(a)
		apply = e.apply
		if e.managed != nil {
			g.Go(func() error { return e.managed.run(life) })
		}
		g.Go(func() error { return e.run(life) })
	}
	a.client = xds.NewClient(xds.ClientOptions{
		HTTP: a.source.HTTPClient(), BaseURL: a.source.BaseURL(), Node: a.node(), Logger: a.log,
		Apply: apply, Taps: a.engine.SetTaps, Conditions: a.engine.Conditions,
	})
	for _, u := range a.o.upstreams(a.namespace()) {
		a.client.Subscribe(u.Service)
	}
	g.Go(func() error { return a.client.Run(life) })
	select {
	case <-a.client.Ready():
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// apply makes the engine run a snapshot, with the addresses of its endpoints' names; an error refuses it.
func (a *Agent) apply(s *model.Snapshot) error {
	if a.quota == nil {
		if err := needsControl(s); err != nil {
			return err
		}
	}
	s = s.WithCertificates()
	a.names.want(s)
	a.applying.Lock()
	defer a.applying.Unlock()
	if err := a.capture.during(s, func() error { return a.engine.Apply(a.names.expand(s)) }); err != nil {
		return err
	}
	a.sayUncaptured(s)
	a.snapshot.Store(s)
	a.names.keep(s)
	if a.quota != nil {
		a.quota.applied()
	}
	return nil
}

// renew makes the engine run the present snapshot with the addresses that its names have now.
func (a *Agent) renew() {
	a.applying.Lock()
	defer a.applying.Unlock()
	s := a.snapshot.Load()
	if s == nil {
		return
	}
	if err := a.engine.Apply(a.names.expand(s)); err != nil {
		a.log.Warn("new addresses of endpoints are not used", "error", err)
	}
}

// node introduces the proxy to the control plane.
func (a *Agent) node() *discoveryv1.Node {
	n := &discoveryv1.Node{
		Id: a.o.ID, Service: a.o.Service, Labels: a.o.Labels, Inbound: xds.InboundToWire(a.o.Ports),
		Version: a.o.Version, Placement: "sidecar",
	}
	if a.o.gateway() {
		if n.Placement = xds.PlacedGateway; a.o.Egress {
			n.Placement = xds.PlacedEgress
		}
		if !a.o.Gateway.IsZero() {
			n.Gateway = a.o.Gateway.String()
		}
		for _, ip := range a.o.Bind {
			n.Bind = append(n.Bind, ip.String())
		}
	}
	return n
}

// lookup asks the control plane for a service; see proxy.Options.Lookup.
func (a *Agent) lookup(ctx context.Context, name model.ServiceName) bool {
	const wait = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	known, err := a.client.Lookup(ctx, name)
	if err != nil {
		a.log.Debug("service lookup failed", "service", name.String(), "error", err)
	}
	return known
}

// shutDown leaves the mesh in order: no new work, finish what there is.
func (a *Agent) shutDown(life context.Context) error {
	if a.registry != nil {
		a.registry.leave(life)
	}
	ctx, cancel := context.WithTimeout(life, a.o.Drain)
	defer cancel()
	if err := a.engine.Drain(ctx); err != nil {
		a.log.Warn("shutting down with work in flight", "active", a.engine.Stats().Active, "waited", a.o.Drain.String())
	}
	a.reports.last(life)
	return nil
}
