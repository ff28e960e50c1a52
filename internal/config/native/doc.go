// Package native reads Weft's own kinds. So far there is one: TrafficPolicy of weft.dev/v1alpha1, which says how
// requests are protected (timeouts, retries, hedging, faults, rate limits, sessions) and how the endpoints of a
// Service are reached (limits, ejection, health checks, balancing). It attaches to a Service, a route or a Gateway
// as GEP-713 and GEP-2648 have it.
//
// Reading is strict: an unknown field, a value out of bounds and a field that cannot hold for a target are problems
// with file, line, column and what to write instead. What comes out are values of package model and the targets,
// without syntax trees.
//
// The package does no I/O and keeps no state; its functions may be called by any number of goroutines. Input is
// untrusted: package document bounds its size, the bounds here those of its lists.
package native
