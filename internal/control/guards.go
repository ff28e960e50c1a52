package control

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/control/guard"
	"github.com/weft-mesh/weft/internal/control/metrics"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// Bounds of guards.
const (
	minGuard   = 10 * time.Second
	maxGuard   = 10 * time.Minute
	maxGuarded = 100 // services that one guard watches: those with the most requests
	maxGuards  = 100 // that run at a time
	maxLooks   = 30
)

// guardRecord is a guard that has not ended. It is stored with the change, so that any control plane can end it.
type guardRecord struct {
	Window   time.Duration  `json:"window"`
	Bounds   guard.Bounds   `json:"bounds"`
	Services []guardService `json:"services,omitempty"`
	Began    time.Time      `json:"began,omitzero"` // of the window: the proxies run the change
}

// guardService is a service, or a listener of a gateway, that is watched, as it was before the change. The figures are those of its clients'
// proxies, and of its own, which alone see clients outside the mesh.
type guardService struct {
	Name     string      `json:"name"`
	Outbound guardCounts `json:"outbound"`
	Inbound  guardCounts `json:"inbound"`
}

// guardCounts are guard.Figures in the store.
type guardCounts struct {
	Success uint64 `json:"success,omitempty"`
	Failure uint64 `json:"failure,omitempty"`
	Latency []byte `json:"latency,omitempty"` // discoveryv1.Histogram
}

// guardOutcome is what became of a guard.
type guardOutcome struct {
	State    adminv1.GuardStatus_State `json:"state"`
	Reason   string                    `json:"reason,omitempty"`
	Ended    time.Time                 `json:"ended"`
	Record   guardRecord               `json:"record"` // without figures
	Services []guardFigures            `json:"services,omitempty"`
}

// guardFigures are a service's figures in words of the API.
type guardFigures struct {
	Service                     string
	RequestsBefore, Requests    uint64
	SuccessBefore, SuccessSince uint64
	P99Before, P99Since         time.Duration
	Verdict                     guard.Outcome
	Reason                      string
}

// guardSpec reads what a caller wants watched; nil is nothing.
func guardSpec(p *adminv1.GuardSpec) (*guardRecord, error) {
	if p == nil {
		return nil, nil
	}
	r := &guardRecord{Window: p.GetWindow().AsDuration(), Bounds: guard.Bounds{
		SuccessRate: p.GetSuccessRate(), Increase: p.GetLatencyIncrease(), Latency: p.GetLatency().AsDuration(), MinRequests: p.GetMinRequests(),
	}}
	b := &r.Bounds
	b.Looks = int(r.Window / r.every())
	bad := func(format string, args ...any) (*guardRecord, error) {
		return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("guard: "+format, args...))
	}
	switch {
	case r.Window < minGuard || r.Window > maxGuard:
		return bad("a window of %v is not between %v and %v", r.Window, minGuard, maxGuard)
	case math.IsNaN(b.SuccessRate) || b.SuccessRate < 0 || b.SuccessRate > 1:
		return bad("a success rate of %v is not between 0 and 1", b.SuccessRate)
	case math.IsNaN(b.Increase) || b.Increase < 0 || b.Increase > 1000:
		return bad("a latency of %v times more is not between 0 and 1000", b.Increase)
	case b.Latency < 0 || b.Latency > time.Hour:
		return bad("a latency of %v is not between 0 and 1h", b.Latency)
	}
	return r, nil
}

// every is the time between two looks.
func (r *guardRecord) every() time.Duration { return max(r.Window/maxLooks, 2*time.Second) }

func (r *guardRecord) serviceNames() []string {
	var out []string
	for _, s := range r.Services {
		out = append(out, s.Name)
	}
	return out
}

// newGuard notes the services that a change touches, and how they were until now.
func (s *Server) newGuard(ctx context.Context, spec *guardRecord, v *view, after *config.Mesh) (*guardRecord, error) {
	if len(v.guards) >= maxGuards {
		return nil, connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("%d guards are running already", maxGuards))
	}
	before, _ := config.Compile(v.input(s.ca.TrustDomain()))
	r := *spec
	r.Services = nil
	names := map[string]bool{}
	for _, n := range config.Touched(before, after) {
		names[n.String()] = true
	}
	for _, n := range config.TouchedListeners(before, after) {
		names[n] = true // what a gateway's clients see is counted by its listener
	}
	if len(names) == 0 {
		return &r, nil
	}
	figures, err := s.figures(ctx, names, spec.Window)
	if err != nil {
		return nil, err
	}
	for name := range names {
		f := figures[name]
		r.Services = append(r.Services, guardService{Name: name, Outbound: countsOf(&f.outbound), Inbound: countsOf(&f.inbound)})
	}
	slices.SortFunc(r.Services, func(a, b guardService) int {
		busyA, busyB := figures[a.Name].requests(), figures[b.Name].requests()
		if busyA != busyB {
			return int(min(max(int64(busyB)-int64(busyA), -1), 1))
		}
		return cmp.Compare(a.Name, b.Name)
	})
	r.Services = r.Services[:min(len(r.Services), maxGuarded)]
	return &r, nil
}

