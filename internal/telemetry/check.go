package telemetry

import "github.com/prometheus/client_golang/prometheus"

// CheckKey tells the counters of questions apart that are asked before requests go on.
type CheckKey struct {
	Service string // NAMESPACE/NAME that was asked
	Name    string // of the rate limit, or the rule as model.RuleRef.String
	Kind    string // "ratelimit" or "auth"
	Result  string // "allowed", "denied", "unanswered", "unasked"
}

// maxCheckKeys bounds the counters of one loop; more are counted without Service and Name.
const maxCheckKeys = 1000

// Checks counts for one event loop how questions about requests were answered. It belongs to the loop.
type Checks map[CheckKey]uint64

// Count adds one. The strings of k are kept.
func (c Checks) Count(k CheckKey) {
	if _, ok := c[k]; !ok && len(c) >= maxCheckKeys {
		k = CheckKey{Kind: k.Kind, Result: k.Result}
	}
	c[k]++
}

// CheckExposition is a prometheus.Collector over the counters of all loops:
//
//	weft_request_checks_total{service,name,kind,result}
type CheckExposition struct {
	gather func() []Checks
	desc   *prometheus.Desc
}

var _ prometheus.Collector = (*CheckExposition)(nil)

// NewCheckExposition returns a collector. gather is called for each scrape, possibly concurrently; what it returns is the
// collector's own.
func NewCheckExposition(gather func() []Checks) *CheckExposition {
	return &CheckExposition{gather: gather, desc: prometheus.NewDesc("weft_request_checks_total",
		"Questions to services about requests, before these go on.", []string{"service", "name", "kind", "result"}, nil)}
}

// Describe implements prometheus.Collector.
func (e *CheckExposition) Describe(ch chan<- *prometheus.Desc) { ch <- e.desc }

// Collect implements prometheus.Collector.
func (e *CheckExposition) Collect(ch chan<- prometheus.Metric) {
	sums := Checks{}
	for _, c := range e.gather() {
		for k, n := range c {
			sums[k] += n
		}
	}
	for k, n := range sums {
		ch <- prometheus.MustNewConstMetric(e.desc, prometheus.CounterValue, float64(n), k.Service, k.Name, k.Kind, k.Result)
	}
}
