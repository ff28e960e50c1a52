package telemetry

import (
	crand "crypto/rand"
	"io"
	"math/rand/v2"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// DefaultMaxSeries bounds the series of a recorder unless Options say otherwise.
const DefaultMaxSeries = 2000

// Options make a Recorder. The zero value counts and does nothing else.
type Options struct {
	Node string // workload ID of the proxy, for the access log and tap filters

	// AccessLog gets whole lines, one Write per Flush. Recorders may share it, if its Write may be called
	// concurrently and writes all at once, as that of os.File. nil means no access log.
	AccessLog io.Writer

	MaxSeries int // 0 means DefaultMaxSeries

	// Tap gets the events of matching taps, on the loop's goroutine: it must not block. It owns the event.
	Tap func(*discoveryv1.TapEvent)
}

// Recorder is one event loop's telemetry.
type Recorder struct {
	o        Options
	series   map[Key]*Series
	overflow *Series
	dirty    []*Series
	taps     []tap
	line     []byte // access log not yet written
	random   *rand.ChaCha8
	stats    Stats
}

// Stats counts what the recorder could not do.
type Stats struct {
	DoubleCloses  uint64 // bugs in the engine: records closed again
	Overflows     uint64 // keys that got the overflow series
	LogErrors     uint64 // failed writes of the access log; their lines are lost
	TapSuppressed uint64 // events over a tap's max_rps
}

// NewRecorder returns a recorder for one event loop.
func NewRecorder(o Options) *Recorder {
	if o.MaxSeries <= 0 {
		o.MaxSeries = DefaultMaxSeries
	}
	var seed [32]byte
	// Never fails: crypto/rand ends the program rather than return an error.
	_, _ = crand.Read(seed[:])
	return &Recorder{o: o, series: map[Key]*Series{}, overflow: &Series{}, random: rand.NewChaCha8(seed)}
}

// Series returns the series with these labels; it is made when it does not exist. The caller keeps the
// pointer rather than ask again for each request. The strings of k are kept: they must not be borrowed.
func (r *Recorder) Series(k Key) *Series {
	if s := r.series[k]; s != nil {
		return s
	}
	if len(r.series) >= r.o.MaxSeries {
		r.stats.Overflows++
		return r.overflow
	}
	s := &Series{Key: k.valid()}
	r.series[k] = s
	return s
}

// Close counts, logs and taps the record. now ends its duration. Closing it again before Reset does nothing
// but count the bug.
func (r *Recorder) Close(rec *Record, now time.Time) {
	if rec.closed {
		r.stats.DoubleCloses++
		return
	}
	rec.closed = true
	if s := rec.Series; s != nil {
		if rec.Failed() {
			s.Failure++
		} else {
			s.Success++
		}
		s.Latency.Observe(now.Sub(rec.Start))
		if rec.protocol() != "udp" {
			s.Sent += rec.RequestBytes
			s.Received += rec.ResponseBytes
		}
		r.touch(s)
	}
	if r.o.AccessLog != nil {
		r.log(rec, now)
	}
	if len(r.taps) > 0 {
		r.tap(rec, now)
	}
}

// ConnectionOpened counts a connection towards the destination.
func (r *Recorder) ConnectionOpened(s *Series) {
	s.Opened++
	r.touch(s)
}

// ConnectionClosed counts the end of one.
func (r *Recorder) ConnectionClosed(s *Series) {
	s.Closed++
	r.touch(s)
}

// Carried counts bytes that have passed, of what is not counted by Close.
func (r *Recorder) Carried(s *Series, sent, received int) {
	s.Sent += uint64(sent)
	s.Received += uint64(received)
	r.touch(s)
}

func (r *Recorder) touch(s *Series) {
	if !s.dirty {
		s.dirty = true
		r.dirty = append(r.dirty, s)
	}
}

// Changed appends to dst the series that changed since the last call, with their values since the start.
// The results share nothing with the recorder.
func (r *Recorder) Changed(dst []*discoveryv1.Series) []*discoveryv1.Series {
	for _, s := range r.dirty {
		s.dirty = false
		dst = append(dst, s.Proto())
	}
	clear(r.dirty)
	r.dirty = r.dirty[:0]
	return dst
}

// All appends every series to dst and leaves Changed alone, for /metrics.
func (r *Recorder) All(dst []*discoveryv1.Series) []*discoveryv1.Series {
	for _, s := range r.series {
		dst = append(dst, s.Proto())
	}
	if r.stats.Overflows > 0 {
		dst = append(dst, r.overflow.Proto())
	}
	return dst
}

// Stats returns what the recorder could not do.
func (r *Recorder) Stats() Stats { return r.stats }
