// Package model is the mesh as plain values: identities, services, endpoints, routing rules, and the
// Snapshot one proxy runs.
//
// Every value here is immutable once published: the compiler builds it, everyone else reads it, so all
// of it may be shared between goroutines without locks. Nothing in it does I/O or reads a clock.
// The package imports the standard library only; its JSON form is what `weft proxy-config dump` writes
// and `weft-proxy --snapshot` reads, and round trips without loss.
package model
