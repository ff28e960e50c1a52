package resilience

import (
	"testing"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

func TestParseRetryAfter(t *testing.T) {
	for s, want := range map[string]time.Duration{
		"0": 0, "120": 2 * time.Minute, "99999999": 24 * time.Hour,
		"Thu, 01 Jan 2026 00:00:30 GMT":    30 * time.Second,
		"Thursday, 01-Jan-26 00:00:30 GMT": 30 * time.Second,
		"Thu Jan  1 00:00:30 2026":         30 * time.Second,
		"Wed, 31 Dec 2025 00:00:00 GMT":    0,
		"Fri, 01 Jan 2027 00:00:00 GMT":    24 * time.Hour,
	} {
		if got, err := ParseRetryAfter(s, start()); err != nil || got != want {
			t.Errorf("%s: %v, %v; want %v", s, got, err, want)
		}
	}
	for _, s := range []string{"", "-1", "1.5", "soon", "Thu, 01 Jan 2026 00:00:30 CET", "9999999999999999999"} {
		if got, err := ParseRetryAfter(s, start()); err == nil {
			t.Errorf("%q is %v, want an error", s, got)
		}
	}
	for d, want := range map[time.Duration]int64{0: 0, 1: 1, time.Second: 1, time.Second + 1: 2} {
		if got := (Decision{RetryAfter: d}).Seconds(); got != want {
			t.Errorf("%v is %d s, want %d", d, got, want)
		}
	}
}

// TestPause is about which answers leave an endpoint out, and for how long at most.
func TestPause(t *testing.T) {
	now := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	for _, c := range []struct {
		p      *model.RetryAfter
		status int
		field  string
		want   time.Duration
	}{
		{nil, 503, "5", 0},
		{&model.RetryAfter{}, 503, "5", 5 * time.Second},
		{&model.RetryAfter{}, 429, "Fri, 02 Jan 2026 03:04:15 GMT", 10 * time.Second},
		{&model.RetryAfter{}, 503, "3600", DefaultRetryAfter},
		{&model.RetryAfter{Max: time.Minute}, 503, "3600", time.Minute},
		{&model.RetryAfter{}, 503, "", 0},
		{&model.RetryAfter{}, 503, "soon", 0},
		{&model.RetryAfter{}, 503, "Fri, 02 Jan 2026 03:00:00 GMT", 0},
		{&model.RetryAfter{}, 502, "5", 0},
		{&model.RetryAfter{}, 301, "5", 0},
	} {
		if got := Pause(c.p, c.status, c.field, now); got != c.want {
			t.Errorf("%v, %d, %q: %s, want %s", c.p, c.status, c.field, got, c.want)
		}
	}
}
