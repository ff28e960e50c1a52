// Package conformance runs the suites of other projects against the real programs: h2spec, the interoperability
// tests of gRPC, the conformance tests of ConnectRPC, and WebSocket by clients and servers of its own. Each
// goes through a hop, which is a standalone gateway, and where it makes sense through the pair: two sidecars
// of a mesh with mutual TLS between them. `make conformance` runs it; WEFT_BIN names the directory of the
// programs.
package conformance
