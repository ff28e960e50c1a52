// Package config turns resources into the mesh: ParseSet reads and checks documents, Compile joins them
// with what is registered, Scope cuts out what one proxy runs. ParseStandalone and CompileStandalone do all of
// it for a gateway without a control plane, from documents alone.
//
// All of it is pure: the same input gives the same output, byte for byte, whatever the order of the input,
// so that apply, explain, diff and dry runs can call the same functions. Nothing here reads a clock or keeps
// state, or does I/O but by StandaloneInput.ReadFile; every value returned is immutable and may be shared between goroutines.
//
// Limits are those of package document, and of the Gateway API's schema.
package config
