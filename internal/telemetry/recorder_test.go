package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
)

var (
	start   = time.Date(2026, 11, 21, 4, 0, 0, 123456000, time.UTC)
	testKey = Key{
		Direction: "outbound", Source: "default/web", Destination: "default/reviews", Service: "default/reviews",
		Protocol: "http", TLS: "mutual", Route: "HTTPRoute default/r rule 0",
	}
)

func testRecord(s *Series) *Record {
	h := &message.Head{Method: "GET", Authority: "reviews", Path: "/r?token=hunter2&a=1&x=", Fields: []message.Field{
		{Name: "authorization", Value: "Bearer hunter2"},
		{Name: "cookie", Value: "s=hunter2"},
		{Name: "x-my-secret", Value: "hunter2"},
		{Name: "user-agent", Value: "c\"u\nrl\xff"},
		{Name: "traceparent", Value: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"},
	}}
	return &Record{
		Start: start, HeadAt: start.Add(time.Millisecond), Direction: "outbound", Protocol: "http",
		Peer: netip.MustParseAddrPort("10.0.0.1:5"), Source: "default/web", Port: 9080, Request: h, RequestID: "id1",
		Rule: &model.RuleRef{Kind: "HTTPRoute"}, Status: 200, Attempts: 2, RequestBytes: 3, ResponseBytes: 5, Series: s,
		Endpoint: &model.Endpoint{ID: "e1", Address: netip.MustParseAddrPort("10.0.0.2:15008")},
	}
}

func TestCloseOnce(t *testing.T) {
	var log bytes.Buffer
	events := 0
	r := NewRecorder(Options{AccessLog: &log, Tap: func(*discoveryv1.TapEvent) { events++ }})
	r.SetTaps([]*discoveryv1.Tap{{Id: "t"}})
	s := r.Series(testKey)
	rec := testRecord(s)
	for range 3 {
		r.Close(rec, start.Add(2*time.Millisecond))
	}
	r.Flush()
	if s.Success != 1 || s.Latency.Count() != 1 || s.Sent != 3 || s.Received != 5 || events != 1 || strings.Count(log.String(), "\n") != 1 {
		t.Fatalf("not once: %+v, %d events, log %s", s.Success, events, log.String())
	}
	if r.Stats().DoubleCloses != 2 {
		t.Fatalf("double closes: %+v", r.Stats())
	}
	rec.Reset()
	rec.Series, rec.Status, rec.Protocol = s, 503, "http"
	r.Close(rec, start)
	if s.Failure != 1 {
		t.Fatal("a reused record was not counted")
	}
}

func TestOutcome(t *testing.T) {
	tests := []struct {
		rec  Record
		fail bool
	}{
		{Record{Protocol: "http", Status: 200}, false},
		{Record{Protocol: "http", Status: 404, Failure: "no_route"}, false},
		{Record{Protocol: "http", Status: 499, Failure: "client_gone"}, false},
		{Record{Protocol: "http", Status: 200, Failure: "client_gone"}, false},
		{Record{Protocol: "http", Status: 500}, true},
		{Record{Protocol: "http", Status: 200, Failure: "truncated"}, true},
		{Record{Protocol: "http"}, true},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "0"}, false},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "5"}, false},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "7"}, false},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "12", Failure: "no_route"}, false},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "2"}, true},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "14", Failure: "connect"}, true},
		{Record{Protocol: "grpc", Status: 200, GRPCStatus: "evil"}, true},
		{Record{Protocol: "grpc", Status: 200}, true},
		{Record{Protocol: "grpc", Status: 499}, false},
		{Record{Protocol: "grpc", Status: 200, Failure: "client_gone"}, false},
		{Record{Protocol: "grpc", Status: 503}, true},
		{Record{Protocol: "tcp"}, false},
		{Record{Protocol: "tcp", Failure: "connect", Status: 502}, true},
		{Record{Protocol: "tcp", Failure: "reset"}, true},
		{Record{Protocol: "tcp", Failure: "client_gone", Status: 200}, false},
	}
	for _, tt := range tests {
		if got := tt.rec.Failed(); got != tt.fail {
			t.Errorf("%s %d grpc %q flag %q: failed %v", tt.rec.Protocol, tt.rec.Status, tt.rec.GRPCStatus, tt.rec.Failure, got)
		}
	}
}

func TestAccessLogLine(t *testing.T) {
	var log bytes.Buffer
	r := NewRecorder(Options{Node: "web-1", AccessLog: &log})
	rec := testRecord(r.Series(testKey))
	rec.Failure, rec.Err = "truncated", errors.New("EOF")
	r.Close(rec, start.Add(2500*time.Microsecond))
	r.Flush()
	if strings.Contains(log.String(), "hunter2") {
		t.Errorf("a credential in %s", log.String())
	}
	var got map[string]any
	if err := json.Unmarshal(log.Bytes(), &got); err != nil {
		t.Fatalf("%s: %v", log.String(), err)
	}
	want := map[string]any{
		"time": "2026-11-21T04:00:00.123456Z", "node": "web-1", "path": "/r?token=REDACTED&a=1&x=", "duration_ms": 2.5,
		"head_ms": 1.0, "status": 200.0, "attempts": 2.0, "user_agent": "c\"u\nrl\uFFFD", "route": "HTTPRoute default/r rule 0",
		"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "source_address": "10.0.0.1:5", "endpoint": "e1", "error": "EOF",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s: %v, want %v", k, got[k], v)
		}
	}
}

