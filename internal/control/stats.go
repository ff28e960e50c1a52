package control

import (
	"log"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// stats are the control plane's own metrics, and what each proxy last said of itself.
type stats struct {
	registry *prometheus.Registry
	compiles prometheus.Histogram
	acks     prometheus.Histogram
	nacks    prometheus.Counter
	revision prometheus.Gauge
	quotas   quotaStats

	mu      sync.Mutex
	proxies map[string]*proxyStats
}

func newStats(s *Server) *stats {
	st := &stats{
		registry: prometheus.NewRegistry(),
		compiles: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weft_control_compile_seconds", Help: "Duration of compiling the mesh.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}),
		acks: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "weft_control_push_seconds", Help: "From a configuration being made for a proxy to its answer.",
			Buckets: prometheus.ExponentialBuckets(0.0005, 4, 8),
		}),
		nacks:    prometheus.NewCounter(prometheus.CounterOpts{Name: "weft_control_refusals_total", Help: "Configurations that a proxy refused."}),
		revision: prometheus.NewGauge(prometheus.GaugeOpts{Name: "weft_control_revision", Help: "Revision of the compiled mesh."}),
		proxies:  map[string]*proxyStats{},
	}
	asks := prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "weft_control_quota_asks_total", Help: "Questions of proxies about rate limits for all of them, by what became of them here.",
	}, []string{"result"})
	st.quotas = quotaStats{
		granted: asks.WithLabelValues("granted"), forwarded: asks.WithLabelValues("forwarded"), refused: asks.WithLabelValues("refused"),
	}
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	st.registry.MustRegister(
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
		st.compiles, st.acks, st.nacks, st.revision, asks,
		gauge("weft_control_proxies", "Proxies connected to this control plane.", func() float64 { return float64(len(s.xds.Proxies())) }),
		gauge("weft_control_pushes", "Configurations sent since the start.", func() float64 { return float64(s.xds.Pushes()) }),
		gauge("weft_control_series", "Series held for stat.", func() float64 { held, _ := s.metrics.Stats(); return float64(held) }),
		gauge("weft_control_series_dropped", "Reports of series beyond the bound.", func() float64 { _, dropped := s.metrics.Stats(); return float64(dropped) }),
	)
	return st
}

// answered is told of each answer of a proxy.
func (s *stats) answered(latency time.Duration, refused bool) {
	s.acks.Observe(latency.Seconds())
	if refused {
		s.nacks.Inc()
	}
}

// maxProxyStats bounds what is remembered of proxies that come and go.
const maxProxyStats = 20_000

// proxy notes what a proxy said of itself.
func (s *stats) proxy(id string, p *proxyStats) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.proxies) >= maxProxyStats {
		clear(s.proxies)
	}
	s.proxies[id] = p
}

func (s *stats) lastOf(id string) *proxyStats {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.proxies[id]
}

func (s *stats) handler() http.Handler {
	return promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{})
}

// errorLog takes what net/http has to say: handshakes that failed, above all.
func errorLog(l *slog.Logger) *log.Logger { return slog.NewLogLogger(l.Handler(), slog.LevelInfo) }
