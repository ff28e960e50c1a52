package telemetry

import "github.com/prometheus/client_golang/prometheus"

// MirrorKey tells the counters of compared mirrors apart.
type MirrorKey struct {
	Service string // NAMESPACE/NAME that was asked for
	Mirror  string // NAMESPACE/NAME that got the copy
	Route   string // rule, as model.RuleRef.String
	Result  string // "same", "status", "header", "body", "unanswered"
}

// maxMirrorKeys bounds the counters of one loop; more are counted under an empty key.
const maxMirrorKeys = 1000

// Mirrors counts for one event loop how the answers of mirrors compare. It belongs to the loop.
type Mirrors map[MirrorKey]uint64

// Count adds one. The strings of k are kept.
func (m Mirrors) Count(k MirrorKey) {
	if _, ok := m[k]; !ok && len(m) >= maxMirrorKeys {
		k = MirrorKey{Result: k.Result}
	}
	m[k]++
}

// MirrorExposition is a prometheus.Collector over the counters of all loops:
//
//	weft_mirror_answers_total{service,mirror,route,result}
type MirrorExposition struct {
	gather func() []Mirrors
	desc   *prometheus.Desc
}

var _ prometheus.Collector = (*MirrorExposition)(nil)

// NewMirrorExposition returns a collector. gather is called for each scrape, possibly concurrently; what it returns is the
// collector's own.
func NewMirrorExposition(gather func() []Mirrors) *MirrorExposition {
	return &MirrorExposition{gather: gather, desc: prometheus.NewDesc("weft_mirror_answers_total",
		"Answers of mirrors, compared with those of the backends.", []string{"service", "mirror", "route", "result"}, nil)}
}

// Describe implements prometheus.Collector.
func (e *MirrorExposition) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

// Collect implements prometheus.Collector.
func (e *MirrorExposition) Collect(ch chan<- prometheus.Metric) {
	sums := Mirrors{}
	for _, m := range e.gather() {
		for k, n := range m {
			sums[k] += n
		}
	}
	for k, n := range sums {
		ch <- prometheus.MustNewConstMetric(e.desc, prometheus.CounterValue, float64(n), k.Service, k.Mirror, k.Route, k.Result)
	}
}

// ShownValue is a header's value as logs may have it: cut, and not at all where the field may carry a credential. name
// is in lower case.
func ShownValue(name, value string) string {
	const most = 128
	switch {
	case sensitiveField(name):
		return redacted
	case len(value) > most:
		return valid(value[:most]) + "..."
	}
	return valid(value)
}

// ShownPath is a path as logs may have it: without the values of sensitive query parameters.
func ShownPath(p string) string { return valid(redactPath(p)) }
