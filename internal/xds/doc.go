// Package xds carries configuration from the control plane to proxies: the conversion between
// model.Snapshot and its wire form, the delta server that the control plane runs, and the client that
// a proxy runs. The transport is the incremental one of the xDS protocol (nonces, ACK and NACK, a version
// per resource); the resources are Weft's own. Protobuf stops here.
//
// A Server and a Client may be used by any number of goroutines. All of a server's streams share one lock,
// under which it is decided, at publish time, which proxies a new revision concerns; nothing blocks while
// it is held. A client applies one response at a time and acknowledges it only after Apply returned.
//
// Limits: names subscribed per stream (maxStreamNames), bytes per message (maxRequestBytes,
// maxResponseBytes), on demand subscriptions per client (ClientOptions.MaxSubscriptions).
package xds
