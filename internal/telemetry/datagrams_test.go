package telemetry

import (
	"bytes"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
)

// TestDatagramExposition adds up the counters of loops, which go on changing.
func TestDatagramExposition(t *testing.T) {
	a, b := &Datagrams{Sent: 3, Received: 2, Evicted: 1}, &Datagrams{Sent: 4}
	a.Drop("no_route")
	b.DropN("no_route", 2)
	b.Drop("table_full")
	reg := prometheus.NewRegistry()
	reg.MustRegister(NewDatagramExposition(func() []map[string]*Datagrams {
		loops := []map[string]*Datagrams{{"dns": a.Clone()}, {"dns": b.Clone(), "syslog": {}}}
		a.Drop("no_route") // the clone has its own
		return loops
	}))
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]float64{}
	for _, f := range families {
		for _, m := range f.Metric {
			key := f.GetName()
			for _, l := range m.Label {
				key += "," + l.GetValue()
			}
			got[key] = m.Counter.GetValue()
		}
	}
	for k, v := range map[string]float64{
		"weft_datagrams_total,dns,sent": 7, "weft_datagrams_total,dns,received": 2, "weft_datagrams_total,syslog,sent": 0,
		"weft_datagrams_dropped_total,dns,no_route": 3, "weft_datagrams_dropped_total,dns,table_full": 1,
		"weft_datagram_sessions_evicted_total,dns": 1,
	} {
		if n, ok := got[k]; !ok || n != v {
			t.Errorf("%s = %v (%v), want %v", k, n, ok, v)
		}
	}
}

// TestSessionRecord has the bytes of datagrams counted as they pass and not again at the end.
func TestSessionRecord(t *testing.T) {
	var log bytes.Buffer
	r := NewRecorder(Options{AccessLog: &log})
	k := testKey
	k.Protocol = "udp"
	s := r.Series(k)
	r.Carried(s, 100, 30)
	if c := r.Changed(nil); len(c) != 1 || c[0].BytesSent != 100 || c[0].BytesReceived != 30 {
		t.Errorf("%v", c)
	}
	rec := Record{Start: start, Series: s, RequestBytes: 100, ResponseBytes: 30, RequestDatagrams: 2, ResponseDatagrams: 1}
	r.Close(&rec, start)
	failed := Record{Start: start, Series: s, Failure: "connect_failed"}
	r.Close(&failed, start)
	r.Flush()
	if s.Sent != 100 || s.Received != 30 || s.Success != 1 || s.Failure != 1 {
		t.Errorf("%+v", s)
	}
	for _, want := range []string{`"protocol":"udp"`, `"request_datagrams":2`, `"response_datagrams":1`, `"request_bytes":100`, `"failure":"connect_failed"`} {
		if !strings.Contains(log.String(), want) {
			t.Errorf("no %s in %s", want, log.String())
		}
	}
}
