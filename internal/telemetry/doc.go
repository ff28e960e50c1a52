// Package telemetry is the exactly-once record of a request, TCP connection or session of datagrams, and what is made of it:
// counters, latency histograms, the access log and tap events.
//
// A Recorder, its Series and its Records belong to one event loop and are called from its goroutine only,
// without locks; others reach them by posting a function to the loop. Exposition and the functions on wire
// forms may be called from anywhere. Closing a record neither allocates nor makes a system call unless there
// is an access log or a tap that matches.
//
// Bounds: MaxSeries series per recorder (the rest is counted in one series without labels), 64 KiB of
// access log between two flushes, 32 taps, max_rps events per tap and second.
//
// # Outcome
//
// A failure is: a 5xx; a gRPC status UNKNOWN, DEADLINE_EXCEEDED, INTERNAL, UNAVAILABLE or DATA_LOSS, or
// none at all; no answer or a truncated one; an answer the proxy made because it could not get one. What the
// client caused is a success: other 4xx, and client_gone, a client that left first, before the answer (499) or within. Linkerd's list has
// PERMISSION_DENIED too; here a denial is an answer like 403.
//
// # Access log
//
// One JSON object per line. Fields that do not apply are left out:
//
//	time          when the request began, RFC 3339, UTC, microseconds
//	node          the proxy
//	direction     "outbound" or "inbound"
//	protocol      "http", "grpc", "tcp", "udp"
//	tls           "mutual", "none"
//	request_id    x-request-id
//	trace_id      of traceparent or B3
//	source, source_id, source_address
//	service, port what was asked for
//	destination, destination_id, destination_address, endpoint, version
//	route         the rule that decided
//	method, authority, path, user_agent
//	status, grpc_status
//	failure       flag, see docs/reference/failures.md
//	error         the cause, for people
//	attempts      when more than one
//	checks        services that were asked about it, with what came of that
//	request_bytes, response_bytes
//	request_datagrams, response_datagrams
//	head_ms       until the head of the answer, or the first datagram back
//	duration_ms   until the last byte
//
// Credentials are in neither the log nor tap events: sensitive.go lists what counts as one.
package telemetry
