package telemetry

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/message"
)

func TestEnsureRequestID(t *testing.T) {
	r := NewRecorder(Options{})
	var h message.Head
	seen := map[string]bool{}
	for _, have := range []string{"", strings.Repeat("a", 129), "a b", "a\xff"} {
		h.Reset()
		if have != "" {
			h.Add("x-request-id", have)
		}
		id := r.EnsureRequestID(&h)
		if len(id) != 32 || !isHexID(id) || h.Get("x-request-id") != id || seen[id] {
			t.Errorf("%q: made %q", have, id)
		}
		seen[strings.Clone(id)] = true
	}
	h.Reset()
	h.Add("x-request-id", "mine")
	if got := r.EnsureRequestID(&h); got != "mine" {
		t.Errorf("replaced by %q", got)
	}
}

func TestTraceID(t *testing.T) {
	const id = "4bf92f3577b34da6a3ce929d0e0e4736"
	tests := []struct{ name, value, want string }{
		{"traceparent", "00-" + id + "-00f067aa0ba902b7-01", id},
		{"traceparent", "01-" + id + "-00f067aa0ba902b7-01-more", id},
		{"traceparent", "00-" + id + "-00f067aa0ba902b7-01-more", ""},
		{"traceparent", "ff-" + id + "-00f067aa0ba902b7-01", ""},
		{"traceparent", "00-" + strings.Repeat("0", 32) + "-00f067aa0ba902b7-01", ""},
		{"traceparent", "00-" + strings.ToUpper(id) + "-00f067aa0ba902b7-01", ""},
		{"b3", id + "-e457b5a2e4d86bd1-1", id},
		{"b3", "80f198ee56343ba8-e457b5a2e4d86bd1", "80f198ee56343ba8"},
		{"b3", "0", ""},
		{"x-b3-traceid", "80f198ee56343ba8", "80f198ee56343ba8"},
		{"x-b3-traceid", id, id},
		{"x-b3-traceid", "80f198ee", ""},
	}
	for _, tt := range tests {
		h := message.Head{Fields: []message.Field{{Name: tt.name, Value: tt.value}}}
		if got := TraceID(&h); got != tt.want {
			t.Errorf("%s: %s: %q, want %q", tt.name, tt.value, got, tt.want)
		}
	}
}

func FuzzTraceID(f *testing.F) {
	f.Add("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01", "80f198ee56343ba8-e457b5a2e4d86bd1", "")
	f.Fuzz(func(t *testing.T, tp, b3, multi string) {
		h := message.Head{Fields: []message.Field{{Name: "traceparent", Value: tp}, {Name: "b3", Value: b3}, {Name: "x-b3-traceid", Value: multi}}}
		if id := TraceID(&h); id != "" && (len(id) != 16 && len(id) != 32 || !isTraceID(id)) {
			t.Fatalf("%q", id)
		}
	})
}

func FuzzJSONString(f *testing.F) {
	f.Add("a\"\\\n\x7f\xff\u2028é")
	f.Fuzz(func(t *testing.T, s string) {
		var got string
		if err := json.Unmarshal(appendJSONString(nil, s), &got); err != nil {
			t.Fatalf("%q: %v", s, err)
		}
		if utf8.ValidString(s) && len(s) <= maxLogValue && got != s {
			t.Fatalf("%q became %q", s, got)
		}
	})
}

func FuzzRedactPath(f *testing.F) {
	f.Add("/a?token=x&b=c;Password=y")
	f.Add("/?a=b")
	f.Fuzz(func(t *testing.T, p string) {
		got := redactPath(p)
		if redactPath(got) != got {
			t.Fatalf("%q, then %q", got, redactPath(got))
		}
		if !strings.Contains(p, "?") && got != p {
			t.Fatalf("%q became %q", p, got)
		}
	})
}

func TestExposition(t *testing.T) {
	a, b := NewRecorder(Options{}), NewRecorder(Options{})
	for _, r := range []*Recorder{a, b} {
		s := r.Series(testKey)
		r.Close(testRecord(s), start.Add(7_000_000))
		r.ConnectionOpened(s)
		bad := r.Series(Key{Source: "\xff"}) // must not break the scrape
		r.Close(&Record{Series: bad, Protocol: "http", Status: 500, Start: start}, start)
	}
	reg, err := NewRegistry(NewExposition(func() []*discoveryv1.Series { return b.All(a.All(nil)) }))
	if err != nil {
		t.Fatal(err)
	}
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				switch l.GetName() {
				case "outcome", "way":
					key += "," + l.GetValue()
				case "source":
					if l.GetValue() != "default/web" {
						key += ",bad"
					}
				}
			}
			switch {
			case m.Histogram != nil:
				got[key] += float64(m.Histogram.GetSampleCount())
				for _, bucket := range m.Histogram.Bucket {
					if b, n := bucket.GetUpperBound(), bucket.GetCumulativeCount(); strings.HasSuffix(key, "seconds") && (b >= 0.01) != (n == 2) {
						t.Errorf("bucket %v has %d of two requests of 7 ms", b, n)
					}
				}
			case m.Counter != nil:
				got[key] += m.Counter.GetValue()
			default:
				got[key] += m.Gauge.GetValue()
			}
		}
	}
	want := map[string]float64{
		"weft_requests_total,success": 2, "weft_requests_total,failure": 0, "weft_request_duration_seconds": 2, "weft_connections_open": 2,
		"weft_bytes_total,sent": 6, "weft_bytes_total,received": 10,
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s = %v, want %v", k, got[k], v)
		}
	}
	if got["process_resident_memory_bytes"] == 0 {
		t.Error("no process metrics")
	}
}
