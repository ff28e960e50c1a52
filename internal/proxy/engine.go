package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/netip"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
)

// Identity proves who the proxy is and who its peers are; see identity.Source.
type Identity interface {
	// ServerConfig is for accepting: TLS 1.3, a client's SVID of the trust domain required.
	ServerConfig(alpn ...string) *tls.Config
	// ClientConfig is for connecting to an endpoint that must prove to be want.
	ClientConfig(want model.Identity, alpn ...string) *tls.Config
}

// Upstream is a local listener that stands for a port of a service.
type Upstream struct {
	Service model.ServiceName
	Port    uint16
	Listen  netip.AddrPort
}

// Options say what an engine listens on and what it needs from outside. Addresses with port 0 take a free
// one, see Addrs; zero addresses are not listened on.
type Options struct {
	Loops     int  // event loops; default 1
	Alone     bool // the process is there for the engine: see loop.OwnProcessor
	Logger    *slog.Logger
	Node      string   // the workload's ID
	TLS       Identity // nil: no mesh transport
	Inbound   netip.AddrPort
	Outbound  netip.AddrPort // captured connections
	HTTPProxy netip.AddrPort
	Upstreams []Upstream

	// Lookup asks for a service that the snapshot lacks, and returns whether it is there now. It may block.
	Lookup func(model.ServiceName) bool

	AccessLog io.Writer                   // nil: none
	Tap       func(*discoveryv1.TapEvent) // must not block

	MaxConnections int           // downstream, for each loop; default 10,000
	MaxSessions    int           // of datagrams, for each listener and loop; default 10,000, and 20,000 in all
	MaxBuffered    int           // bytes of messages that wait in memory, for each loop, beyond which new requests get 503; default 64 MiB
	IdleTimeout    time.Duration // of a program's idle HTTP/1.1 connection; default 5 min
}

