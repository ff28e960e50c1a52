package cli

import (
	"context"
	"math"
	"strings"
	"testing"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func (f *fake) History(_ context.Context, r *connect.Request[adminv1.HistoryRequest]) (*connect.Response[adminv1.HistoryResponse], error) {
	if r.Msg.GetRevision() == 42 && f.guard != nil {
		return answer(f, &adminv1.HistoryResponse{Entries: []*adminv1.HistoryEntry{{Revision: 42, Action: "apply", Guard: f.guard}}})
	}
	ref := func(kind, namespace, name string) *adminv1.ResourceRef {
		return &adminv1.ResourceRef{ApiVersion: "gateway.networking.k8s.io/v1", Kind: kind, Namespace: namespace, Name: name}
	}
	entries := []*adminv1.HistoryEntry{
		{
			Revision: 57, Time: ago(20 * time.Second), Action: "rollback", Caller: "guard of revision 42", Undone: 42, Message: "default/reviews: success rate 50.00%\nand more",
			Changes: []*adminv1.Change{{Resource: route(), Action: "configured", Before: routeYAML, After: strings.Replace(routeYAML, "reviews-v1", "reviews-v2", 1)}},
		},
		{
			Revision: 42, Time: ago(90 * time.Second), Action: "apply", Author: "jo@ship", Caller: "uid 0 (root)", Message: "to v2\x1b[31m",
			Changes: []*adminv1.Change{
				{Resource: route(), Action: "created", After: routeYAML},
				{Resource: ref("TCPRoute", "shop", "db"), Action: "deleted", Before: "kind: TCPRoute"},
				{Resource: ref("HTTPRoute", "shop", "cart"), Action: "configured", Before: "a: 1\n", After: "a: 2\n"},
			},
			Guard: rolledBack(),
		},
		{Revision: 12, Time: ago(50 * time.Hour), Action: "delete", Changes: []*adminv1.Change{{Resource: route(), Action: "deleted"}}},
	}
	if n := r.Msg.GetRevision(); n != 0 {
		for _, e := range entries {
			if e.GetRevision() == n {
				return answer(f, &adminv1.HistoryResponse{Entries: []*adminv1.HistoryEntry{e}})
			}
		}
		return nil, connect.NewError(connect.CodeNotFound, errString("the history has no change of revision 7"))
	}
	return answer(f, &adminv1.HistoryResponse{Entries: entries, Revision: 60})
}

type errString string

func (e errString) Error() string { return string(e) }

func guardSpec() *adminv1.GuardSpec {
	return &adminv1.GuardSpec{Window: durationpb.New(time.Minute), SuccessRate: 0.99, LatencyIncrease: 0.5, MinRequests: 50}
}

func rolledBack() *adminv1.GuardStatus {
	return &adminv1.GuardStatus{
		State: adminv1.GuardStatus_STATE_ROLLED_BACK, Rollback: 57, Spec: guardSpec(), Reason: "default/reviews: success rate 50.00% of 400 requests, below 99.00%; before the change it was 100.00% of 2000",
		Services: []*adminv1.GuardFigures{
			{Service: "default/reviews", RequestsBefore: 2000, Requests: 400, SuccessRateBefore: 1, SuccessRate: 0.5, P99SecondsBefore: 0.01, P99Seconds: 0.012, Verdict: "worse"},
			{Service: "default/idle", SuccessRateBefore: math.NaN(), SuccessRate: math.NaN(), Verdict: "not enough traffic to judge"},
		},
	}
}

func (f *fake) Rollback(_ context.Context, r *connect.Request[adminv1.RollbackRequest]) (*connect.Response[adminv1.RollbackResponse], error) {
	f.rolled = r.Msg
	res := &adminv1.RollbackResponse{Revision: 58, Changes: []*adminv1.Change{{Resource: route(), Action: "configured"}}}
	if res.RolledBackTo = r.Msg.GetRevision(); res.RolledBackTo == 0 || r.Msg.GetOnly() {
		res.RolledBackTo, res.Undone = 0, 57
	}
	return answer(f, res)
}

func TestGuardFlags(t *testing.T) {
	for _, c := range []struct {
		args string
		want *adminv1.GuardSpec
		bad  string
	}{
		{args: "", want: nil},
		{args: "--guard 60s", want: guardSpec()},
		{args: "--guard 1m --success-rate 99.5% --latency-p99 +20% --min-requests 7", want: &adminv1.GuardSpec{Window: durationpb.New(time.Minute), SuccessRate: 0.995, LatencyIncrease: 0.2, MinRequests: 7}},
		{args: "--guard 60s --latency-p99 250ms", want: &adminv1.GuardSpec{Window: durationpb.New(time.Minute), SuccessRate: 0.99, Latency: durationpb.New(250 * time.Millisecond), MinRequests: 50}},
		{args: "--guard 5s", bad: "10s to 10m"},
		{args: "--guard 11m", bad: "10s to 10m"},
		{args: "--guard 0s", bad: "10s to 10m"},
		{args: "--guard -60s", bad: "10s to 10m"},
		{args: "--guard 60s --success-rate 0.99", bad: "as 99%"},
		{args: "--guard 60s --success-rate 101%", bad: "as 99%"},
		{args: "--guard 60s --success-rate NaN%", bad: "as 99%"},
		{args: "--guard 60s --latency-p99 50%", bad: "as +50%"},
		{args: "--guard 60s --latency-p99 +NaN%", bad: "as +50%"},
		{args: "--guard 60s --latency-p99 -5ms", bad: "as +50%"},
		{args: "--guard 60s --min-requests 0", bad: "1 or more"},
		{args: "--success-rate 99%", bad: "goes with --guard"},
	} {
		var f guardFlags
		cmd := &cobra.Command{}
		f.add(cmd)
		if err := cmd.ParseFlags(strings.Fields(c.args)); err != nil {
			t.Fatal(err)
		}
		got, err := f.spec(cmd)
		if c.bad != "" {
			if err == nil || !strings.Contains(err.Error(), c.bad) {
				t.Errorf("%s: %v, want %q", c.args, err, c.bad)
			}
			continue
		}
		// A rate of 99.5% is 0.995 but for the last bit.
		if err != nil || (got == nil) != (c.want == nil) || got != nil && (math.Abs(got.GetSuccessRate()-c.want.GetSuccessRate()) > 1e-12 ||
			math.Abs(got.GetLatencyIncrease()-c.want.GetLatencyIncrease()) > 1e-12 || got.GetMinRequests() != c.want.GetMinRequests() ||
			got.GetLatency().AsDuration() != c.want.GetLatency().AsDuration() || got.GetWindow().AsDuration() != c.want.GetWindow().AsDuration()) {
			t.Errorf("%s: %v %v, want %v", c.args, got, err, c.want)
		}
	}
}

// TestGuardInterrupted leaves the change and says so.
func TestGuardInterrupted(t *testing.T) {
	f := &fake{wait: &adminv1.WaitResponse{Proxies: 1}, guard: &adminv1.GuardStatus{State: adminv1.GuardStatus_STATE_WATCHING}}
	var out, err strings.Builder
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	socket := f.serve(t)
	a := New(Options{
		Stdin: strings.NewReader(routeYAML), Stdout: &out, Stderr: writerFunc(func(p []byte) (int, error) {
			if strings.HasPrefix(string(p), "guarding revision 42") {
				cancel() // as Ctrl-C does
			}
			return err.Write(p)
		}), Getenv: func(k string) string { return map[string]string{"WEFT_SOCKET": socket}[k] },
	})
	if code := a.Execute(ctx, []string{"apply", "-f", "-", "--guard", "10m"}); code != exitInterrupted || !strings.Contains(err.String(), "revision 42 stays, and the control plane goes on guarding it") {
		t.Errorf("exit status %d\n%s", code, err.String())
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(p []byte) (int, error) { return f(p) }

func TestRollbackFlags(t *testing.T) {
	f := &fake{}
	w := world{socket: f.serve(t), options: func(o *Options) { o.Author = "jo@ship" }}
	if r := w.weft(t, "rollback", "42", "--only", "--force", "-m", "why"); r.code != ExitOK {
		t.Fatalf("%+v", r)
	}
	if q := f.rolled; q.GetRevision() != 42 || !q.GetOnly() || !q.GetForce() || q.GetNote().GetAuthor() != "jo@ship" || q.GetNote().GetMessage() != "why" {
		t.Errorf("%v", q)
	}
	for _, args := range []string{"rollback x", "rollback 0", "rollback --only", "rollback 1 2", "rollback --wait --dry-run", "rollback --timeout 0s", "history show", "history show x", "history -l -1"} {
		if r := w.weft(t, strings.Fields(args)...); r.code != ExitUsage || r.err == "" {
			t.Errorf("weft %s: %+v, want exit status 64 and why", args, r)
		}
	}
}
