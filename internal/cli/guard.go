package cli

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// guardFlags are those of `weft apply --guard`.
type guardFlags struct {
	window      time.Duration
	successRate string
	latency     string
	minRequests uint64
}

func (f *guardFlags) add(cmd *cobra.Command) {
	cmd.Flags().DurationVar(&f.window, "guard", 0, "watch what the change does for so `LONG`, 10s to 10m, and roll it back when that is worse")
	cmd.Flags().StringVar(&f.successRate, "success-rate", "99%", "with --guard: least success `RATE` of each service, in percent")
	cmd.Flags().StringVar(&f.latency, "latency-p99", "+50%", "with --guard: how much the p99 latency may grow, as +50%, or its `BOUND`, as 250ms")
	cmd.Flags().Uint64Var(&f.minRequests, "min-requests", 50, "with --guard: requests of a service that a judgement needs, before and since")
}

// spec reads the flags; nil is no guard.
func (f *guardFlags) spec(cmd *cobra.Command) (*adminv1.GuardSpec, error) {
	if !cmd.Flags().Changed("guard") {
		for _, name := range []string{"success-rate", "latency-p99", "min-requests"} {
			if cmd.Flags().Changed(name) {
				return nil, fail(ExitUsage, "--%s goes with --guard: write --guard 60s too", name)
			}
		}
		return nil, nil
	}
	if f.window < 10*time.Second || f.window > 10*time.Minute {
		return nil, fail(ExitUsage, "--guard %s: must be 10s to 10m", f.window)
	}
	if f.minRequests == 0 {
		return nil, fail(ExitUsage, "--min-requests 0: must be 1 or more")
	}
	spec := &adminv1.GuardSpec{Window: durationpb.New(f.window), MinRequests: f.minRequests}
	rate, err := parsePercent(f.successRate)
	if err != nil || !(rate > 0 && rate <= 1) { // NaN is neither
		return nil, fail(ExitUsage, "--success-rate %q: write a percentage above 0, up to 100, as 99%%", clean(f.successRate))
	}
	spec.SuccessRate = rate
	if more, ok := strings.CutPrefix(f.latency, "+"); ok {
		if spec.LatencyIncrease, err = parsePercent(more); err == nil && spec.GetLatencyIncrease() > 0 && spec.GetLatencyIncrease() <= 1000 {
			return spec, nil
		}
	} else if d, err := time.ParseDuration(f.latency); err == nil && d > 0 && d <= time.Hour {
		spec.Latency = durationpb.New(d)
		return spec, nil
	}
	return nil, fail(ExitUsage, "--latency-p99 %q: write how much more it may be, as +50%%, or a bound, as 250ms", clean(f.latency))
}

// parsePercent reads "99%" as 0.99.
func parsePercent(s string) (float64, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(s), "%")
	if !ok {
		return 0, errors.New("no percent sign")
	}
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	return v / 100, err
}

const (
	guardPoll  = 500 * time.Millisecond
	guardGrace = 60 * time.Second // beyond the window: for proxies to run the change, reports, another control plane
)

// await returns when the guard of a revision has ended, or the user no longer waits for it.
func (a *App) await(ctx context.Context, client adminv1connect.AdminServiceClient, revision int64, window time.Duration) (*adminv1.HistoryEntry, error) {
	within, cancel := context.WithTimeout(ctx, window+guardGrace)
	defer cancel()
	tick := time.NewTicker(guardPoll)
	defer tick.Stop()
	var last error
	for {
		res, err := call(within, a, client.History, &adminv1.HistoryRequest{Revision: revision})
		switch {
		case err == nil && len(res.GetEntries()) > 0:
			e := res.GetEntries()[0]
			if guardEnded(e.GetGuard()) {
				return e, nil
			}
			last = nil
		case err != nil && connect.CodeOf(err) == connect.CodeNotFound:
			return nil, err
		case err != nil:
			last = err // the guard is the control planes': one that is away now may come back, or another
		}
		select {
		case <-within.Done():
			return nil, a.gaveUp(ctx, revision, last)
		case <-tick.C:
		}
	}
}

// gaveUp says why nobody waits for the guard of a revision any longer, and that it goes on. last is the last error
// of asking for it.
func (a *App) gaveUp(ctx context.Context, revision int64, last error) error {
	switch {
	case ctx.Err() != nil:
		a.note("interrupted: revision %d stays, and the control plane goes on guarding it; `weft history show %d` tells what becomes of it", revision, revision)
		return &Error{Code: exitInterrupted}
	case last != nil:
		return fail(ExitUnavailable, "revision %d is stored, but what became of its guard is unknown: %w; see `weft history show %d`", revision, last, revision)
	}
	return fail(ExitTemporary, "revision %d is stored, but its guard has not ended in time; see `weft history show %d`", revision, revision)
}

