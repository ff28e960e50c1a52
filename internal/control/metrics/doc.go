// Package metrics keeps what proxies report for some minutes, and answers questions about a window of it.
//
// Reports carry counters since the proxy's start. For each series a ring of samples is kept, so that a
// window is the difference of two. A proxy that began anew is another node, so that nothing is counted twice
// or missed. Safe for concurrent use.
//
// Limits: MaxSeries series in all; samples every 2 s for 10 minutes; series that have not changed for 20
// minutes are dropped.
package metrics
