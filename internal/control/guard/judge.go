package guard

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/telemetry"
)

// Defaults of Bounds.
const (
	DefaultSuccessRate = 0.99
	DefaultIncrease    = 0.5
	DefaultMinRequests = 50

	// Alpha bounds the probability to condemn, in all looks together, a figure that has not changed.
	Alpha = 0.01

	// Noise is what the p99 latency may always grow by: that of the machine, and of the buckets it is counted in.
	Noise = 2 * time.Millisecond

	p99Share = 0.01 // of requests that may be slower than the bound
)

// Bounds say what is worse. The zero value of a field is its default.
type Bounds struct {
	SuccessRate float64       // least, 0 to 1
	Increase    float64       // of the p99 latency at most: 0.5 is half as much again
	Latency     time.Duration // p99 at most, in place of Increase; 0: by Increase
	MinRequests uint64        // since the change, for a judgement
	Looks       int           // how often the same change is judged; at least 1
}

func (b Bounds) withDefaults() Bounds {
	if b.SuccessRate == 0 {
		b.SuccessRate = DefaultSuccessRate
	}
	if b.Increase == 0 {
		b.Increase = DefaultIncrease
	}
	if b.MinRequests == 0 {
		b.MinRequests = DefaultMinRequests
	}
	b.Looks = max(b.Looks, 1)
	return b
}

// Figures are what was counted of a service in a window.
type Figures struct {
	Success, Failure uint64
	Latency          telemetry.Histogram
}

// Requests returns how many there were.
func (f *Figures) Requests() uint64 { return f.Success + f.Failure }

// SuccessRate returns a share of 1; 1 without requests.
func (f *Figures) SuccessRate() float64 {
	if f.Requests() == 0 {
		return 1
	}
	return float64(f.Success) / float64(f.Requests())
}

// slower counts requests that took at least d, by whole buckets.
func (f *Figures) slower(d time.Duration) uint64 {
	n, p := uint64(0), f.Latency.Proto()
	for i, b := range p.GetBucket() {
		if lo, _ := telemetry.BucketBounds(int(b)); lo >= d {
			n += p.GetCount()[i]
		}
	}
	return n
}

// Outcome is what a judgement comes to.
type Outcome string

const (
	Good     Outcome = "good"
	Worse    Outcome = "worse"
	Unjudged Outcome = "not enough traffic to judge"
)

// Verdict is a judgement with its reason; Good has none.
type Verdict struct {
	Outcome Outcome
	Reason  string
}

// Judge compares a service's requests since a change with those before it.
func Judge(b Bounds, before, since *Figures) Verdict {
	b = b.withDefaults()
	if n := since.Requests(); n < b.MinRequests {
		return Verdict{Unjudged, fmt.Sprintf("%d of %d requests", n, b.MinRequests)}
	}
	if why := b.success(before, since); why != "" {
		return Verdict{Worse, why}
	}
	if why := b.latency(before, since); why != "" {
		return Verdict{Worse, why}
	}
	return Verdict{Outcome: Good}
}

func (b Bounds) success(before, since *Figures) string {
	was, is := sample{before.Failure, before.Requests()}, sample{since.Failure, since.Requests()}
	if !b.worse(was, is, 1-b.SuccessRate) {
		return ""
	}
	if was.of < b.MinRequests {
		return fmt.Sprintf("success rate %s of %d requests, below %s; there was too little traffic before to compare with",
			percent(since.SuccessRate()), is.of, percent(b.SuccessRate))
	}
	return fmt.Sprintf("success rate %s of %d requests, below %s; before the change it was %s of %d",
		percent(since.SuccessRate()), is.of, percent(b.SuccessRate), percent(before.SuccessRate()), was.of)
}

func (b Bounds) latency(before, since *Figures) string {
	was, is := before.Latency.Count(), since.Latency.Count()
	if is < b.MinRequests || b.Latency == 0 && was < b.MinRequests {
		return ""
	}
	old, bound := before.Latency.Quantile(0.99), b.Latency
	if bound == 0 {
		bound = old + max(Noise, time.Duration(float64(old)*b.Increase))
	}
	if !b.worse(sample{before.slower(bound), was}, sample{since.slower(bound), is}, p99Share) {
		return ""
	}
	return fmt.Sprintf("p99 latency %s of %d requests, above %s; before the change it was %s of %d",
		round(since.Latency.Quantile(0.99)), is, round(bound), round(old), was)
}

// sample is bad requests of all.
type sample struct{ bad, of uint64 }

// worse reports whether a share of bad requests is above what is allowed, and higher than it was.
func (b Bounds) worse(before, since sample, allowed float64) bool {
	if float64(since.bad) <= allowed*float64(since.of) {
		return false
	}
	alpha := Alpha / float64(b.Looks)
	if before.of < b.MinRequests {
		return binomialTail(since.bad, since.of, allowed) <= alpha
	}
	return fisherTail(before, since) <= alpha
}

func percent(share float64) string { return fmt.Sprintf("%.2f%%", share*100) }

func round(d time.Duration) string {
	switch {
	case d >= time.Second:
		return d.Round(10 * time.Millisecond).String()
	case d >= 10*time.Millisecond:
		return d.Round(time.Millisecond).String()
	}
	return d.Round(10 * time.Microsecond).String()
}