func (o *Options) setDefaults() {
	if o.Loops <= 0 {
		o.Loops = 1
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxConnections <= 0 {
		o.MaxConnections = 10_000
	}
	if o.MaxSessions <= 0 {
		o.MaxSessions = 10_000
	}
	if o.MaxBuffered <= 0 {
		o.MaxBuffered = 64 << 20
	}
	if o.IdleTimeout <= 0 {
		o.IdleTimeout = 5 * time.Minute
	}
	if o.Tap == nil {
		o.Tap = func(*discoveryv1.TapEvent) {}
	}
}

// Addrs are the addresses an engine listens on; zero where it does not.
type Addrs struct {
	Inbound, Outbound, HTTPProxy netip.AddrPort
	Upstreams                    []netip.AddrPort // as Options.Upstreams
}

// Engine is the data path. Make it with New, run it with Run. Its other methods may be called from any
// goroutine while it runs.
type Engine struct {
	o         Options
	ctx       context.Context // of Run
	workers   []*worker
	listeners []*listener
	addrs     Addrs
	server    *tls.Config // of the mesh listener

	limiters  limiters
	inherited inherited
	applying  sync.Mutex
	since     map[endpointKey]time.Time // when endpoints began to serve; zero: before their service was known here
	known     map[model.ServiceName]bool
	config    *config                  // that runs
	gates     map[netip.AddrPort]*gate // by the address asked for
	udp       map[netip.AddrPort]*udpGate
}

// New binds the listeners. They take connections once Run runs.
func New(o Options) (*Engine, error) {
	o.setDefaults()
	e := &Engine{o: o, gates: map[netip.AddrPort]*gate{}, udp: map[netip.AddrPort]*udpGate{}, limiters: limiters{node: o.Node}}
	if o.TLS != nil {
		e.server = o.TLS.ServerConfig()
		// Records as large as they may be: the mesh transport writes whole turns, not first bytes.
		e.server.DynamicRecordSizingDisabled = true
	}
	if err := e.bind(); err != nil {
		e.closeListeners()
		return nil, err
	}
	for range o.Loops {
		l, err := loop.New()
		if err != nil {
			e.closeListeners()
			return nil, err
		}
		if o.Alone {
			l.OwnProcessor()
		}
		e.workers = append(e.workers, newWorker(e, l))
	}
	return e, nil
}

func (e *Engine) closeListeners() {
	for _, ln := range e.listeners {
		_ = ln.ln.Close()
	}
	e.applying.Lock()
	defer e.applying.Unlock()
	for _, g := range e.gates {
		_ = g.ln.Close()
	}
	for _, g := range e.udp {
		_ = g.ln.Close()
	}
}

// Addrs returns the addresses listened on.
func (e *Engine) Addrs() Addrs { return e.addrs }

// Run serves until ctx ends. Drain first, for a gentle end.
func (e *Engine) Run(ctx context.Context) error {
	defer e.closeListeners()
	g, ctx := errgroup.WithContext(ctx)
	e.ctx = ctx
	for _, w := range e.workers {
		var failed error
		w.loop.Post(func() { failed = w.attach(e.listeners) })
		g.Go(func() error { return errors.Join(w.loop.Run(ctx), failed) })
	}
	return g.Wait()
}

// Apply makes all workers run a snapshot, and returns when they do. A snapshot that does not compile, or
// whose sockets cannot be bound, is refused, and what ran before goes on.
func (e *Engine) Apply(s *model.Snapshot) error {
	e.applying.Lock()
	defer e.applying.Unlock()
	e.arrivals(s)
	c, err := compile(s, e.since, e.config)
	if err != nil {
		return err
	}
	opened, err := e.openGates(c)
	if err != nil {
		return err
	}
	udp, err := e.openUDP(c)
	if err != nil {
		closeGates(opened)
		return err
	}
	for _, g := range opened {
		e.gates[g.address] = g
	}
	for _, g := range udp {
		e.udp[g.address] = g
	}
	for address, s := range c.sockets {
		if g := e.gates[address]; g != nil {
			g.current.Store(s)
		}
	}
	// The first loop is the last to know: it checks the health of endpoints, and what it finds out the others must be
	// able to take in.
	for i, w := range slices.Backward(e.workers) {
		if !w.loop.Call(func() { w.adopt(c); w.adoptGates(e.gates); w.adoptUDP(e.udp, i) }) {
			return fmt.Errorf("the engine has ended")
		}
	}
	e.config = c
	e.limiters.keep(c.limits())
	for address, g := range e.gates {
		if c.sockets[address] == nil {
			_ = g.ln.Close()
			delete(e.gates, address)
		}
	}
	e.closeUDP(c)
	return nil
}

// arrivals notes when endpoints of services that were known before began to serve, for those that warm up.
func (e *Engine) arrivals(s *model.Snapshot) {
	now, before := time.Now(), e.known
	e.known = make(map[model.ServiceName]bool, len(s.Services))
	since := make(map[endpointKey]time.Time)
	for i := range s.Services {
		svc := &s.Services[i]
		e.known[svc.Name] = true
		for j := range svc.Endpoints {
			key := keyOf(&svc.Endpoints[j])
			at, ok := e.since[key]
			if !ok && before[svc.Name] {
				at = now
			}
			since[key] = at
		}
	}
	e.since = since
}

// Sockets returns the addresses that a gateway's sockets are bound to, by those they have in the snapshot,
// where port 0 takes a free one.
func (e *Engine) Sockets() map[netip.AddrPort]netip.AddrPort {
	e.applying.Lock()
	defer e.applying.Unlock()
	out := make(map[netip.AddrPort]netip.AddrPort, len(e.gates))
	for address, g := range e.gates {
		out[address] = g.ln.Addr()
	}
	return out
}

// SetTaps replaces the live taps.
func (e *Engine) SetTaps(taps []*discoveryv1.Tap) {
	for _, w := range e.workers {
		w.loop.Post(func() { w.rec.SetTaps(taps) })
	}
}

// Loops returns the number of event loops.
func (e *Engine) Loops() int { return len(e.workers) }

// Series returns a loop's series with their values since the start: all of them, or those that changed since
// the last call with all unset. It returns nil after the engine has ended.
func (e *Engine) Series(loop int, all bool) (out []*discoveryv1.Series) {
	w := e.workers[loop]
	w.loop.Call(func() {
		if all {
			out = w.rec.All(nil)
		} else {
			out = w.rec.Changed(nil)
		}
	})
	return out
}

// Stats are the engine's own figures, summed over workers.
type Stats struct {
	Connections int    // downstream, open; a session of datagrams is one
	Active      int    // exchanges, tunnels and sessions in flight
	Refused     uint64 // connections turned away since the start
}

// Stats returns the present figures.
func (e *Engine) Stats() Stats {
	var s Stats
	for _, w := range e.workers {
		w.loop.Call(func() {
			s.Connections += w.connections + w.sessions
			s.Active += w.active + w.sessions
			s.Refused += w.refusals
		})
	}
	return s
}
