package proxy

import (
	"github.com/weft-mesh/weft/internal/telemetry"
)

// seriesKey tells an endpoint's outbound series apart.
type seriesKey struct {
	service  *service
	rule     *rule
	protocol string
}

// inboundKey tells a mesh connection's series apart.
type inboundKey struct {
	source   string
	port     uint16
	protocol string
	target   *service // that it left the mesh for; nil: the program here
	rule     *rule
}

const (
	outbound = "outbound"
	inbound  = "inbound"
)

// open begins the record of an exchange.
func (x *exchange) open() {
	r := &x.rec
	r.Start = x.w.loop.Now()
	r.Peer = x.o.remote
	r.Request = x.req
	r.Direction = outbound
	if x.o.kind == fromMesh {
		r.Direction = inbound
		r.SourceID = x.o.peerID
	} else {
		r.Source, r.SourceID = x.w.config.source, x.w.config.self
	}
	if !x.opaque {
		r.RequestID = x.w.rec.EnsureRequestID(x.req)
	}
}

// observe closes the record, whatever happened, once.
func (x *exchange) observe() {
	r := &x.rec
	r.Protocol = x.protocol()
	r.Port = x.port
	if x.ep != nil {
		r.Endpoint = x.ep.model
	}
	r.Series = x.series()
	if x.opaque && x.answered {
		x.w.rec.ConnectionClosed(r.Series)
	}
	if s, ok := x.down.(*rawStream); ok && s.turned != unknown {
		return // its requests have records of their own
	}
	x.w.rec.Close(r, x.w.loop.Now())
	x.w.logged()
}

// logged asks for the access log's lines to be written at the end of the turn.
func (w *worker) logged() {
	if w.e.o.AccessLog != nil && !w.logging {
		w.logging = true
		w.loop.OnFlush(w)
	}
}

// Flush writes the access log.
func (w *worker) Flush() {
	w.logging = false
	w.rec.Flush()
}

// connected counts a TCP connection that stands.
func (x *exchange) connected() {
	if x.opaque {
		x.rec.Protocol = x.protocol()
		x.rec.Series = x.series()
		x.w.rec.ConnectionOpened(x.rec.Series)
	}
}

func (x *exchange) protocol() string {
	switch {
	case x.opaque:
		return "tcp"
	case isGRPC(x.req):
		return "grpc"
	}
	return "http"
}

// series finds the counters this exchange belongs to. They are kept where the next one of its kind finds
// them with one lookup.
func (x *exchange) series() *telemetry.Series {
	if x.o.kind == fromMesh {
		return x.inboundSeries()
	}
	key := seriesKey{x.service, x.rule, x.rec.Protocol}
	kept := x.ep != nil && (x.service != nil || x.gateway != nil)
	if kept {
		if s := x.ep.series[key]; s != nil {
			return s
		}
	}
	k := telemetry.Key{
		Direction: outbound, Source: x.rec.Source, SourceID: x.rec.SourceID,
		Protocol: x.rec.Protocol, TLS: "none",
	}
	if x.service != nil {
		k.Service = x.service.Name.String()
	}
	if x.gateway != nil {
		k.Service = x.gateway.Name
	}
	if x.target != nil {
		k.Destination = x.target.Name.String()
	}
	if x.rule != nil {
		k.Route = x.rule.Ref.String()
	}
	if x.ep != nil {
		k.DestinationID = x.ep.model.Identity.String()
		k.Version = x.ep.model.Labels["version"]
		if !x.ep.model.Plain {
			k.TLS = "mutual"
		}
	}
	s := x.w.rec.Series(k)
	if kept {
		if x.ep.series == nil {
			x.ep.series = map[seriesKey]*telemetry.Series{}
		}
		x.ep.series[key] = s
	}
	return s
}

func (x *exchange) inboundSeries() *telemetry.Series {
	key := inboundKey{source: x.rec.Source, port: x.port, protocol: x.rec.Protocol}
	if x.leavesMesh() {
		key.target, key.rule = x.target, x.rule
	}
	if s := x.o.series[key]; s != nil {
		return s
	}
	c := x.w.config
	k := telemetry.Key{
		Direction: inbound, Source: key.source, SourceID: x.o.peerID,
		Destination: c.source, DestinationID: c.self, Service: c.source,
		Protocol: key.protocol, TLS: "mutual", Version: c.snapshot.Workload.Labels["version"],
	}
	if key.target != nil { // who asked by mTLS, for what outside
		k.Destination, k.DestinationID = key.target.Name.String(), ""
	}
	if key.rule != nil {
		k.Route = key.rule.Ref.String()
	}
	s := x.w.rec.Series(k)
	const most = 1024 // ports and names a peer may make us remember
	if x.o.series == nil || len(x.o.series) >= most {
		x.o.series = map[inboundKey]*telemetry.Series{}
	}
	x.o.series[key] = s
	return s
}
