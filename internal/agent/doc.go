// Package agent is weft-proxy around the engine: identity, configuration stream, registration of the
// program it serves, reports, name service, and the admin endpoint.
//
// Each part is a Run(ctx) under one errgroup; they meet in Agent. The end comes in this order: the endpoint
// is deregistered, the engine drains, everything else stops.
//
// Limits: the admin endpoint serves its socket's owner; reports are sent once a second and hold what
// changed; at most 1,000 tap events wait to be sent, the rest is dropped and counted; leases of rate limits are asked for
// 1,024 in a call and 4 calls at a time.
package agent
