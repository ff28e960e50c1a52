// Package proxy is the engine: the data path of every placement.
//
// One request, in file order: listener.go accepts, detect.go finds the protocol, exchange.go is the flow
// (route, forward, respond, observe), upstream.go picks an endpoint and opens a stream to it, observe.go
// records what happened. tcp.go is the same for opaque bytes. stream.go is what the flow sees of a
// connection; http1.go and http2.go are its two forms, mesh.go the transport between proxies.
//
// Concurrency: an Engine has one worker for each event loop, and everything a connection touches belongs
// to one worker: no locks, no atomics. Apply and the other methods of Engine may be called from any
// goroutine; they post to the workers.
//
// Limits: connections (Options.MaxConnections), heads (64 KiB, 200 fields), streams for each HTTP/2
// connection (1,000), bytes queued for a slow peer (256 KiB a connection), idle connections for each
// endpoint (128), content kept for a retry (64 KiB). Beyond them the answer is a clear error, counted.
package proxy
