package control

import (
	"context"
	"errors"
	"fmt"
	"hash/fnv"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/control/ca"
	"github.com/weft-mesh/weft/internal/control/metrics"
	"github.com/weft-mesh/weft/internal/control/store"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

// Server is a control plane. Make it with New, run it with Run.
type Server struct {
	o       Options
	store   *store.Store
	ca      *ca.CA
	state   *state
	xds     *xds.Server
	metrics *metrics.Store
	taps    *taps
	stats   *stats
	quotas  *quotas
	mesh    atomic.Pointer[config.Mesh]
	started time.Time
	ready   chan struct{}
	proxyAt string // where proxies connect, as a client writes it
}

// New checks the options; it opens nothing.
func New(o Options) (*Server, error) {
	if err := o.setDefaults(); err != nil {
		return nil, err
	}
	return &Server{o: o, metrics: metrics.New(), ready: make(chan struct{})}, nil
}

// Ready is closed when the server answers and has compiled the mesh of its store.
func (s *Server) Ready() <-chan struct{} { return s.ready }

// openTimeout bounds the opening of the store and the CA.
const openTimeout = 60 * time.Second

// Run serves until ctx ends.
func (s *Server) Run(ctx context.Context) (err error) {
	s.started = time.Now()
	listeners, err := s.listen(ctx)
	if err != nil {
		return err
	}
	defer listeners.close()
	if err := s.open(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.store.Close()) }()
	defer s.quotas.close()
	s.compile()

	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.state.run(ctx) })
	g.Go(func() error { return s.publish(ctx) })
	g.Go(func() error { return s.ca.Run(ctx) })
	g.Go(func() error { return s.announce(ctx) })
	g.Go(func() error { return s.watchStore(ctx) })
	g.Go(func() error { return s.runGuards(ctx) })
	s.serve(ctx, g, listeners)
	close(s.ready)
	s.o.Logger.Info("control plane ready", "instance", s.o.Instance, "trustDomain", s.o.TrustDomain, "api", s.o.APISocket,
		"proxies", s.proxyAt, "after", time.Since(s.started).Round(time.Millisecond).String())
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return err
	} else if err != nil && !errors.Is(err, context.Canceled) {
		return err
	}
	return nil
}

// open opens the store and what lives in it.
func (s *Server) open(ctx context.Context) (err error) {
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	if s.store, err = store.Open(ctx, s.o.Store); err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, s.store.Close())
		}
	}()
	s.ca, err = ca.Open(ctx, ca.Options{
		Store: s.store, TrustDomain: s.o.TrustDomain, DataDir: s.o.DataDir, KeyFile: s.o.CAKey,
		TTL: s.o.SVIDTTL, Logger: s.o.Logger,
	})
	if err != nil {
		return err
	}
	s.state = newState(s.store, s.ca, s.o.Logger)
	if err := s.state.load(ctx); err != nil {
		return err
	}
	s.stats = newStats(s)
	s.taps = newTaps(s)
	s.quotas = newQuotas(s)
	s.xds = xds.NewServer(xds.ServerOptions{Identify: identify, Logger: s.o.Logger, Observe: s.stats.answered})
	return nil
}

// watchStore ends the process when the embedded store has failed for good.
func (s *Server) watchStore(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-s.store.Failed():
		return fmt.Errorf("the store has failed: %w", s.store.Err())
	}
}

func hashName(n model.ServiceName) uint32 {
	h := fnv.New32a()
	_, _ = h.Write([]byte(n.String()))
	return h.Sum32()
}
