package telemetry

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

func TestBucketsCoverWithoutGaps(t *testing.T) {
	end := time.Duration(0)
	for i := range NumBuckets {
		lo, hi := BucketBounds(i)
		if lo != end || hi <= lo {
			t.Fatalf("bucket %d is %v..%v after %v", i, lo, hi, end)
		}
		if bucketOf(lo) != i || bucketOf(hi-1) != i {
			t.Fatalf("bucket %d (%v..%v) holds neither end", i, lo, hi)
		}
		end = hi
	}
	if end < time.Minute {
		t.Fatalf("ends at %v", end)
	}
}

func TestQuantileError(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		values := rapid.SliceOfN(rapid.Int64Range(int64(10*time.Microsecond), int64(time.Minute)), 1, 300).Draw(t, "values")
		var h Histogram
		for _, v := range values {
			h.Observe(time.Duration(v))
		}
		slices.Sort(values)
		q := rapid.Float64Range(0, 1).Draw(t, "q")
		want := float64(values[int(q*float64(len(values)-1))])
		if got := float64(h.Quantile(q)); math.Abs(got-want) > want/10 {
			t.Fatalf("quantile %v: %v, want %v within 10%%", q, time.Duration(got), time.Duration(want))
		}
	})
}

func TestHistogramWireMergeSub(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		draw := func(name string) *Histogram {
			h := &Histogram{}
			for _, v := range rapid.SliceOfN(rapid.Int64Range(-1, int64(2*time.Minute)), 0, 50).Draw(t, name) {
				h.Observe(time.Duration(v))
			}
			return h
		}
		a, b := draw("a"), draw("b")
		back, err := HistogramFrom(a.Proto())
		if err != nil || back.counts != a.counts || back.count != a.count || (back.sum-a.sum).Abs() > time.Microsecond {
			t.Fatalf("wire: %v", err)
		}
		sum := *a
		sum.Merge(b)
		if sum.count != a.count+b.count || sum.max != max(a.max, b.max) {
			t.Fatal("merge")
		}
		sum.Sub(b)
		if sum.counts != a.counts || sum.count != a.count || sum.sum != a.sum || sum.max < a.max {
			t.Fatalf("sub: %v %v", sum.max, a.max)
		}
	})
}

func TestSubAfterRestart(t *testing.T) {
	var before, after Histogram
	before.Observe(time.Second)
	after.Observe(time.Millisecond)
	after.Sub(&before)
	if after.Count() != 1 {
		t.Fatal("took away what was never counted")
	}
}

func TestHistogramFromRefuses(t *testing.T) {
	bad := []*discoveryv1.Histogram{
		{Bucket: []uint32{1}},
		{Bucket: []uint32{NumBuckets}, Count: []uint64{1}},
		{Bucket: []uint32{2, 1}, Count: []uint64{1, 1}},
		{Bucket: []uint32{1, 2}, Count: []uint64{math.MaxUint64, 1}},
		{SumSeconds: math.NaN()},
		{SumSeconds: -1},
		{MaxSeconds: math.Inf(1)},
	}
	for _, p := range bad {
		if _, err := HistogramFrom(p); err == nil {
			t.Errorf("accepted %v", p)
		}
	}
	if h, err := HistogramFrom(nil); err != nil || h.Count() != 0 {
		t.Error("nil is empty")
	}
}

func BenchmarkObserve(b *testing.B) {
	b.ReportAllocs()
	var h Histogram
	for b.Loop() {
		h.Observe(1234 * time.Microsecond)
	}
}
