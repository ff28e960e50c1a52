package telemetry

import (
	"strings"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

// Key holds the labels of a series; discoveryv1.Series says what each means.
type Key struct {
	Direction, Source, SourceID, Destination, DestinationID, Service, Route, Protocol, TLS, Version string
}

// valid returns the key with what is not UTF-8 replaced: a peer names its service itself, and one bad byte
// would make a whole report or scrape fail to encode.
func (k Key) valid() Key {
	for _, s := range []*string{
		&k.Direction, &k.Source, &k.SourceID, &k.Destination, &k.DestinationID, &k.Service, &k.Route, &k.Protocol, &k.TLS, &k.Version,
	} {
		*s = strings.ToValidUTF8(*s, "\uFFFD")
	}
	return k
}

// Series counts the requests or connections with the same labels, since the proxy started.
type Series struct {
	Key              Key
	Success, Failure uint64
	Latency          Histogram // until the last byte
	Opened, Closed   uint64    // connections
	Sent, Received   uint64    // bytes of content towards and from the destination

	dirty bool
}

// Proto returns the wire form.
func (s *Series) Proto() *discoveryv1.Series {
	k := &s.Key
	return &discoveryv1.Series{
		Direction: k.Direction, Source: k.Source, SourceId: k.SourceID, Destination: k.Destination,
		DestinationId: k.DestinationID, Service: k.Service, Route: k.Route, Protocol: k.Protocol, Tls: k.TLS,
		Version: k.Version, Success: s.Success, Failure: s.Failure, Latency: s.Latency.Proto(),
		ConnectionsOpened: s.Opened, ConnectionsClosed: s.Closed, BytesSent: s.Sent, BytesReceived: s.Received,
	}
}

// KeyOf returns the labels of a series on the wire.
func KeyOf(p *discoveryv1.Series) Key {
	return Key{
		Direction: p.GetDirection(), Source: p.GetSource(), SourceID: p.GetSourceId(), Destination: p.GetDestination(),
		DestinationID: p.GetDestinationId(), Service: p.GetService(), Route: p.GetRoute(), Protocol: p.GetProtocol(),
		TLS: p.GetTls(), Version: p.GetVersion(),
	}
}
