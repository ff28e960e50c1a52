// Package resilience decides how a service is protected from its clients, and its clients from it: retries and
// their budget, hedging, deadlines, ejection of endpoints that fail, rate limits, and limits of what is in flight.
// It is pure: no clock, no I/O; time and randomness are arguments, so the same decision can be made again to
// explain it. What it decides by is compiled from internal/model ahead of the requests; a decision allocates
// nothing, but for what a new key of a rate limit needs.
//
// Policies (RetryPolicy, HedgePolicy) may be used by any number of goroutines. What counts (Budget, Ejector,
// Checker, Limiter, Leases, Concurrency) belongs to one event loop; a Ledger to one goroutine of the control plane.
//
// Limits: MaxKeys keys in a Limiter, MaxLeases and MaxLedger of a global limit, MaxProxies proxies in an Allocator,
// MaxRetries and MaxHedges of a request.
package resilience
