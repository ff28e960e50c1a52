package telemetry

import (
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/message"
)

const (
	maxTaps        = 32
	defaultTapRate = 100   // events per second
	maxTapRate     = 10000 // events per second
	maxTapFields   = 64    // of a request's header
	maxTapBytes    = 8 << 10
)

// tap is a live request for events, with a token bucket that holds one second's worth.
type tap struct {
	id     string
	filter *discoveryv1.TapFilter
	rate   float64 // tokens per second
	tokens float64
	last   time.Time
}

// SetTaps replaces the taps. Those that stay (by id) keep their budget. More than 32 are cut off.
func (r *Recorder) SetTaps(taps []*discoveryv1.Tap) {
	next := make([]tap, 0, min(len(taps), maxTaps))
	for _, t := range taps[:min(len(taps), maxTaps)] {
		rate := float64(min(t.GetMaxRps(), maxTapRate))
		if rate == 0 {
			rate = defaultTapRate
		}
		n := tap{id: t.GetId(), filter: t.GetFilter(), rate: rate, tokens: rate}
		for i := range r.taps {
			if old := &r.taps[i]; old.id == n.id {
				n.tokens, n.last = min(old.tokens, rate), old.last
			}
		}
		next = append(next, n)
	}
	r.taps = next
}

// allow takes a token.
func (t *tap) allow(now time.Time) bool {
	if d := now.Sub(t.last); d > 0 {
		if !t.last.IsZero() {
			t.tokens = min(t.rate, t.tokens+d.Seconds()*t.rate)
		}
		t.last = now
	}
	if t.tokens < 1 {
		return false
	}
	t.tokens--
	return true
}

func (r *Recorder) tap(rec *Record, now time.Time) {
	if r.o.Tap == nil {
		return
	}
	for i := range r.taps {
		t := &r.taps[i]
		if !r.matches(t.filter, rec) {
			continue
		}
		if !t.allow(now) {
			r.stats.TapSuppressed++
			continue
		}
		r.o.Tap(event(t.id, rec, now))
	}
}

func (r *Recorder) matches(f *discoveryv1.TapFilter, rec *Record) bool {
	k := rec.key()
	if w := f.GetWorkload(); w != "" && w != r.o.Node {
		own := rec.Source
		if rec.Direction == "inbound" {
			own = k.Destination
		}
		if w != own {
			return false
		}
	}
	if to := f.GetTo(); to != "" && to != k.Destination && to != rec.service() {
		return false
	}
	method, path := "", ""
	if rec.Request != nil {
		method, path = rec.Request.Method, rec.Request.Path
	}
	return (f.GetMethod() == "" || f.GetMethod() == method) && strings.HasPrefix(path, f.GetPathPrefix())
}

// event copies all it needs: strings of the record are borrowed.
func event(id string, rec *Record, now time.Time) *discoveryv1.TapEvent {
	k := rec.key()
	e := &discoveryv1.TapEvent{
		TapId: id, RequestId: strings.Clone(rec.RequestID), Start: timestamppb.New(rec.Start),
		Direction: rec.Direction, Source: strings.Clone(rec.Source), SourceId: strings.Clone(rec.SourceID),
		Service: strings.Clone(rec.service()), Destination: k.Destination, DestinationId: k.DestinationID,
		Tls: k.TLS, Protocol: rec.protocol(), Status: int32(rec.Status), GrpcStatus: strings.Clone(rec.GRPCStatus),
		Failure: rec.Failure, Route: routeOf(rec), Seconds: now.Sub(rec.Start).Seconds(),
		RequestBytes: rec.RequestBytes, ResponseBytes: rec.ResponseBytes, Attempts: int32(rec.Attempts),
		Port: uint32(rec.Port),
	}
	if !rec.HeadAt.IsZero() {
		e.SecondsToHead = rec.HeadAt.Sub(rec.Start).Seconds()
	}
	if rec.Peer.IsValid() {
		e.SourceAddress = rec.Peer.String()
	}
	if rec.Endpoint != nil {
		e.DestinationAddress = rec.Endpoint.Address.String()
		e.DestinationId = rec.Endpoint.Identity.String()
	}
	if h := rec.Request; h != nil {
		// A string with bytes that are not UTF-8 would make the whole report fail to encode.
		e.Method, e.Authority, e.Path = valid(h.Method), valid(h.Authority), valid(redactPath(h.Path))
		e.Headers = tapHeaders(h)
	}
	e.RequestId, e.GrpcStatus = valid(e.RequestId), valid(e.GrpcStatus)
	e.Source, e.SourceId = valid(e.Source), valid(e.SourceId)
	return e
}

func valid(s string) string { return strings.Clone(strings.ToValidUTF8(s, "\uFFFD")) }

func tapHeaders(h *message.Head) []*discoveryv1.HeaderValue {
	var out []*discoveryv1.HeaderValue
	room := maxTapBytes
	for _, f := range h.Fields {
		if sensitiveField(f.Name) {
			continue
		}
		if room -= len(f.Name) + len(f.Value); room < 0 || len(out) == maxTapFields {
			break
		}
		out = append(out, &discoveryv1.HeaderValue{Name: valid(f.Name), Value: valid(f.Value)})
	}
	return out
}
