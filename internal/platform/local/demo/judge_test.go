package demo

import (
	"math"
	"strings"
	"testing"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func TestBinomialBoundsHoldTheirProbability(t *testing.T) {
	for _, c := range []struct {
		n int
		p float64
	}{{2000, 0.1}, {2000, 0.9}, {100, 0.5}, {20, 0.01}, {2000, 0.001}} {
		lo, hi := binomialBounds(c.n, c.p, 0.999)
		// Summed by the recurrence of the mass, not by the formula under test.
		mass := math.Pow(1-c.p, float64(c.n))
		var below, above float64
		for k := 0; k <= c.n; k++ {
			if k < lo {
				below += mass
			}
			if k > hi {
				above += mass
			}
			mass *= float64(c.n-k) / float64(k+1) * c.p / (1 - c.p)
		}
		if below > 0.0005+1e-9 || above > 0.0005+1e-9 || lo > hi {
			t.Errorf("n=%d p=%v: [%d, %d] leaves %v below and %v above", c.n, c.p, lo, hi, below, above)
		}
	}
	// Normal approximation for a sanity check of the width: 200 +- 3.29 x 13.4.
	if lo, hi := binomialBounds(2000, 0.1, 0.999); lo < 152 || lo > 160 || hi < 242 || hi > 250 {
		t.Errorf("2000 x 0.1: [%d, %d], want about [157, 245]", lo, hi)
	}
	if lo, hi := binomialBounds(10, 0, 0.999); lo != 0 || hi != 0 {
		t.Errorf("p=0: [%d, %d]", lo, hi)
	}
	if lo, hi := binomialBounds(10, 1, 0.999); lo != 10 || hi != 10 {
		t.Errorf("p=1: [%d, %d]", lo, hi)
	}
}

func TestJudgeSplit(t *testing.T) {
	shares := map[string]int{"v1": 90, "v2": 10}
	for name, c := range map[string]struct {
		answers map[string]int
		failed  int
		ok      bool
	}{
		"as it should be":   {map[string]int{"v1": 1790, "v2": 210}, 0, true},
		"too few":           {map[string]int{"v1": 1900, "v2": 100}, 0, false},
		"a third answered":  {map[string]int{"v1": 1790, "v2": 209, "v3": 1}, 0, false},
		"one request lost":  {map[string]int{"v1": 1790, "v2": 209}, 1, false},
		"nobody is counted": {nil, 0, false},
	} {
		r := Result{Sent: 2000, OK: 2000 - c.failed, Failed: c.failed, Answers: c.answers}
		if v := judgeSplit(shares, 2000, r); v.ok != c.ok {
			t.Errorf("%s: %+v, want %v", name, v, c.ok)
		}
	}
}

func TestJudgeLossless(t *testing.T) {
	for name, c := range map[string]struct {
		r  Result
		ok bool
	}{
		"good":    {Result{Sent: 5000, OK: 5000, Elapsed: 10}, true},
		"loss":    {Result{Sent: 5000, OK: 4999, Failed: 1, Elapsed: 10, Failures: []Failure{{Reason: "reset"}}}, false},
		"stalled": {Result{Sent: 100, OK: 100, Elapsed: 10}, false},
		"nothing": {Result{}, false},
	} {
		if v := judgeLossless("x", 500, c.r, ""); v.ok != c.ok {
			t.Errorf("%s: %+v, want %v", name, v, c.ok)
		}
	}
}

func TestJudgeKill(t *testing.T) {
	kill := Flight{100, 110}
	flights := []Flight{{90, 95}, {95, 105}, {99, 120}, {111, 115}, {120, 130}}
	fail := func(f Flight) Failure { return Failure{Flight: f, Reason: "reset"} }
	for name, c := range map[string]struct {
		failures []Failure
		failed   int
		ok       bool
	}{
		"none lost":      {nil, 0, true},
		"in flight lost": {[]Failure{fail(flights[1]), fail(flights[2])}, 2, true},
		"later one lost": {[]Failure{fail(flights[3])}, 1, false},
		"earlier lost":   {[]Failure{fail(flights[0])}, 1, false},
		"untold losses":  {nil, 1, false},
	} {
		r := Result{Sent: 5, OK: 5 - c.failed, Failed: c.failed, Failures: c.failures, Flights: flights}
		if v := judgeKill("x", kill, r); v.ok != c.ok {
			t.Errorf("%s: %+v, want %v", name, v, c.ok)
		}
	}
}

func edgeRow(direction, source, sourceID, destinationID, tls string) *adminv1.StatRow {
	return &adminv1.StatRow{Requests: 3, Labels: map[string]string{
		"direction": direction, "source": source, "destination": "ns/b", "source_id": sourceID, "destination_id": destinationID, "tls": tls,
	}}
}

func TestJudgeEdges(t *testing.T) {
	d := &Description{
		Namespace: "ns", Check: Check{Edges: []Edge{{"a", "b"}}},
		Services: []Service{{Name: "a", Account: "sa-a"}, {Name: "b", Account: "sa-b"}},
	}
	const a, b = "spiffe://mesh.local/ns/ns/sa/sa-a", "spiffe://mesh.local/ns/ns/sa/sa-b"
	out, in := edgeRow("outbound", "ns/a", a, b, "mutual"), edgeRow("inbound", "", a, b, "mutual")
	for name, c := range map[string]struct {
		rows []*adminv1.StatRow
		ok   bool
	}{
		"both ends":        {[]*adminv1.StatRow{out, in}, true},
		"one end only":     {[]*adminv1.StatRow{out}, false},
		"wrong server":     {[]*adminv1.StatRow{edgeRow("outbound", "ns/a", a, a, "mutual"), in}, false},
		"plaintext beside": {[]*adminv1.StatRow{out, in, edgeRow("inbound", "", "", b, "none")}, false},
		"nothing":          {nil, false},
	} {
		ok := true
		for _, v := range judgeEdges(d, "mesh.local", c.rows) {
			ok = ok && v.ok
		}
		if ok != c.ok {
			t.Errorf("%s: %v, want %v", name, ok, c.ok)
		}
	}
}

func TestStateDiffers(t *testing.T) {
	s := state{resources: []string{"r"}, endpoints: []string{"e1", "e2"}}
	if d := s.differs(state{resources: []string{"r"}, endpoints: []string{"e1", "e2"}}); d != "" {
		t.Errorf("equal states differ: %s", d)
	}
	if d := s.differs(state{resources: []string{"r"}, endpoints: []string{"e1"}}); !strings.Contains(d, "missing: e2") {
		t.Errorf("got %q", d)
	}
	if d := s.differs(state{resources: []string{"r", "r2"}, endpoints: []string{"e1", "e2"}}); !strings.Contains(d, "new: r2") {
		t.Errorf("got %q", d)
	}
}
