package telemetry

import (
	"maps"

	"github.com/prometheus/client_golang/prometheus"
)

// Datagrams counts for one event loop what became of a listener's datagrams. It belongs to the loop.
type Datagrams struct {
	Sent     uint64            // towards destinations
	Received uint64            // from them, for clients
	Evicted  uint64            // sessions that were ended to make room for others
	Dropped  map[string]uint64 // by reason: see docs/reference/failures.md
}

// Drop counts a datagram that was not passed on.
func (d *Datagrams) Drop(reason string) { d.DropN(reason, 1) }

// DropN counts n of them.
func (d *Datagrams) DropN(reason string, n uint64) {
	if d.Dropped == nil {
		d.Dropped = map[string]uint64{}
	}
	d.Dropped[reason] += n
}

// Clone returns a copy that shares nothing.
func (d *Datagrams) Clone() *Datagrams {
	out := *d
	out.Dropped = maps.Clone(d.Dropped)
	return &out
}

// DatagramExposition is a prometheus.Collector over the counters of all loops:
//
//	weft_datagrams_total{listener,way="sent"|"received"}
//	weft_datagrams_dropped_total{listener,reason}
//	weft_datagram_sessions_evicted_total{listener}
//
// Sessions and bytes are those of the series with protocol="udp": see Exposition.
type DatagramExposition struct {
	gather                  func() []map[string]*Datagrams
	total, dropped, evicted *prometheus.Desc
}

var _ prometheus.Collector = (*DatagramExposition)(nil)

// NewDatagramExposition returns a collector. gather is called for each scrape, possibly concurrently; it returns the
// counters of each loop by the listener's name, which are the collector's own.
func NewDatagramExposition(gather func() []map[string]*Datagrams) *DatagramExposition {
	desc := func(name, help string, more ...string) *prometheus.Desc {
		return prometheus.NewDesc(name, help, append([]string{"listener"}, more...), nil)
	}
	return &DatagramExposition{
		gather:  gather,
		total:   desc("weft_datagrams_total", "Datagrams passed on towards (sent) and from (received) destinations.", "way"),
		dropped: desc("weft_datagrams_dropped_total", "Datagrams that were not passed on.", "reason"),
		evicted: desc("weft_datagram_sessions_evicted_total", "Sessions that were ended to make room for others."),
	}
}

// Describe implements prometheus.Collector.
func (e *DatagramExposition) Describe(ch chan<- *prometheus.Desc) {
	ch <- e.total
	ch <- e.dropped
	ch <- e.evicted
}

// Collect implements prometheus.Collector.
func (e *DatagramExposition) Collect(ch chan<- prometheus.Metric) {
	sums := map[string]*Datagrams{}
	for _, loop := range e.gather() {
		for listener, d := range loop {
			sum := sums[listener]
			if sum == nil {
				sum = &Datagrams{}
				sums[listener] = sum
			}
			sum.Sent += d.Sent
			sum.Received += d.Received
			sum.Evicted += d.Evicted
			for reason, n := range d.Dropped {
				sum.DropN(reason, n)
			}
		}
	}
	for listener, d := range sums {
		counter := func(desc *prometheus.Desc, n uint64, labels ...string) {
			ch <- prometheus.MustNewConstMetric(desc, prometheus.CounterValue, float64(n), append([]string{listener}, labels...)...)
		}
		counter(e.total, d.Sent, "sent")
		counter(e.total, d.Received, "received")
		counter(e.evicted, d.Evicted)
		for reason, n := range d.Dropped {
			counter(e.dropped, n, reason)
		}
	}
}
