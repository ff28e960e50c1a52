package resilience

import (
	"math"
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

func TestParseGRPCTimeout(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"1H": time.Hour, "2M": 2 * time.Minute, "3S": 3 * time.Second, "250m": 250 * time.Millisecond,
		"5u": 5 * time.Microsecond, "99999999n": 99_999_999, "0n": 0, "00000001S": time.Second,
		"99999999H": math.MaxInt64,
	} {
		if got, err := ParseGRPCTimeout(s); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "1", "S", "-1S", "1.5S", "1s", "1h", "+1S", " 1S", "1S ", "123456789S", "1\u00b5", "１S"} {
		if got, err := ParseGRPCTimeout(s); err == nil {
			t.Errorf("%q is %v, want an error", s, got)
		}
	}
}

func TestParseDeadline(t *testing.T) {
	for s, want := range map[string]time.Duration{"0": 0, "200": 200 * time.Millisecond, "999999999999999999": math.MaxInt64} {
		if got, err := ParseDeadline(s); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "1.5", "1s", "0x1", "1000000000000000000"} {
		if got, err := ParseDeadline(s); err == nil {
			t.Errorf("%q is %v, want an error", s, got)
		}
	}
}

// TestFormatRoundsDown: what is written is never more than there is, and at most 1% or 1 ms less.
func TestFormatRoundsDown(t *testing.T) {
	for _, d := range []time.Duration{0, 1, 99_999_999, 100_000_000, 123_456_789, time.Second, time.Hour, 100 * time.Hour, 30_000 * time.Hour, math.MaxInt64, -5} {
		grpc, err := ParseGRPCTimeout(string(AppendGRPCTimeout(nil, d)))
		if want := max(d, 0); err != nil || grpc > want || grpc < want-want/100 {
			t.Errorf("%v: grpc-timeout %s is %v, %v", d, AppendGRPCTimeout(nil, d), grpc, err)
		}
		own, err := ParseDeadline(string(AppendDeadline(nil, d)))
		if want := max(d, 0); err != nil || own > want || own < want-time.Millisecond {
			t.Errorf("%v: %s %s is %v, %v", d, FieldDeadline, AppendDeadline(nil, d), own, err)
		}
	}
	buf := make([]byte, 0, 32)
	if n := testing.AllocsPerRun(100, func() { AppendDeadline(AppendGRPCTimeout(buf, 1234567), 1234567) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParseGRPCTimeout(f *testing.F) {
	for _, s := range []string{"1H", "99999999n", "", "1", "-1S", "123456789S"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		d, err := ParseGRPCTimeout(s)
		if err != nil {
			return
		}
		if d < 0 {
			t.Fatalf("%q is %v", s, d)
		}
		again, err := ParseGRPCTimeout(string(AppendGRPCTimeout(nil, d)))
		if err != nil || again > d || again < d-d/100 {
			t.Fatalf("%q is %v, which is written and read as %v, %v", s, d, again, err)
		}
	})
}

func TestDeadline(t *testing.T) {
	const ms = time.Millisecond
	for _, c := range []struct {
		caller time.Duration
		told   bool
		own    time.Duration
		total  time.Duration
		by     Bound
	}{
		{0, false, 0, 0, Unbounded},
		{200 * ms, true, 0, 200 * ms, ByCaller},
		{200 * ms, true, time.Second, 200 * ms, ByCaller},
		{2 * time.Second, true, time.Second, time.Second, ByPolicy},
		{0, true, time.Second, 0, ByCaller},
		{0, false, time.Second, time.Second, ByPolicy},
	} {
		if d := NewDeadline(c.caller, c.told, c.own); d != (Deadline{c.total, c.by}) {
			t.Errorf("%+v: %+v", c, d)
		}
	}
	d := NewDeadline(200*ms, true, 0)
	for _, c := range []struct {
		elapsed, need, left time.Duration
		ok                  bool
	}{{0, 0, 200 * ms, true}, {150 * ms, 0, 50 * ms, true}, {150 * ms, 49 * ms, 50 * ms, true}, {150 * ms, 50 * ms, 50 * ms, false}, {200 * ms, 0, 0, false}, {300 * ms, 0, -100 * ms, false}, {-ms, 0, 200 * ms, true}} {
		if left, ok := d.Left(c.elapsed, c.need); left != c.left || ok != c.ok {
			t.Errorf("after %v, needing %v: %v, %v", c.elapsed, c.need, left, ok)
		}
	}
	if left, ok := (Deadline{}).Left(time.Hour, time.Hour); left != math.MaxInt64 || !ok {
		t.Errorf("without a deadline %v is left, %v", left, ok)
	}
	for _, c := range []struct {
		d                     Deadline
		elapsed, perTry, want time.Duration
	}{{d, 0, 0, 200 * ms}, {d, 0, 50 * ms, 50 * ms}, {d, 180 * ms, 50 * ms, 20 * ms}, {d, 200 * ms, 50 * ms, -1}, {Deadline{}, time.Hour, 0, 0}, {Deadline{}, time.Hour, 50 * ms, 50 * ms}} {
		if got := c.d.Try(c.elapsed, c.perTry); got != c.want {
			t.Errorf("%+v: %v", c, got)
		}
	}
	for d, want := range map[Deadline]string{{}: "no deadline", {200 * ms, ByCaller}: "200ms, which the caller waits", {time.Second, ByPolicy}: "1s, the timeout of the policy"} {
		if d.String() != want {
			t.Error(d)
		}
	}
}

// TestDeadlineOverThreeHops: each hop passes on what is left, so all of them end by the first's 200 ms.
func TestDeadlineOverThreeHops(t *testing.T) {
	field := "200"
	spent := time.Duration(0)
	for hop := range 3 {
		told, err := ParseDeadline(field)
		if err != nil {
			t.Fatal(err)
		}
		d := NewDeadline(told, true, time.Second)
		work := 60*time.Millisecond + 500*time.Microsecond
		left, ok := d.Left(work, 0)
		if spent += work; !ok || spent+left > 200*time.Millisecond {
			t.Fatalf("hop %d has %v left after %v", hop, left, spent)
		}
		field = string(AppendDeadline(nil, left))
	}
	told, _ := ParseDeadline(field)
	if left, ok := NewDeadline(told, true, 0).Left(20*time.Millisecond, 0); ok {
		t.Errorf("a fourth hop works on with %v left after 200 ms", left)
	}
}

func TestHedge(t *testing.T) {
	h := NewHedgePolicy(&model.Hedge{Delay: 50 * time.Millisecond, Attempts: 9})
	for n := range 5 {
		at, ok, why := h.Next(n, true, false)
		if want := n < MaxHedges; ok != want || ok && at != time.Duration(n+1)*50*time.Millisecond || !ok && why != "all hedges are sent" {
			t.Errorf("hedge %d: %v, %v, %s", n, at, ok, why)
		}
	}
	if _, ok, why := h.Next(0, false, false); ok || why != "the method may not be repeated" {
		t.Error(why)
	}
	if _, ok, why := h.Next(0, true, true); ok || why != "the answer has begun" {
		t.Error(why)
	}
	for _, m := range []*model.Hedge{nil, {Delay: 1}, {Attempts: 1}} {
		if _, ok, why := NewHedgePolicy(m).Next(0, true, false); ok || why != "no hedge policy" {
			t.Errorf("%+v: %s", m, why)
		}
	}
}

func TestConcurrency(t *testing.T) {
	c := NewConcurrency(model.Connections{Requests: 3, Retries: 1}, 2, 2)
	for i, want := range []bool{true, true, false} { // 3 for two loops: 2 for each
		if c.Acquire(Requests) != want {
			t.Errorf("request %d: %v", i, !want)
		}
	}
	if s := c.Explain(Requests); s != "2 of at most 2 requests in flight (connections.requests), 1 refused so far" {
		t.Error(s)
	}
	c.Release(Requests)
	if !c.Acquire(Requests) || !c.Acquire(Retries) || c.Acquire(Retries) {
		t.Error("one was released; one retry is allowed")
	}
	if _, most := c.Count(Pending); most != 4096 { // 2 x 4,096 for two loops
		t.Errorf("%d may wait", most)
	}
	if s := c.Explain(Opened); s != "0 connections (connections.max), without bound" {
		t.Error(s)
	}
	c.Adopt(model.Connections{Requests: 1}, 2, 1)
	if now, most := c.Count(Requests); now != 2 || most != 1 || c.Acquire(Requests) {
		t.Errorf("%d of %d after the bound was lowered", now, most)
	}
	for range 5 {
		c.Release(Requests)
	}
	if now, _ := c.Count(Requests); now != 0 {
		t.Errorf("%d in flight", now)
	}
}
