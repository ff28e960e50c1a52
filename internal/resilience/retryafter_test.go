package resilience

import (
	"testing"
	"time"
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
