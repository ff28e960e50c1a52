package proxy

import (
	"log/slog"
	"math/rand/v2"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// maxPooled bounds the finished objects of one kind that a worker keeps for reuse.
const maxPooled = 1024

// worker is the engine on one event loop. All of it belongs to that loop.
type worker struct {
	e      *Engine
	loop   *loop.Loop
	log    *slog.Logger
	config *config
	sets   []*endpointSet          // by pool.index
	pools  map[string]*endpointSet // the same, by pool.key
	choice choice
	local  map[localKey]*endpoint
	comeIn map[uint16]*endpointSet // by service port, where what comes in is bounded
	random *rand.PCG
	rec    *telemetry.Recorder

	// endpoints outlive snapshots: connections, load and health are kept by what an endpoint is.
	endpoints map[endpointKey]*endpoint

	exchanges  []*exchange
	contenders []*contender
	streams    []*h2stream
	served     map[*h2conn]struct{} // servers' HTTP/2 connections
	servers    map[*h1server]struct{}
	tunnels    map[*rawStream]struct{}
	outside    map[string]*endpoint // hosts outside the mesh
	hints      hints
	outHints   map[outHint]string
	spoken     map[portKey]bool // ports on which servers spoke first

	entries      map[netip.AddrPort]*entry       // of a gateway
	udp          map[netip.AddrPort]*udpEntry    // of a gateway, for datagrams
	sessions     int                             // of datagrams
	datagrams    map[string]*telemetry.Datagrams // by listener
	stops        []func()                        // of accepting
	refusals     uint64                          // connections turned away
	refusedSince time.Time
	refusedCount int

	connections int         // downstream
	active      int         // exchanges and tunnels
	pressed     func() bool // memory is getting short
	buffered    int         // bytes of messages that nobody has taken yet
	draining    bool
	logging     bool // the access log has lines to write
	scratch     []byte
	sni         message.Head      // that tables are asked about a server name with
	mirroring   int               // copies of requests on their way
	mirrors     telemetry.Mirrors // how their answers compare
	checks      telemetry.Checks  // how questions about requests were answered
	silent      sampler           // of those that were not
	shown       sampler           // of those that differ
	sweeping    loop.Timer
}

// localKey names a port of the workload's own program, as it is reached for a port of the service.
type localKey struct {
	service, port uint16
	http2         bool
}

// portKey names a port of a service, or an address outside the mesh.
type portKey struct {
	service model.ServiceName
	port    uint16
	dst     netip.AddrPort
}

func newWorker(e *Engine, l *loop.Loop) *worker {
	w := &worker{
		e: e, loop: l, log: e.o.Logger,
		random:    rand.NewPCG(rand.Uint64(), rand.Uint64()),
		endpoints: map[endpointKey]*endpoint{},
		local:     map[localKey]*endpoint{},
		served:    map[*h2conn]struct{}{},
		servers:   map[*h1server]struct{}{},
		tunnels:   map[*rawStream]struct{}{},
		outside:   map[string]*endpoint{},
		hints:     hints{},
		spoken:    map[portKey]bool{},
		mirrors:   telemetry.Mirrors{},
		checks:    telemetry.Checks{},
		entries:   map[netip.AddrPort]*entry{},
		udp:       map[netip.AddrPort]*udpEntry{},
		datagrams: map[string]*telemetry.Datagrams{},
		rec: telemetry.NewRecorder(telemetry.Options{
			Node: e.o.Node, AccessLog: e.o.AccessLog, Tap: e.o.Tap,
		}),
	}
	w.config, _ = compile(&model.Snapshot{}, nil, nil)
	w.choice.bind()
	w.pressed = func() bool { return w.buffered > e.o.MaxBuffered/2 }
	w.scheduleSweep()
	return w
}

// adopt makes the worker run a configuration. Endpoints that stay keep their connections and counts.
func (w *worker) adopt(c *config) {
	w.config = c
	w.sets = make([]*endpointSet, len(c.pools))
	pools := make(map[string]*endpointSet, len(c.pools))
	kept := make(map[endpointKey]*endpoint, len(w.endpoints))
	for i, p := range c.pools {
		all := make([]*endpoint, len(p.members))
		for j, m := range p.members {
			key := p.keyFor(m)
			ep := kept[key]
			if ep == nil {
				if ep = w.endpoints[key]; ep == nil {
					ep = newEndpoint(w, m)
				}
				ep.key = key
				up := p.service.Upstream
				if p.own != "" {
					up = p.upstream
				}
				if ep.adopt(m, p.service, up); p.own != "" {
					shared := key
					shared.own = ""
					base := kept[shared]
					ep.sick = base != nil && base.sick
				}
				kept[key] = ep
			}
			all[j] = ep
		}
		if len(p.subset) == 0 && p.port == 0 {
			w.look(p, all)
		}
		w.sets[i] = w.adoptSet(p, all, w.pools[p.key])
		pools[p.key] = w.sets[i]
	}
	w.pools = pools
	for key, ep := range w.endpoints {
		if kept[key] == nil {
			ep.leave()
		}
	}
	w.endpoints = kept
	w.adoptInbound()
	for c := range w.served {
		c.origin.series = nil
	}
}

// sweepEvery is how often idle connections and endpoints are looked at.
const sweepEvery = 15 * time.Second

func (w *worker) scheduleSweep() {
	w.loop.AfterFunc(&w.sweeping, sweepEvery, func() {
		now := w.loop.Now()
		for _, ep := range w.endpoints {
			ep.sweep(now)
		}
		for _, ep := range w.local {
			ep.sweep(now)
		}
		for _, ep := range w.outside {
			ep.sweep(now)
		}
		for s := range w.servers {
			if !s.busy && now.Sub(s.since) > w.e.o.IdleTimeout {
				_ = s.c.raw.Close()
			}
		}
		for c := range w.served {
			c.sweep(now)
		}
		w.scheduleSweep()
	})
}

// forget drops a dead HTTP/2 connection from wherever it is listed.
func (w *worker) forget(c *h2conn) {
	if c.ep != nil {
		c.ep.lost(c)
		return
	}
	if _, ok := w.served[c]; ok {
		delete(w.served, c)
		w.closedDownstream()
	}
}

// admit counts a downstream connection in, or refuses it.
func (w *worker) admit() bool {
	if w.draining || w.connections >= w.e.o.MaxConnections {
		return false
	}
	w.connections++
	return true
}

func (w *worker) closedDownstream() {
	w.connections--
}