type failWriter struct{ writes int }

func (w *failWriter) Write([]byte) (int, error) { w.writes++; return 0, errors.New("disk full") }

func TestAccessLogIsBounded(t *testing.T) {
	w := &failWriter{}
	r := NewRecorder(Options{AccessLog: w})
	for range 1000 {
		r.Close(testRecord(nil), start)
	}
	if w.writes == 0 || cap(r.line) > 4*maxLogBuffer || r.Stats().LogErrors == 0 {
		t.Fatalf("%d writes, %d bytes kept, %+v", w.writes, cap(r.line), r.Stats())
	}
}

func TestTapEvents(t *testing.T) {
	var got []*discoveryv1.TapEvent
	r := NewRecorder(Options{Node: "default/web-1", Tap: func(e *discoveryv1.TapEvent) { got = append(got, e) }})
	s := r.Series(testKey)
	match := []*discoveryv1.TapFilter{
		nil, {Workload: "default/web-1"}, {Workload: "default/web"}, {To: "default/reviews", Method: "GET", PathPrefix: "/r"},
	}
	miss := []*discoveryv1.TapFilter{{Workload: "default/other"}, {To: "default/web"}, {Method: "POST"}, {PathPrefix: "/x"}}
	var taps []*discoveryv1.Tap
	for i, f := range append(match, miss...) {
		taps = append(taps, &discoveryv1.Tap{Id: strconv.Itoa(i), Filter: f})
	}
	r.SetTaps(taps)
	r.Close(testRecord(s), start.Add(time.Second))
	if len(got) != len(match) {
		t.Fatalf("%d events, want %d", len(got), len(match))
	}
	e := got[0]
	if e.Seconds != 1 || e.Path != "/r?token=REDACTED&a=1&x=" || e.Status != 200 || e.DestinationAddress != "10.0.0.2:15008" || len(e.Headers) != 2 {
		t.Errorf("event %v", e)
	}
	b, err := proto.Marshal(e)
	if err != nil || bytes.Contains(b, []byte("hunter2")) {
		t.Errorf("%v; credentials: %q", err, b)
	}
}

func TestTapRate(t *testing.T) {
	n := 0
	r := NewRecorder(Options{Tap: func(*discoveryv1.TapEvent) { n++ }})
	taps := []*discoveryv1.Tap{{Id: "t", MaxRps: 10}}
	r.SetTaps(taps)
	const seconds = 20
	now := start
	for i := range seconds * 1000 {
		if i%100 == 0 {
			r.SetTaps(taps) // must not refill
		}
		r.Close(testRecord(nil), now)
		now = now.Add(time.Millisecond)
	}
	// The bucket's one second in advance, then the rate.
	if n > 10*(seconds+1) || n < 10*seconds {
		t.Fatalf("%d events in %d s at 10 a second", n, seconds)
	}
	if int(r.Stats().TapSuppressed)+n != seconds*1000 {
		t.Errorf("%+v", r.Stats())
	}
}

func TestSeriesBoundAndChanged(t *testing.T) {
	r := NewRecorder(Options{MaxSeries: 3})
	for i := range 10 {
		s := r.Series(Key{Service: strconv.Itoa(i)})
		rec := Record{Series: s, Status: 200, Protocol: "http", Start: start}
		r.Close(&rec, start)
	}
	changed := r.Changed(nil)
	if len(changed) != 4 || r.Stats().Overflows != 7 || len(r.All(nil)) != 4 {
		t.Fatalf("%d changed, %+v", len(changed), r.Stats())
	}
	if last := changed[3]; last.Service != "" || last.Success != 7 {
		t.Fatalf("overflow series %v", last)
	}
	if again := r.Changed(nil); len(again) != 0 {
		t.Fatalf("unchanged series reported: %v", again)
	}
	s := r.Series(Key{Service: "1"})
	r.ConnectionOpened(s)
	if c := r.Changed(nil); len(c) != 1 || c[0].Success != 1 || c[0].ConnectionsOpened != 1 {
		t.Fatalf("not cumulative: %v", c)
	}
}

func TestCloseDoesNotAllocate(t *testing.T) {
	r := NewRecorder(Options{Tap: func(*discoveryv1.TapEvent) { t.Error("tapped") }})
	r.SetTaps([]*discoveryv1.Tap{{Id: "t", Filter: &discoveryv1.TapFilter{Method: "POST"}}})
	rec := testRecord(r.Series(testKey))
	n := testing.AllocsPerRun(100, func() {
		rec.closed = false
		r.Close(rec, start.Add(time.Millisecond))
	})
	if n != 0 {
		t.Fatalf("%v allocations", n)
	}
}

func BenchmarkClose(b *testing.B) {
	b.ReportAllocs()
	r := NewRecorder(Options{})
	rec, now := testRecord(r.Series(testKey)), start.Add(time.Millisecond)
	for b.Loop() {
		rec.closed = false
		r.Close(rec, now)
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }

func BenchmarkCloseWithLog(b *testing.B) {
	b.ReportAllocs()
	r := NewRecorder(Options{AccessLog: discard{}})
	rec, now := testRecord(r.Series(testKey)), start.Add(time.Millisecond)
	rec.Request.Path = "/reviews/1"
	for b.Loop() {
		rec.closed = false
		r.Close(rec, now)
	}
}
