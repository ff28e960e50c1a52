package cli

import (
	"context"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// printChanges says what apply or delete did, as kubectl does.
func (a *App) printChanges(whole proto.Message, changes []*adminv1.Change, format string, dryRun bool) error {
	switch format {
	case "json", "yaml":
		return a.printProto(whole, format)
	}
	for _, c := range changes {
		switch {
		case format == "name":
			a.printf("%s\n", qualified(c.GetResource()))
		case dryRun:
			a.printf("%s %s (dry run)\n", qualified(c.GetResource()), c.GetAction())
		default:
			a.printf("%s %s\n", qualified(c.GetResource()), c.GetAction())
		}
	}
	return nil
}

type waitFor struct {
	revision int64
	timeout  time.Duration
	quiet    bool // say success on Stderr: Stdout is for a script
}

// wait returns when the proxies concerned run a revision. It is an error of status 1 when one refused it
// and of status 75 when one did not answer in time.
func (a *App) wait(ctx context.Context, client adminv1connect.AdminServiceClient, w waitFor) error {
	start := a.o.Now()
	// The control plane keeps the time; ours is longer, for the answer to arrive.
	ctx, cancel := context.WithTimeout(ctx, w.timeout+a.conn.timeout)
	defer cancel()
	res, err := client.Wait(ctx, connect.NewRequest(&adminv1.WaitRequest{Revision: w.revision, Timeout: durationpb.New(w.timeout)}))
	if err != nil {
		return err
	}
	took := a.o.Now().Sub(start)
	for _, r := range res.Msg.GetRefusals() {
		a.note("%s refused revision %d: %s", word(r.GetProxy()), w.revision, word(r.GetReason()))
	}
	pending := res.Msg.GetPending()
	for _, p := range pending {
		a.note("%s has not answered", word(p))
	}
	live := plural(int(res.Msg.GetProxies()), "proxy")
	switch {
	case len(res.Msg.GetRefusals()) > 0:
		return fail(ExitNo, "revision %d is stored, but %s refused it, keeping the one before; it is live on %s", w.revision, plural(len(res.Msg.GetRefusals()), "proxy"), live)
	case len(pending) > 0:
		return fail(ExitTemporary, "revision %d is stored, but %s did not answer within %s; see `weft proxy-status`", w.revision, plural(len(pending), "proxy"), w.timeout)
	}
	line := "revision %d is live on %s (%d ms)"
	if w.quiet {
		a.note(line, w.revision, live, took.Milliseconds())
		return nil
	}
	a.printf(line+"\n", w.revision, live, took.Milliseconds())
	return nil
}
