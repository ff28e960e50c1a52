package telemetry

import (
	"fmt"
	"math/bits"
	"time"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// Buckets are log-linear in microseconds: bucket 0 is below 8 us, then 8 equal ones for each power of two.
// So a bucket is at most 1/8 of its lower bound wide and its middle at most 6.25% off.
const (
	subBuckets = 8
	octaves    = 23 // 8 us to 67 s
	// NumBuckets is the number of buckets of a Histogram. What is longer than 67 s is in the last.
	NumBuckets = 1 + octaves*subBuckets
)

// Histogram counts durations. Quantiles of durations from 8 us to 67 s are within 10% of the true ones.
// The zero value is empty.
type Histogram struct {
	counts [NumBuckets]uint64
	count  uint64
	sum    time.Duration
	max    time.Duration
}

func bucketOf(d time.Duration) int {
	us := uint64(max(d, 0)) / 1000
	if us < subBuckets {
		return 0
	}
	shift := bits.Len64(us) - 4
	return min(1+shift*subBuckets+int(us>>shift)-subBuckets, NumBuckets-1)
}

// BucketBounds returns the durations a bucket covers, the lower one included.
func BucketBounds(i int) (lo, hi time.Duration) {
	if i <= 0 {
		return 0, subBuckets * time.Microsecond
	}
	i = min(i, NumBuckets-1) - 1
	unit := time.Microsecond << (i / subBuckets)
	lo = unit * time.Duration(subBuckets+i%subBuckets)
	return lo, lo + unit
}

// Observe counts one duration; a negative one counts as 0.
func (h *Histogram) Observe(d time.Duration) {
	d = max(d, 0)
	h.counts[bucketOf(d)]++
	h.count++
	h.sum += d
	h.max = max(h.max, d)
}

// Count returns the number of durations.
func (h *Histogram) Count() uint64 { return h.count }

// Sum returns their sum.
func (h *Histogram) Sum() time.Duration { return h.sum }

// Max returns the longest.
func (h *Histogram) Max() time.Duration { return h.max }

// Quantile returns the duration that the share q of all, 0 to 1, does not exceed, or 0 without any.
func (h *Histogram) Quantile(q float64) time.Duration {
	if h.count == 0 {
		return 0
	}
	rank := uint64(min(max(q, 0), 1)*float64(h.count-1)) + 1
	seen := uint64(0)
	for i, c := range h.counts {
		if seen += c; seen < rank {
			continue
		}
		if i == NumBuckets-1 {
			return h.max
		}
		lo, hi := BucketBounds(i)
		return min(lo+(hi-lo)/2, max(h.max, lo))
	}
	return h.max
}

// Merge adds what o counted.
func (h *Histogram) Merge(o *Histogram) {
	for i, c := range o.counts {
		h.counts[i] += c
	}
	h.count += o.count
	h.sum += o.sum
	h.max = max(h.max, o.max)
}

// Sub takes away what was counted at an earlier time of the same histogram, to leave a window. If earlier
// is not a part of h (its process began anew), h stays as it is. Max becomes the end of the highest bucket
// left, or the old maximum if that is lower.
func (h *Histogram) Sub(earlier *Histogram) {
	for i, c := range earlier.counts {
		if h.counts[i] < c {
			return
		}
	}
	top := -1
	for i, c := range earlier.counts {
		if h.counts[i] -= c; h.counts[i] > 0 {
			top = i
		}
	}
	h.count -= earlier.count
	h.sum = max(0, h.sum-earlier.sum)
	switch {
	case top < 0:
		h.sum, h.max = 0, 0
	case top < NumBuckets-1:
		_, hi := BucketBounds(top)
		h.max = min(h.max, hi)
	}
}

// Proto returns the wire form, which has the buckets that are not empty.
func (h *Histogram) Proto() *discoveryv1.Histogram {
	n := 0
	for _, c := range h.counts {
		if c > 0 {
			n++
		}
	}
	p := &discoveryv1.Histogram{
		Bucket: make([]uint32, 0, n), Count: make([]uint64, 0, n),
		SumSeconds: h.sum.Seconds(), MaxSeconds: h.max.Seconds(),
	}
	for i, c := range h.counts {
		if c > 0 {
			p.Bucket = append(p.Bucket, uint32(i))
			p.Count = append(p.Count, c)
		}
	}
	return p
}

// HistogramFrom reads the wire form; nil is empty. It refuses what Proto would not write.
func HistogramFrom(p *discoveryv1.Histogram) (*Histogram, error) {
	h := &Histogram{}
	if len(p.GetBucket()) != len(p.GetCount()) || len(p.GetBucket()) > NumBuckets {
		return nil, fmt.Errorf("histogram has %d buckets and %d counts", len(p.GetBucket()), len(p.GetCount()))
	}
	for i, b := range p.GetBucket() {
		if b >= NumBuckets || i > 0 && b <= p.Bucket[i-1] {
			return nil, fmt.Errorf("histogram bucket %d is out of range or out of order", b)
		}
		h.counts[b] = p.Count[i]
		if h.count+p.Count[i] < h.count {
			return nil, fmt.Errorf("histogram counts overflow")
		}
		h.count += p.Count[i]
	}
	var err error
	if h.sum, err = seconds(p.GetSumSeconds()); err != nil {
		return nil, err
	}
	h.max, err = seconds(p.GetMaxSeconds())
	return h, err
}

func seconds(s float64) (time.Duration, error) {
	const most = float64(1<<63-1) / float64(time.Second)
	if !(s >= 0 && s < most) {
		return 0, fmt.Errorf("histogram has %v seconds", s)
	}
	return time.Duration(s * float64(time.Second)), nil
}
