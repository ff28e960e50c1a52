package cli

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// statFlags are what stat, routes and edges share.
type statFlags struct {
	scope  scope
	window time.Duration
	from   string
	to     string
	by     string
	output choice
}

// window bounds are the control plane's: what it keeps.
const (
	minWindow = 10 * time.Second
	maxWindow = 10 * time.Minute
)

func (a *App) addWindow(cmd *cobra.Command, f *statFlags) {
	cmd.Flags().DurationVarP(&f.window, "time-window", "t", time.Minute, "how far back to look, 10s to 10m")
}

func (f *statFlags) check() error {
	if f.window < minWindow || f.window > maxWindow {
		return fail(ExitUsage, "--time-window %s: want %s to %s", f.window, minWindow, maxWindow)
	}
	return nil
}

func (a *App) statCommand() *cobra.Command {
	var f statFlags
	cmd := &cobra.Command{
		Use:   "stat [[svc/]SERVICE...]",
		Short: "Show success rate, request rate and latency of services",
		Long: text(`
			Stat shows what services answered within the time window, as their own proxies saw it: MESHED is the
			endpoints with a proxy of all, SUCCESS the share of requests without a server's failure (5xx, gRPC
			failures, no answer), latencies are until the last byte, TCP_CONN open connections. A service without
			requests has "-".

			With --from the rows are what that service sent, and with --to who sent to that service, both as the
			senders' proxies saw it. --by version has a row per version.`),
		Example:           "  weft stat\n  weft stat reviews --by version\n  weft stat --from productpage -o wide\n  weft stat --to reviews -t 5m",
		ValidArgsFunction: a.completeServices,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			if err := f.check(); err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.stat(cmd.Context(), client, &f, args)
		}),
	}
	a.addNamespace(cmd, &f.scope, true)
	a.addWindow(cmd, &f)
	cmd.Flags().StringVar(&f.from, "from", "", "only what this `SERVICE` sent")
	cmd.Flags().StringVar(&f.to, "to", "", "a row for each service that sent to this `SERVICE`")
	cmd.Flags().StringVar(&f.by, "by", "", "a row for each value of a `LABEL`: version")
	cmd.MarkFlagsMutuallyExclusive("from", "to")
	_ = cmd.RegisterFlagCompletionFunc("from", a.completeServices)
	_ = cmd.RegisterFlagCompletionFunc("to", a.completeServices)
	_ = cmd.RegisterFlagCompletionFunc("by", cobra.FixedCompletions([]string{"version"}, cobra.ShellCompDirectiveNoFileComp))
	addOutput(cmd, &f.output, "table", "wide", "json", "yaml")
	return cmd
}

// statLine is a row as -o json and yaml write it. Times are milliseconds; what has no data is left out.
type statLine struct {
	Namespace   string   `json:"namespace"`
	Name        string   `json:"name"`
	Version     string   `json:"version,omitempty"`
	Meshed      string   `json:"meshed,omitempty"`
	Success     *float64 `json:"success,omitempty"`
	RPS         float64  `json:"rps"`
	P50         *float64 `json:"latency_ms_p50,omitempty"`
	P95         *float64 `json:"latency_ms_p95,omitempty"`
	P99         *float64 `json:"latency_ms_p99,omitempty"`
	Connections int64    `json:"tcp_open_connections"`
	ReadBytes   float64  `json:"read_bytes_per_second"`
	WriteBytes  float64  `json:"write_bytes_per_second"`
}

func (a *App) stat(ctx context.Context, client adminv1connect.AdminServiceClient, f *statFlags, args []string) error {
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
	rows, meshed, err := a.statRows(ctx, client, f, wanted)
	if err != nil {
		return err
	}
	switch f.output.value {
	case "json", "yaml":
		return a.printValue(statLines(rows, meshed, f), f.output.value)
	}
	if len(rows) == 0 {
		a.note("no traffic in %s within %s", (&query{scope: f.scope}).where(), f.window)
		return nil
	}
	columns := []string{"NAME", ">MESHED", ">SUCCESS", ">RPS", ">LATENCY_P50", ">LATENCY_P95", ">LATENCY_P99", ">TCP_CONN"}
	if f.by != "" {
		columns = slices.Insert(columns, 1, "VERSION")
	}
	if f.output.value == "wide" {
		columns = append(columns, ">READ_BYTES/SEC", ">WRITE_BYTES/SEC")
	}
	t := newTable(columns...)
	for _, r := range rows {
		name := r.GetLabels()[f.label()]
		cells := []string{f.scope.short(orUnknown(name))}
		if f.by != "" {
			cells = append(cells, orDash(r.GetLabels()[f.by]))
		}
		cells = append(cells, orDash(f.meshedIn(meshed, r)))
		t.add(append(cells, measures(r)...)...)
	}
	return t.write(a.out)
}

// label is the label whose value names the row.
func (f *statFlags) label() string {
	if f.to != "" {
		return "source"
	}
	return "destination"
}

