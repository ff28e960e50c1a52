package metrics

import (
	"sync"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/telemetry"
)

const (
	// MaxSeries bounds the series of all proxies together.
	MaxSeries = 50_000

	maxNodes = 100_000 // processes remembered; those quiet for long go first

	step    = 2 * time.Second
	keep    = 10 * time.Minute
	samples = int(keep/step) + 1
	forget  = 20 * time.Minute
)

// Store holds the reports of all proxies of one control plane.
type Store struct {
	mu      sync.Mutex
	series  map[seriesKey]*series
	nodes   map[string]time.Time // last report
	dropped uint64               // reports of series beyond the bound
}

// seriesKey is a series of one proxy.
type seriesKey struct {
	node string
	key  telemetry.Key
}

// series is a ring of samples, oldest first from next on.
type series struct {
	ring []sample
	last time.Time
}

type sample struct {
	at time.Time
	totals
}

// totals are counters since some beginning.
type totals struct {
	success, failure, opened, closed, sent, received uint64
	latency                                          telemetry.Histogram
}

// New returns an empty store.
func New() *Store { return &Store{series: map[seriesKey]*series{}, nodes: map[string]time.Time{}} }

// Report takes what a proxy sent. node names its process, which started at a time (zero: not known): one that begins anew, with
// counters at zero, is another node. Of a process that is not known but not new (this control plane is, or the
// proxy came from another one) it is unknown when its requests were: they count in no window.
func (s *Store) Report(node string, started time.Time, reported []*discoveryv1.Series, now time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, known := s.nodes[node]
	resumed := !known && !started.IsZero() && now.Sub(started) > newFor
	if s.nodes[node] = now; len(s.nodes) > maxNodes {
		s.makeRoom(now)
	}
	for _, p := range reported {
		h, err := telemetry.HistogramFrom(p.GetLatency())
		if err != nil {
			return err
		}
		k := seriesKey{node, telemetry.KeyOf(p)}
		ser := s.series[k]
		if ser == nil {
			if len(s.series) >= MaxSeries && !s.makeRoom(now) {
				s.dropped++
				continue
			}
			ser = &series{}
			s.series[k] = ser
		}
		t := totals{
			success: p.GetSuccess(), failure: p.GetFailure(), opened: p.GetConnectionsOpened(), closed: p.GetConnectionsClosed(),
			sent: p.GetBytesSent(), received: p.GetBytesReceived(), latency: *h,
		}
		if resumed {
			ser.ring = append(ser.ring, sample{now.Add(-step), t})
		}
		ser.add(t, now)
	}
	return nil
}

// newFor is how old a process may be when it reports first; it reports every second.
const newFor = 10 * time.Second

// add takes a new total.
func (s *series) add(t totals, now time.Time) {
	s.last = now
	if n := len(s.ring); n > 1 && now.Sub(s.ring[n-1].at) < step {
		s.ring[n-1].totals = t
		return
	}
	if len(s.ring) == 0 {
		// What came before the first report came within its window.
		s.ring = append(s.ring, sample{at: now.Add(-step)})
	}
	if len(s.ring) >= samples {
		s.ring = append(s.ring[:0], s.ring[1:]...)
	}
	s.ring = append(s.ring, sample{now, t})
}

// window returns what was counted within the last w, and how many connections are open now.
func (s *series) window(now time.Time, w time.Duration) (totals, bool) {
	if len(s.ring) == 0 || now.Sub(s.last) > keep {
		return totals{}, false
	}
	from := now.Add(-w)
	old := s.ring[0]
	for _, sm := range s.ring {
		if sm.at.After(from) {
			break
		}
		old = sm
	}
	t := s.ring[len(s.ring)-1].totals
	t.success -= old.success
	t.failure -= old.failure
	t.sent -= old.sent
	t.received -= old.received
	t.latency.Sub(&old.latency)
	return t, true
}

// alive is how long after its last report a proxy counts as there; it reports every second.
const alive = 10 * time.Second

// makeRoom drops series that have been quiet for long, and reports whether there were any.
func (s *Store) makeRoom(now time.Time) bool {
	before := len(s.series)
	for node, last := range s.nodes {
		if now.Sub(last) > forget {
			delete(s.nodes, node)
		}
	}
	for k, ser := range s.series {
		if now.Sub(ser.last) > forget {
			delete(s.series, k)
		}
	}
	return len(s.series) < before
}

// Stats returns the number of series held and of reports dropped.
func (s *Store) Stats() (held int, dropped uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.series), s.dropped
}
