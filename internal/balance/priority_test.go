package balance

import (
	"math"
	"testing"
)

// TestSpill has the tables of Envoy's documentation ("Priority levels", "Panic threshold"), which round to percents.
func TestSpill(t *testing.T) {
	for _, c := range []struct {
		healthy []int // of 100
		load    []float64
		panics  string // of each level
		health  float64
	}{
		{[]int{100, 100}, []float64{100, 0}, "..", 100},
		{[]int{72, 72}, []float64{100, 0}, "..", 100},
		{[]int{71, 71}, []float64{99, 1}, "..", 100},
		{[]int{50, 50}, []float64{70, 30}, "..", 100},
		{[]int{25, 100}, []float64{35, 65}, "..", 100},
		{[]int{0, 100}, []float64{0, 100}, "..", 100},
		{[]int{25, 25}, []float64{50, 50}, "!!", 70},
		{[]int{5, 65}, []float64{7, 93}, "!.", 98},
		{[]int{71, 71, 100}, []float64{99, 1, 0}, "...", 100},
		{[]int{50, 50, 100}, []float64{70, 30, 0}, "...", 100},
		{[]int{25, 100, 100}, []float64{35, 65, 0}, "...", 100},
		{[]int{25, 25, 100}, []float64{35, 35, 30}, "...", 100},
		{[]int{25, 25, 20}, []float64{36, 36, 28}, "!!!", 98},
		{[]int{0, 0}, []float64{100, 0}, "!!", 0},
		{[]int{100}, []float64{100}, ".", 100},
		{[]int{40}, []float64{100}, "!", 56},
		{[]int{60}, []float64{100}, ".", 84},
	} {
		levels := make([]Level, len(c.healthy))
		for i, h := range c.healthy {
			levels[i] = Level{Healthy: h, Total: 100}
		}
		health := Spill(levels, 0, 0.5)
		if math.Abs(100*health-c.health) > 1 {
			t.Errorf("%v: health %.1f%%, want %v%%", c.healthy, 100*health, c.health)
		}
		sum := 0.0
		for i, l := range levels {
			sum += l.Load
			if math.Abs(100*l.Load-c.load[i]) > 1 || l.Panic != (c.panics[i] == '!') {
				t.Errorf("%v: level %d has %.1f%%, panic %v; want %v%% and %c", c.healthy, i, 100*l.Load, l.Panic, c.load[i], c.panics[i])
			}
		}
		if math.Abs(sum-1) > 1e-9 {
			t.Errorf("%v: the loads add up to %v", c.healthy, sum)
		}
	}
}

func TestSpillEdges(t *testing.T) {
	levels := []Level{{}, {Healthy: 0, Total: 3}, {Healthy: 0, Total: 1}}
	if Spill(levels, 0, 0); levels[1].Load != 1 || levels[1].Panic {
		t.Errorf("nobody is healthy, without a threshold: %+v", levels)
	}
	levels = []Level{{Healthy: 1, Total: 2}, {Healthy: 2, Total: 2}}
	if Spill(levels, 2, 0); levels[0].Load != 1 {
		t.Errorf("capacity 2, half healthy: %+v", levels)
	}
	if Spill(levels, 1, 0); levels[0].Load != 0.5 || levels[1].Load != 0.5 {
		t.Errorf("capacity 1, half healthy: %+v", levels)
	}
	Spill(nil, 0, 0)
	if n := testing.AllocsPerRun(10, func() { Spill(levels, 0, 0.5) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func TestDistributeLoads(t *testing.T) {
	for _, c := range []struct {
		name      string
		levels    []Level
		shares    []float64
		threshold float64
		want      []float64
		panic     bool
	}{
		{"all healthy", []Level{{Healthy: 4, Total: 4}, {Healthy: 2, Total: 2}}, []float64{0.8, 0.2}, 0, []float64{0.8, 0.2}, false},
		{"three of four are enough", []Level{{Healthy: 3, Total: 4}, {Healthy: 2, Total: 2}}, []float64{0.8, 0.2}, 0, []float64{0.8, 0.2}, false},
		{"half are worth 70%", []Level{{Healthy: 2, Total: 4}, {Healthy: 2, Total: 2}}, []float64{0.8, 0.2}, 0, []float64{0.56 / 0.76, 0.2 / 0.76}, false},
		{"one is gone", []Level{{Total: 4}, {Healthy: 2, Total: 2}}, []float64{0.8, 0.2}, 0, []float64{0, 1}, false},
		{"one has none", []Level{{}, {Healthy: 2, Total: 2}}, []float64{0.8, 0.2}, 0, []float64{0, 1}, false},
		{"all are gone", []Level{{Total: 4}, {Total: 2}}, []float64{0.8, 0.2}, 0, []float64{0.8, 0.2}, false},
		{"panic", []Level{{Total: 4}, {Healthy: 2, Total: 2}}, []float64{0.8, 0.2}, 0.5, []float64{0.8, 0.2}, true},
		{"nobody at all", []Level{{}, {}}, []float64{0.8, 0.2}, 0.5, []float64{0, 0}, false},
	} {
		Distribute(c.levels, c.shares, 0, c.threshold)
		for i, l := range c.levels {
			if math.Abs(l.Load-c.want[i]) > 1e-9 || l.Panic != c.panic {
				t.Errorf("%s: level %d: %+v, want %v", c.name, i, l, c.want[i])
			}
		}
	}
}
