package agent

import (
	"net/http"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// series returns what to report: the series that changed, or all of them, summed over the event loops.
func (r *reporter) series(all bool) []*discoveryv1.Series {
	loops := r.a.engine.Loops()
	if loops == 1 {
		return r.a.engine.Series(0, all)
	}
	changed := map[telemetry.Key]struct{}{}
	for loop := range loops {
		for _, s := range r.a.engine.Series(loop, all) {
			key := telemetry.KeyOf(s)
			if r.known[key] == nil {
				r.known[key] = make([]*discoveryv1.Series, loops)
			}
			r.known[key][loop] = s
			changed[key] = struct{}{}
		}
	}
	out := make([]*discoveryv1.Series, 0, len(changed))
	for key := range changed {
		out = append(out, sum(r.known[key]))
	}
	return out
}

// sum adds up one series as several loops counted it.
func sum(parts []*discoveryv1.Series) *discoveryv1.Series {
	var total *discoveryv1.Series
	var latency telemetry.Histogram
	for _, s := range parts {
		if s == nil {
			continue
		}
		if h, err := telemetry.HistogramFrom(s.Latency); err == nil { // our own loops write nothing else
			latency.Merge(h)
		}
		if total == nil {
			total = &discoveryv1.Series{
				Direction: s.Direction, Source: s.Source, SourceId: s.SourceId, Destination: s.Destination,
				DestinationId: s.DestinationId, Service: s.Service, Route: s.Route, Protocol: s.Protocol, Tls: s.Tls,
				Version: s.Version,
			}
		}
		total.Success += s.Success
		total.Failure += s.Failure
		total.ConnectionsOpened += s.ConnectionsOpened
		total.ConnectionsClosed += s.ConnectionsClosed
		total.BytesSent += s.BytesSent
		total.BytesReceived += s.BytesReceived
	}
	total.Latency = latency.Proto()
	return total
}

// exposition serves /metrics.
func (r *reporter) exposition() http.Handler {
	registry, err := telemetry.NewRegistry(telemetry.NewExposition(func() []*discoveryv1.Series {
		var all []*discoveryv1.Series
		for loop := range r.a.engine.Loops() {
			all = append(all, r.a.engine.Series(loop, true)...)
		}
		return all
	}))
	if err == nil {
		err = registry.Register(telemetry.NewMirrorExposition(r.a.engine.Mirrors))
	}
	if err == nil {
		err = registry.Register(telemetry.NewCheckExposition(r.a.engine.Checks))
	}
	if err == nil {
		err = registry.Register(telemetry.NewDatagramExposition(r.a.engine.Datagrams))
	}
	if err != nil {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		})
	}
	return promhttp.HandlerFor(registry, promhttp.HandlerOpts{})
}
