// Package document reads sets of YAML and JSON documents and keeps, for everything in them, where it was
// written, so that every message about them names file, line, column and field.
//
// Parse splits a source into documents and checks what all kinds share: apiVersion, kind, metadata.name.
// Decode fills a Go type by its JSON tags and refuses what the type does not know. Both report every
// problem they find, up to a bound, not the first alone.
//
// The package does no I/O but read the readers given to it, keeps no state, and its values may be read by
// any number of goroutines. Input is untrusted: Limits bound its size, its depth and what its aliases
// expand to.
package document
