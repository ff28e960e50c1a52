// Package config turns resources into the mesh: ParseSet reads and checks documents, Compile joins them
// with what is registered, Scope cuts out what one proxy runs.
//
// All of it is pure: the same input gives the same output, byte for byte, whatever the order of the input,
// so that apply, explain, diff and dry runs can call the same functions. Nothing here does I/O, reads a
// clock or keeps state; every value returned is immutable and may be shared between goroutines.
//
// Limits are those of package document, and of the Gateway API's schema.
package config
