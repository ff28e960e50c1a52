package cli

import (
	"context"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

func (a *App) routesCommand() *cobra.Command {
	var f statFlags
	cmd := &cobra.Command{
		Use:   "routes [[svc/]SERVICE...]",
		Short: "Show success rate, request rate and latency of each routing rule",
		Long: text(`
			Routes shows the traffic of each rule within the time window, as the proxies of the callers saw it:
			ROUTE is the rule with the file and line where it was written, "default" when the service has none;
			SERVICE is the service that was asked for.`),
		Example:           "  weft routes\n  weft routes reviews -t 5m\n  weft routes -A -o json",
		ValidArgsFunction: a.completeServices,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.routes(cmd.Context(), client, &f, args)
		}),
	}
	a.addNamespace(cmd, &f.scope, true)
	a.addWindow(cmd, &f)
	addOutput(cmd, &f.output, "table", "wide", "json", "yaml")
	return cmd
}

func (a *App) routes(ctx context.Context, client adminv1connect.AdminServiceClient, f *statFlags, args []string) error {
	var wanted []string
	for _, arg := range args {
		name, err := f.scope.service(arg)
		if err != nil {
			return err
		}
		if name != "" {
			wanted = append(wanted, name)
		}
	}
	namespace := f.scope.filter()
	if len(wanted) > 0 {
		namespace = "" // they may be in another
	}
	res, err := call(ctx, a, client.Stat, &adminv1.StatRequest{
		Window: durationpb.New(f.window), Namespace: namespace,
		GroupBy: []string{"service", "route"}, Match: map[string]string{"direction": "outbound"},
	})
	if err != nil {
		return err
	}
	rows := slices.DeleteFunc(res.GetRows(), func(r *adminv1.StatRow) bool {
		return len(wanted) > 0 && !slices.Contains(wanted, r.GetLabels()["service"])
	})
	sortRows(rows, []string{"service", "route"})
	switch f.output.value {
	case "json", "yaml":
		return a.printProto(&adminv1.StatResponse{Rows: rows}, f.output.value)
	}
	if len(rows) == 0 {
		a.note("no traffic in %s within %s", (&query{scope: f.scope}).where(), f.window)
		return nil
	}
	columns := []string{"ROUTE", "SERVICE", ">SUCCESS", ">RPS", ">LATENCY_P50", ">LATENCY_P95", ">LATENCY_P99"}
	if f.output.value == "wide" {
		columns = append(columns, ">TCP_CONN", ">READ_BYTES/SEC", ">WRITE_BYTES/SEC")
	}
	t := newTable(columns...)
	for _, r := range rows {
		route := r.GetLabels()["route"]
		if route == "" {
			route = "default"
		}
		route = strings.TrimPrefix(route, "HTTPRoute ")
		t.add(append([]string{route, f.scope.short(orUnknown(r.GetLabels()["service"]))}, measures(r)...)...)
	}
	return t.write(a.out)
}
