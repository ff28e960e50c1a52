package agent

import (
	"context"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/telemetry"
)

const (
	reportEvery = time.Second
	maxEvents   = 1000 // tap events that wait for the next report
)

// reporter sends telemetry to the control plane. When it cannot, counters go on and nothing is lost but taps.
type reporter struct {
	a       *Agent
	mu      sync.Mutex
	events  []*discoveryv1.TapEvent
	dropped atomic.Uint64
	urgent  chan struct{} // there are tap events: somebody watches

	known map[telemetry.Key][]*discoveryv1.Series // by loop, when there are several
}

func newReporter(a *Agent) *reporter {
	return &reporter{a: a, urgent: make(chan struct{}, 1), known: map[telemetry.Key][]*discoveryv1.Series{}}
}

// tap takes an event from a loop: it never blocks.
func (r *reporter) tap(ev *discoveryv1.TapEvent) {
	r.mu.Lock()
	if len(r.events) < maxEvents {
		r.events = append(r.events, ev)
	} else {
		r.dropped.Add(1)
	}
	r.mu.Unlock()
	select {
	case r.urgent <- struct{}{}:
	default:
	}
}

// run keeps a report stream open, and opens it anew when it breaks.
func (r *reporter) run(ctx context.Context) error {
	client := discoveryv1connect.NewDiscoveryServiceClient(r.a.source.HTTPClient(), r.a.source.BaseURL())
	for ctx.Err() == nil {
		if err := r.stream(ctx, client); err != nil && ctx.Err() == nil {
			r.a.log.Debug("report stream ended", "error", err)
		}
		select {
		case <-ctx.Done():
		case <-time.Tick(reportEvery):
		}
	}
	return nil
}

func (r *reporter) stream(ctx context.Context, client discoveryv1connect.DiscoveryServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := client.Report(ctx)
	defer func() { _, _ = s.CloseAndReceive() }()
	tick := time.NewTicker(reportEvery)
	defer tick.Stop()
	full := true // a new stream gets everything: the control plane may be another one
	for {
		if err := r.send(s, full); err != nil {
			return err
		}
		full = false
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		case <-r.urgent:
			// Gather what comes within a moment.
			select {
			case <-ctx.Done():
			case <-time.Tick(50 * time.Millisecond):
			}
		}
	}
}

// send sends what changed. With full it sends every series there ever was.
func (r *reporter) send(s *connect.ClientStreamForClient[discoveryv1.ReportRequest, discoveryv1.ReportResponse], full bool) error {
	req := &discoveryv1.ReportRequest{NodeId: r.a.o.ID, Series: r.series(full), Proxy: r.a.stats(), Started: timestamppb.New(r.a.started)}
	r.mu.Lock()
	req.Events, r.events = r.events, nil
	r.mu.Unlock()
	return s.Send(req)
}

// last gives what happened while draining a chance to be counted.
func (r *reporter) last(ctx context.Context) {
	if r.a.o.Control == "" {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	client := discoveryv1connect.NewDiscoveryServiceClient(r.a.source.HTTPClient(), r.a.source.BaseURL())
	s := client.Report(ctx)
	if err := r.send(s, true); err == nil {
		_, _ = s.CloseAndReceive()
	}
}

// stats are the process's own figures.
func (a *Agent) stats() *discoveryv1.ProxyStats {
	st := &discoveryv1.ProxyStats{
		ResidentBytes: residentBytes(), CpuMicroseconds: cpuMicroseconds(),
		OpenConnections: uint64(a.engine.Stats().Connections),
	}
	if svid := a.source.Current(); svid != nil {
		st.SvidNotAfter = timestamppb.New(svid.NotAfter)
	}
	return st
}

// residentBytes reads the resident set from proc(5); 0 where there is none.
func residentBytes() uint64 {
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		return 0
	}
	if f := strings.Fields(string(b)); len(f) > 1 {
		pages, _ := strconv.ParseUint(f[1], 10, 64)
		return pages * uint64(os.Getpagesize())
	}
	return 0
}

func cpuMicroseconds() uint64 {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return uint64(u.Utime.Nano()+u.Stime.Nano()) / 1000
}