// sides are a service's figures as its clients' proxies see it, and as its own do.
type sides struct{ outbound, inbound guard.Figures }

func (s sides) requests() uint64 { return max(s.outbound.Requests(), s.inbound.Requests()) }

// figures sums what all control planes know of services' last moments, by name.
func (s *Server) figures(ctx context.Context, names map[string]bool, window time.Duration) (map[string]sides, error) {
	ctx, cancel := context.WithTimeout(ctx, peerTimeout)
	defer cancel()
	q := metrics.Query{Window: window, GroupBy: []string{"direction", "service", "destination"}}
	resp, err := (&admin{s}).Stat(ctx, connect.NewRequest(&adminv1.StatRequest{Window: durationpb.New(window), GroupBy: q.GroupBy}))
	if err != nil {
		return nil, err
	}
	out := map[string]sides{}
	for _, p := range resp.Msg.GetRows() {
		row := rowOf(p, q)
		service, destination := row.Labels["service"], row.Labels["destination"]
		for _, name := range slices.Compact([]string{service, destination}) {
			if !names[name] {
				continue
			}
			at := out[name]
			side := &at.outbound
			if row.Labels["direction"] == "inbound" {
				side = &at.inbound
			}
			side.Success += row.Success
			side.Failure += row.Failure
			side.Latency.Merge(&row.Latency)
			out[name] = at
		}
	}
	return out, nil
}

func countsOf(f *guard.Figures) guardCounts {
	c := guardCounts{Success: f.Success, Failure: f.Failure}
	if f.Latency.Count() > 0 {
		c.Latency, _ = proto.Marshal(f.Latency.Proto()) // fails on text that is no UTF-8 only
	}
	return c
}

func (c guardCounts) figures() guard.Figures {
	f := guard.Figures{Success: c.Success, Failure: c.Failure}
	p := &discoveryv1.Histogram{}
	if proto.Unmarshal(c.Latency, p) != nil {
		return f
	}
	if h, err := telemetry.HistogramFrom(p); err == nil {
		f.Latency = *h
	}
	return f
}

// judge compares each service with what it was.
func (r *guardRecord) judge(now map[string]sides) []guardFigures {
	out := make([]guardFigures, 0, len(r.Services))
	for _, s := range r.Services {
		at := now[s.Name]
		before, since := s.Outbound.figures(), at.outbound
		if before.Requests()+since.Requests() == 0 { // no client in the mesh
			before, since = s.Inbound.figures(), at.inbound
		}
		v := guard.Judge(r.Bounds, &before, &since)
		out = append(out, guardFigures{
			Service: s.Name, RequestsBefore: before.Requests(), Requests: since.Requests(), SuccessBefore: before.Success, SuccessSince: since.Success,
			P99Before: before.Latency.Quantile(0.99), P99Since: since.Latency.Quantile(0.99), Verdict: v.Outcome, Reason: v.Reason,
		})
	}
	return out
}

func (f *guardFigures) proto() *adminv1.GuardFigures {
	rate := func(good, of uint64) float64 { return float64(good) / float64(of) } // NaN without requests
	return &adminv1.GuardFigures{
		Service: f.Service, RequestsBefore: f.RequestsBefore, Requests: f.Requests,
		SuccessRateBefore: rate(f.SuccessBefore, f.RequestsBefore), SuccessRate: rate(f.SuccessSince, f.Requests),
		P99SecondsBefore: f.P99Before.Seconds(), P99Seconds: f.P99Since.Seconds(), Verdict: string(f.Verdict), Reason: f.Reason,
	}
}

func (r *guardRecord) spec() *adminv1.GuardSpec {
	p := &adminv1.GuardSpec{
		Window: durationpb.New(r.Window), SuccessRate: r.Bounds.SuccessRate, LatencyIncrease: r.Bounds.Increase, MinRequests: r.Bounds.MinRequests,
	}
	if r.Bounds.Latency > 0 {
		p.Latency = durationpb.New(r.Bounds.Latency)
	}
	return p
}

// proto says how far a guard is.
func (r *guardRecord) proto() *adminv1.GuardStatus {
	out := &adminv1.GuardStatus{State: adminv1.GuardStatus_STATE_WAITING, Spec: r.spec()}
	if !r.Began.IsZero() {
		out.State, out.Until = adminv1.GuardStatus_STATE_WATCHING, timestamppb.New(r.Began.Add(r.Window))
	}
	return out
}

// proto says what became of a guard; rollback is the revision that undid the change, if there is one.
func (o *guardOutcome) proto(rollback int64) *adminv1.GuardStatus {
	out := &adminv1.GuardStatus{State: o.State, Reason: o.Reason, Spec: o.Record.spec(), Rollback: rollback}
	if !o.Record.Began.IsZero() {
		out.Until = timestamppb.New(o.Record.Began.Add(o.Record.Window))
	}
	for i := range o.Services {
		out.Services = append(out.Services, o.Services[i].proto())
	}
	return out
}
