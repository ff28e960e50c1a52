package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// tapFlags select live requests; tap and top share them.
type tapFlags struct {
	scope  scope
	to     string
	method string
	path   string
	maxRPS uint32
	output choice
}

func (a *App) addTapFlags(cmd *cobra.Command, f *tapFlags) {
	a.addNamespace(cmd, &f.scope, false)
	cmd.Flags().StringVar(&f.to, "to", "", "only requests to this `SERVICE`")
	cmd.Flags().StringVar(&f.method, "method", "", "only requests of this `METHOD`")
	cmd.Flags().StringVar(&f.path, "path", "", "only requests whose path begins with `PREFIX`")
	cmd.Flags().Uint32Var(&f.maxRPS, "max-rps", 100, "at most this many `REQUESTS` a second of each proxy, 1 to 10000")
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeServices)
}

// request checks the flags and returns what to ask for.
func (f *tapFlags) request(args []string) (*adminv1.TapRequest, error) {
	if f.maxRPS < 1 || f.maxRPS > 10_000 {
		return nil, fail(ExitUsage, "--max-rps %d: want 1 to 10000", f.maxRPS)
	}
	if f.path != "" && !strings.HasPrefix(f.path, "/") {
		return nil, fail(ExitUsage, "--path %q: must begin with /", clean(f.path))
	}
	filter := &discoveryv1.TapFilter{Method: strings.ToUpper(f.method), PathPrefix: f.path}
	var err error
	if len(args) > 0 {
		if filter.Workload, err = f.scope.service(args[0]); err != nil {
			return nil, err
		}
	}
	if f.to != "" {
		if filter.To, err = f.scope.service(f.to); err != nil {
			return nil, err
		}
	}
	return &adminv1.TapRequest{Filter: filter, MaxRps: f.maxRPS}, nil
}

func (a *App) tapCommand() *cobra.Command {
	var f tapFlags
	cmd := &cobra.Command{
		Use:   "tap [[svc/]SERVICE]",
		Short: "Follow live requests",
		Long: text(`
			Tap prints requests as they end, three lines each with the same id: req, rsp and end. Both proxies of
			a request report it: proxy=out is the caller's, proxy=in the server's. With a service, only its own
			proxies report. -o wide adds the rule that routed it; -o json prints one object a line. The id can be
			given to "weft explain --id". Ctrl-C ends it.`),
		Example:           "  weft tap\n  weft tap productpage --to reviews -o wide\n  weft tap --path /reviews --method GET --max-rps 10",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeServices,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			req, err := f.request(args)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.follow(cmd.Context(), client, req, func(e *discoveryv1.TapEvent) error {
				return a.printTap(e, f.output.value)
			})
		}),
	}
	a.addTapFlags(cmd, &f)
	addOutput(cmd, &f.output, "text", "wide", "json")
	return cmd
}

// follow calls each for every event until ctx ends, which is no error, or the stream does, which is.
func (a *App) follow(ctx context.Context, client adminv1connect.AdminServiceClient, req *adminv1.TapRequest, each func(*discoveryv1.TapEvent) error) error {
	stream, err := client.Tap(ctx, connect.NewRequest(req))
	if err != nil {
		return ended(ctx, err)
	}
	defer stream.Close()
	for stream.Receive() {
		if err := each(stream.Msg()); err != nil {
			return err
		}
	}
	if err := stream.Err(); err != nil {
		return ended(ctx, err)
	}
	if ctx.Err() != nil {
		return nil
	}
	return fail(ExitUnavailable, "the control plane at %s ended the stream", a.conn.target())
}

// ended is nil for what Ctrl-C caused.
func ended(ctx context.Context, err error) error {
	if errors.Is(ctx.Err(), context.Canceled) {
		return nil
	}
	return err
}

func (a *App) printTap(e *discoveryv1.TapEvent, format string) error {
	if format == "json" {
		b, err := protoJSON(e, false)
		if err != nil {
			return err
		}
		a.printf("%s\n", b)
		return a.outputFailed()
	}
	a.printf("%s", tapLines(e, format == "wide"))
	return a.outputFailed()
}

// tapLines writes an event as linkerd's tap does; an id is the request's, unique in the mesh.
func tapLines(e *discoveryv1.TapEvent, wide bool) string {
	side := "out"
	if e.GetDirection() == "inbound" {
		side = "in"
	}
	tls := "true"
	if e.GetTls() != "mutual" {
		tls = "not_provided"
	}
	common := fmt.Sprintf("id=%s proxy=%s src=%s dst=%s tls=%s", word(e.GetRequestId()), side,
		orDash(word(e.GetSourceAddress())), orDash(word(e.GetDestinationAddress())), tls)
	extra := ""
	if wide {
		route := e.GetRoute()
		if route == "" {
			route = "default"
		}
		extra = fmt.Sprintf(" src_res=%s dst_res=%s route=%q attempts=%d", orDash(word(e.GetSource())), orDash(word(first(e.GetDestination(), e.GetService()))), route, e.GetAttempts())
	}
	var b strings.Builder
	if e.GetMethod() != "" {
		fmt.Fprintf(&b, "req %s :method=%s :authority=%s :path=%s%s\n", common, word(e.GetMethod()), word(e.GetAuthority()), word(e.GetPath()), extra)
	} else {
		fmt.Fprintf(&b, "req %s protocol=%s%s\n", common, orDash(word(e.GetProtocol())), extra)
	}
	if e.GetStatus() != 0 {
		fmt.Fprintf(&b, "rsp %s :status=%d latency=%dµs%s\n", common, e.GetStatus(), micros(e.GetSecondsToHead()), extra)
	}
	fmt.Fprintf(&b, "end %s", common)
	if e.GetGrpcStatus() != "" {
		fmt.Fprintf(&b, " grpc-status=%s", word(e.GetGrpcStatus()))
	}
	if e.GetFailure() != "" {
		fmt.Fprintf(&b, " failure=%s", word(e.GetFailure()))
	}
	fmt.Fprintf(&b, " duration=%dµs response-length=%dB%s\n", micros(e.GetSeconds()), e.GetResponseBytes(), extra)
	return b.String()
}

func micros(seconds float64) int64 { return int64(seconds*1e6 + 0.5) }
