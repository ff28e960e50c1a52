package telemetry

import (
	"net/netip"
	"strconv"
	"time"
	"unicode/utf8"
)

const (
	maxLogBuffer = 64 << 10 // bytes between two flushes; over it, Close flushes itself
	maxLogValue  = 2048     // bytes of one string; the rest is cut
)

// Flush writes the lines of the access log since the last call. The engine calls it once a turn of its
// loop, so that one system call serves many lines.
func (r *Recorder) Flush() {
	if len(r.line) == 0 {
		return
	}
	if _, err := r.o.AccessLog.Write(r.line); err != nil {
		r.stats.LogErrors++
	}
	if r.line = r.line[:0]; cap(r.line) > 2*maxLogBuffer {
		r.line = nil
	}
}

func (r *Recorder) log(rec *Record, now time.Time) {
	k, w := rec.key(), jsonLine{b: append(r.line, '{')}
	w.b = append(w.b, `"time":"`...)
	w.b = rec.Start.UTC().AppendFormat(w.b, "2006-01-02T15:04:05.000000Z07:00")
	w.b = append(w.b, '"')
	w.str("node", r.o.Node)
	w.str("direction", rec.Direction)
	w.str("protocol", rec.protocol())
	w.str("tls", k.TLS)
	w.str("request_id", rec.RequestID)
	w.str("source", rec.Source)
	w.str("source_id", rec.SourceID)
	w.addr("source_address", rec.Peer)
	w.str("service", rec.service())
	w.num("port", int64(rec.Port))
	w.str("destination", k.Destination)
	w.str("destination_id", k.DestinationID)
	if e := rec.Endpoint; e != nil {
		w.addr("destination_address", e.Address)
		w.str("endpoint", e.ID)
	}
	w.str("version", k.Version)
	if rec.Rule != nil {
		w.str("route", routeOf(rec))
	}
	if h := rec.Request; h != nil {
		w.str("trace_id", TraceID(h))
		w.str("method", h.Method)
		w.str("authority", h.Authority)
		w.str("path", redactPath(h.Path))
		w.str("user_agent", h.Get("user-agent"))
	}
	w.num("status", int64(rec.Status))
	w.str("grpc_status", rec.GRPCStatus)
	w.str("failure", rec.Failure)
	if rec.Err != nil {
		w.str("error", rec.Err.Error())
	}
	w.str("checks", rec.Checks)
	if rec.Attempts > 1 {
		w.num("attempts", int64(rec.Attempts))
	}
	w.num("request_bytes", int64(rec.RequestBytes))
	w.num("response_bytes", int64(rec.ResponseBytes))
	w.num("request_datagrams", int64(rec.RequestDatagrams))
	w.num("response_datagrams", int64(rec.ResponseDatagrams))
	if !rec.HeadAt.IsZero() {
		w.millis("head_ms", rec.HeadAt.Sub(rec.Start))
	}
	w.millis("duration_ms", now.Sub(rec.Start))
	r.line = append(w.b, '}', '\n')
	if len(r.line) >= maxLogBuffer {
		r.Flush()
	}
}

// routeOf returns the rule's text, from the series if possible, where it is made already.
func routeOf(rec *Record) string {
	if k := rec.key(); k.Route != "" {
		return k.Route
	}
	if rec.Rule != nil {
		return rec.Rule.String()
	}
	return ""
}

// jsonLine appends members to a JSON object; the first is already there. Empty values are left out.
type jsonLine struct{ b []byte }

func (w *jsonLine) name(n string) {
	w.b = append(w.b, ',', '"')
	w.b = append(w.b, n...)
	w.b = append(w.b, '"', ':')
}

func (w *jsonLine) str(name, s string) {
	if s == "" {
		return
	}
	w.name(name)
	w.b = appendJSONString(w.b, s)
}

func (w *jsonLine) num(name string, n int64) {
	if n == 0 {
		return
	}
	w.name(name)
	w.b = strconv.AppendInt(w.b, n, 10)
}

func (w *jsonLine) millis(name string, d time.Duration) {
	w.name(name)
	w.b = strconv.AppendFloat(w.b, float64(max(d, 0).Microseconds())/1000, 'f', -1, 64)
}

func (w *jsonLine) addr(name string, a netip.AddrPort) {
	if !a.IsValid() {
		return
	}
	w.name(name)
	w.b = append(w.b, '"')
	w.b = a.AppendTo(w.b)
	w.b = append(w.b, '"')
}

// appendJSONString appends s as a JSON string (RFC 8259, section 7), cut to maxLogValue. What is not UTF-8
// becomes U+FFFD, so that a line can always be read.
func appendJSONString(b []byte, s string) []byte {
	const hex = "0123456789abcdef"
	cut := len(s) > maxLogValue
	if cut {
		s = s[:maxLogValue]
	}
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		case c < utf8.RuneSelf:
			b = append(b, c)
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			b = utf8.AppendRune(b, r)
			i += n
			continue
		}
		i++
	}
	if cut {
		b = append(b, "..."...)
	}
	return append(b, '"')
}
