package control

import (
	"context"
	"errors"
	"sort"
	"strings"
	"time"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	"github.com/weft-mesh/weft/internal/control/metrics"
	"github.com/weft-mesh/weft/internal/telemetry"
)

var errTooManyTaps = errors.New("32 taps are live already; end one")

// Stat answers with the sums of a window over the proxies of all control planes.
func (a *admin) Stat(ctx context.Context, req *connect.Request[adminv1.StatRequest]) (*connect.Response[adminv1.StatResponse], error) {
	q := metrics.Query{
		Window: req.Msg.GetWindow().AsDuration(), GroupBy: req.Msg.GetGroupBy(), Match: req.Msg.GetMatch(), Namespace: req.Msg.GetNamespace(),
	}
	if err := q.Validate(); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	rows, err := a.s.metrics.Stat(q, time.Now())
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	resp := &adminv1.StatResponse{}
	for _, r := range rows {
		resp.Rows = append(resp.Rows, rowProto(r))
	}
	for _, other := range fanOut(ctx, a.s, func(ctx context.Context, c adminv1connect.AdminServiceClient) (*adminv1.StatResponse, error) {
		resp, err := c.Stat(ctx, connect.NewRequest(req.Msg))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}) {
		resp.Rows = mergeRows(resp.Rows, other.GetRows(), q)
	}
	return connect.NewResponse(resp), nil
}

func rowProto(r *metrics.Row) *adminv1.StatRow {
	seconds := r.Window.Seconds()
	return &adminv1.StatRow{
		Labels:             r.Labels,
		RequestsPerSecond:  float64(r.Requests()) / seconds,
		SuccessRate:        r.SuccessRate(),
		P50Seconds:         r.Latency.Quantile(0.50).Seconds(),
		P95Seconds:         r.Latency.Quantile(0.95).Seconds(),
		P99Seconds:         r.Latency.Quantile(0.99).Seconds(),
		BestSeconds:        r.Latency.Quantile(0).Seconds(),
		WorstSeconds:       r.Latency.Max().Seconds(),
		Requests:           r.Requests(),
		OpenConnections:    r.Open,
		ReadBytesPerSecond: float64(r.Received) / seconds, WriteBytesPerSecond: float64(r.Sent) / seconds,
		Latency: r.Latency.Proto(),
	}
}

// mergeRows adds another control plane's rows to ours.
func mergeRows(rows, more []*adminv1.StatRow, q metrics.Query) []*adminv1.StatRow {
	key := func(r *adminv1.StatRow) string {
		var parts []string
		for _, l := range q.GroupBy {
			parts = append(parts, r.GetLabels()[l])
		}
		return strings.Join(parts, "\x00")
	}
	at := map[string]int{}
	for i, r := range rows {
		at[key(r)] = i
	}
	for _, r := range more {
		if i, ok := at[key(r)]; ok {
			rows[i] = rowProto(sumRow(rowOf(rows[i], q), rowOf(r, q)))
		} else {
			rows = append(rows, r)
		}
	}
	sort.SliceStable(rows, func(i, j int) bool { return key(rows[i]) < key(rows[j]) })
	return rows
}

// rowOf is the inverse of rowProto.
func rowOf(p *adminv1.StatRow, q metrics.Query) *metrics.Row {
	r := &metrics.Row{Labels: p.GetLabels(), Window: q.Window, Open: p.GetOpenConnections()}
	if p.GetRequests() > 0 {
		r.Success = uint64(p.GetSuccessRate()*float64(p.GetRequests()) + 0.5)
	}
	r.Failure = p.GetRequests() - r.Success
	r.Received = uint64(p.GetReadBytesPerSecond() * q.Window.Seconds())
	r.Sent = uint64(p.GetWriteBytesPerSecond() * q.Window.Seconds())
	if h, err := telemetry.HistogramFrom(p.GetLatency()); err == nil {
		r.Latency = *h
	}
	return r
}

func sumRow(a, b *metrics.Row) *metrics.Row {
	a.Success += b.Success
	a.Failure += b.Failure
	a.Open += b.Open
	a.Sent += b.Sent
	a.Received += b.Received
	a.Latency.Merge(&b.Latency)
	return a
}
