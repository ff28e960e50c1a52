package telemetry

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// labels of every metric, in the order of labelValues.
func labelNames() []string {
	return []string{
		"direction", "source", "source_id", "destination", "destination_id", "service", "route", "protocol", "tls", "version",
	}
}

func (k *Key) labelValues(more ...string) []string {
	return append([]string{
		k.Direction, k.Source, k.SourceID, k.Destination, k.DestinationID, k.Service, k.Route, k.Protocol, k.TLS, k.Version,
	}, more...)
}

// Exposition is a prometheus.Collector over the series of all loops:
//
//	weft_requests_total{...,outcome="success"|"failure"}
//	weft_request_duration_seconds{...}         histogram, until the last byte
//	weft_connections_open{...}
//	weft_bytes_total{...,way="sent"|"received"}
type Exposition struct {
	gather                              func() []*discoveryv1.Series
	requests, duration, open, transfers *prometheus.Desc
}

var _ prometheus.Collector = (*Exposition)(nil)

// NewExposition returns a collector. gather is called for each scrape, possibly concurrently; it returns
// Recorder.All of every loop. Equal series of several loops are added up.
func NewExposition(gather func() []*discoveryv1.Series) *Exposition {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append(labelNames(), more...), nil)
	}
	return &Exposition{
		gather:    gather,
		requests:  desc("weft_requests_total", "Requests, TCP connections and sessions of datagrams that ended.", "outcome"),
		duration:  desc("weft_request_duration_seconds", "Time until the last byte."),
		open:      desc("weft_connections_open", "Connections and sessions of datagrams open towards the destination."),
		transfers: desc("weft_bytes_total", "Bytes of content towards (sent) and from (received) the destination.", "way"),
	}
}

// NewRegistry returns a registry with the exposition and the process's own metrics (CPU time, resident
// memory, descriptors, start).
func NewRegistry(e *Exposition) (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	process := collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})
	return r, errors.Join(r.Register(e), r.Register(process))
}

// Describe implements prometheus.Collector.
func (e *Exposition) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range []*prometheus.Desc{e.requests, e.duration, e.open, e.transfers} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (e *Exposition) Collect(ch chan<- prometheus.Metric) {
	sums := map[Key]*Series{}
	for _, p := range e.gather() {
		k := KeyOf(p)
		s := sums[k]
		if s == nil {
			s = &Series{Key: k}
			sums[k] = s
		}
		if err := s.add(p); err != nil {
			ch <- prometheus.NewInvalidMetric(e.duration, err)
		}
	}
	for _, s := range sums {
		e.send(ch, s)
	}
}

func (e *Exposition) send(ch chan<- prometheus.Metric, s *Series) {
	k := &s.Key
	counter := func(d *prometheus.Desc, v uint64, label string) {
		ch <- prometheus.MustNewConstMetric(d, prometheus.CounterValue, float64(v), k.labelValues(label)...)
	}
	counter(e.requests, s.Success, "success")
	counter(e.requests, s.Failure, "failure")
	counter(e.transfers, s.Sent, "sent")
	counter(e.transfers, s.Received, "received")
	ch <- prometheus.MustNewConstHistogram(e.duration, s.Latency.count, s.Latency.sum.Seconds(), s.Latency.classic(), k.labelValues()...)
	ch <- prometheus.MustNewConstMetric(e.open, prometheus.GaugeValue, float64(int64(s.Opened-s.Closed)), k.labelValues()...)
}

// add adds the counts of a series on the wire.
func (s *Series) add(p *discoveryv1.Series) error {
	h, err := HistogramFrom(p.GetLatency())
	if err != nil {
		return err
	}
	s.Latency.Merge(h)
	s.Success += p.GetSuccess()
	s.Failure += p.GetFailure()
	s.Opened += p.GetConnectionsOpened()
	s.Closed += p.GetConnectionsClosed()
	s.Sent += p.GetBytesSent()
	s.Received += p.GetBytesReceived()
	return nil
}

// classic returns cumulative counts for coarse bounds in seconds. A fine bucket that straddles a bound
// counts where its middle lies.
func (h *Histogram) classic() map[float64]uint64 {
	bounds := [...]time.Duration{
		500 * time.Microsecond, time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
		25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 2500 * time.Millisecond, 5 * time.Second, 10 * time.Second, 30 * time.Second,
	}
	out := make(map[float64]uint64, len(bounds))
	seen, i := uint64(0), 0
	for _, bound := range bounds {
		for ; i < NumBuckets; i++ {
			if lo, hi := BucketBounds(i); lo+(hi-lo)/2 > bound {
				break
			}
			seen += h.counts[i]
		}
		out[bound.Seconds()] = seen
	}
	return out
}