// statRows asks for the rows and for how much of each service is meshed. Services without traffic have a
// row too, unless the rows are edges of one service.
func (a *App) statRows(ctx context.Context, client adminv1connect.AdminServiceClient, f *statFlags, wanted []string) ([]*adminv1.StatRow, map[string]string, error) {
	req := &adminv1.StatRequest{
		Window: durationpb.New(f.window), Namespace: f.scope.filter(), GroupBy: []string{f.label()},
		Match: map[string]string{"direction": "inbound"},
	}
	switch f.by {
	case "":
	case "version":
		req.GroupBy = append(req.GroupBy, f.by)
	default:
		return nil, nil, fail(ExitUsage, "--by %q: want version", clean(f.by))
	}
	edge := f.from != "" || f.to != ""
	if edge || len(wanted) > 0 {
		req.Namespace = "" // they may be in another
	}
	for label, name := range map[string]string{"source": f.from, "destination": f.to} {
		if name == "" {
			continue
		}
		full, err := f.scope.service(name)
		if err != nil {
			return nil, nil, err
		}
		req.Match["direction"], req.Match[label] = "outbound", full
	}
	res, err := call(ctx, a, client.Stat, req)
	if err != nil {
		return nil, nil, err
	}
	found, err := a.services(ctx, client, &query{scope: scope{all: true}})
	if err != nil {
		return nil, nil, err
	}
	meshed := map[string]string{}
	rows := res.GetRows()
	for _, s := range found {
		name := s.GetService().GetName()
		meshed[name] = meshedOf(s, "")
		if f.by != "" {
			for _, e := range s.GetEndpoints().GetEndpoints() {
				version := e.GetLabels()[f.by]
				meshed[name+versionMark+version] = meshedOf(s, version)
			}
		}
		silent := !slices.ContainsFunc(rows, func(r *adminv1.StatRow) bool { return r.GetLabels()[f.label()] == name })
		within := f.scope.all || strings.HasPrefix(name, f.scope.namespace+"/") || slices.Contains(wanted, name)
		if silent && !edge && within && f.by == "" {
			rows = append(rows, silentRow(map[string]string{f.label(): name}))
		}
	}
	if len(wanted) > 0 {
		rows = slices.DeleteFunc(rows, func(r *adminv1.StatRow) bool { return !slices.Contains(wanted, r.GetLabels()[f.label()]) })
		for _, w := range wanted {
			if _, known := meshed[w]; !known {
				return nil, nil, fail(ExitNo, "there is no service %q; `weft get services -A` lists what there is", clean(w))
			}
		}
	}
	sortRows(rows, req.GroupBy)
	return rows, meshed, nil
}

func silentRow(labels map[string]string) *adminv1.StatRow {
	nan := math.NaN()
	return &adminv1.StatRow{Labels: labels, SuccessRate: nan, P50Seconds: nan, P95Seconds: nan, P99Seconds: nan}
}

// versionMark joins a service's name and a version to the key of the version's own count.
const versionMark = "@"

// meshedOf counts a service's endpoints that have a proxy, of all, or of those of one version.
func meshedOf(s *adminv1.ServiceInfo, version string) string {
	n, all := 0, 0
	for _, e := range s.GetEndpoints().GetEndpoints() {
		if version != "" && e.GetLabels()["version"] != version {
			continue
		}
		all++
		if !e.GetPlain() {
			n++
		}
	}
	return fmt.Sprintf("%d/%d", n, all)
}

// meshedIn returns the count that belongs to a row.
func (f *statFlags) meshedIn(meshed map[string]string, r *adminv1.StatRow) string {
	name := r.GetLabels()[f.label()]
	if f.by != "" {
		return meshed[name+versionMark+r.GetLabels()[f.by]]
	}
	return meshed[name]
}

func sortRows(rows []*adminv1.StatRow, by []string) {
	key := func(r *adminv1.StatRow) string {
		var k []string
		for _, label := range by {
			k = append(k, r.GetLabels()[label])
		}
		return strings.Join(k, "\x00")
	}
	slices.SortStableFunc(rows, func(x, y *adminv1.StatRow) int { return strings.Compare(key(x), key(y)) })
}

// measures are the columns from SUCCESS on. A row without requests has dashes for what they would tell.
func measures(r *adminv1.StatRow) []string {
	p50, p95, p99, ok := latency(r.GetP50Seconds()), latency(r.GetP95Seconds()), latency(r.GetP99Seconds()), percent(r.GetSuccessRate())
	if silent(r) {
		p50, p95, p99, ok = "-", "-", "-", "-"
	}
	rps := perSecond(r.GetRequestsPerSecond())
	if silent(r) {
		rps = "-"
	}
	return []string{
		ok, rps, p50, p95, p99, fmt.Sprint(r.GetOpenConnections()),
		bytesPerSecond(r.GetReadBytesPerSecond()), bytesPerSecond(r.GetWriteBytesPerSecond()),
	}
}

func silent(r *adminv1.StatRow) bool {
	return r.GetRequests() == 0 && r.GetRequestsPerSecond() == 0
}

func orUnknown(name string) string {
	if name == "" {
		return "(unknown)"
	}
	return name
}

func statLines(rows []*adminv1.StatRow, meshed map[string]string, f *statFlags) []statLine {
	lines := make([]statLine, 0, len(rows))
	for _, r := range rows {
		name := r.GetLabels()[f.label()]
		ns, short, _ := strings.Cut(name, "/")
		l := statLine{
			Namespace: ns, Name: short, Version: r.GetLabels()["version"], Meshed: f.meshedIn(meshed, r),
			RPS: r.GetRequestsPerSecond(), Connections: r.GetOpenConnections(),
			ReadBytes: r.GetReadBytesPerSecond(), WriteBytes: r.GetWriteBytesPerSecond(),
		}
		if !silent(r) {
			l.Success = known(r.GetSuccessRate(), 1)
			l.P50, l.P95, l.P99 = known(r.GetP50Seconds(), 1000), known(r.GetP95Seconds(), 1000), known(r.GetP99Seconds(), 1000)
		}
		lines = append(lines, l)
	}
	return lines
}

// known returns v in another unit, or nil for no data.
func known(v, unit float64) *float64 {
	if math.IsNaN(v) {
		return nil
	}
	v *= unit
	return &v
}