func guardEnded(g *adminv1.GuardStatus) bool {
	switch g.GetState() {
	case adminv1.GuardStatus_STATE_WAITING, adminv1.GuardStatus_STATE_WATCHING:
		return false
	}
	return true
}

// guard waits for the guard of a change and says what became of it.
func (a *App) guard(ctx context.Context, client adminv1connect.AdminServiceClient, f *applyFlags, res *adminv1.ApplyResponse, spec *adminv1.GuardSpec) error {
	text := f.output.value == "text"
	if text {
		if err := a.wait(ctx, client, waitFor{revision: res.GetRevision(), timeout: f.timeout}); err != nil && ctx.Err() == nil {
			a.note("weft: %v", err) // the guard sees to it
		}
		a.note("guarding revision %d for %s: %s", res.GetRevision(), spec.GetWindow().AsDuration(), cmp.Or(strings.Join(res.GetGuarded(), ", "), "it touches no service that was there before"))
	}
	e, err := a.await(ctx, client, res.GetRevision(), spec.GetWindow().AsDuration())
	if err != nil {
		return err
	}
	g := e.GetGuard()
	switch f.output.value {
	case "json", "yaml":
		if err := a.printProto(e, f.output.value); err != nil {
			return err
		}
	case "text":
		if len(g.GetServices()) > 0 {
			a.printf("%s", guardTable(g))
		}
	}
	return a.guardResult(e.GetRevision(), g, text)
}

func (a *App) guardResult(revision int64, g *adminv1.GuardStatus, text bool) error {
	reason := word(g.GetReason())
	switch g.GetState() {
	case adminv1.GuardStatus_STATE_ROLLED_BACK:
		return fail(ExitRolledBack, "revision %d was rolled back, by revision %d: %s", revision, g.GetRollback(), reason)
	case adminv1.GuardStatus_STATE_CONFLICT:
		return fail(ExitNo, "revision %d should have been rolled back: %s", revision, reason)
	case adminv1.GuardStatus_STATE_UNJUDGED:
		return fail(ExitUnjudged, "revision %d stays, unjudged: %s", revision, reason)
	case adminv1.GuardStatus_STATE_KEPT:
		if text {
			a.printf("revision %d stays: no figure is worse than its bound\n", revision)
		}
		if reason != "" {
			a.note("%s", reason)
		}
		return nil
	}
	return fail(ExitInternal, "revision %d is stored, but the control plane tells nothing of its guard; it may be of another version: see `weft version`", revision)
}

// guardTable compares the services' figures before a change and since.
func guardTable(g *adminv1.GuardStatus) string {
	t := newTable("SERVICE", ">REQUESTS", ">SUCCESS BEFORE", ">SINCE", ">P99 BEFORE", ">SINCE", "VERDICT")
	seconds := func(requests uint64, s float64) string {
		if requests == 0 {
			return "-"
		}
		return latency(s)
	}
	for _, s := range g.GetServices() {
		t.add(s.GetService(), strconv.FormatUint(s.GetRequests(), 10), percent(s.GetSuccessRateBefore()), percent(s.GetSuccessRate()),
			seconds(s.GetRequestsBefore(), s.GetP99SecondsBefore()), seconds(s.GetRequests(), s.GetP99Seconds()), s.GetVerdict())
	}
	return t.String()
}

// guardWord says how a guard stands.
func guardWord(g *adminv1.GuardStatus) string {
	if g == nil {
		return "-"
	}
	switch g.GetState() {
	case adminv1.GuardStatus_STATE_WAITING:
		return "waiting for proxies"
	case adminv1.GuardStatus_STATE_WATCHING:
		return "watching until " + g.GetUntil().AsTime().Format("15:04:05 MST")
	case adminv1.GuardStatus_STATE_KEPT:
		return "kept"
	case adminv1.GuardStatus_STATE_UNJUDGED:
		return "kept, unjudged"
	case adminv1.GuardStatus_STATE_ROLLED_BACK:
		return fmt.Sprintf("rolled back by %d", g.GetRollback())
	case adminv1.GuardStatus_STATE_CONFLICT:
		return "worse, but changed since"
	}
	return "unknown"
}
