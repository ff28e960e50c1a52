// Package envoyrpc encodes and decodes the few messages by which a proxy asks a service about a request before it is
// forwarded: those of Envoy's rate-limit service (envoy.service.ratelimit.v3) and of its external authorization
// (envoy.service.auth.v3), in protobuf's wire format, and the prefix of a message of gRPC.
//
// It is written by hand so that weft-proxy links no protobuf library; its tests hold it against the generated types.
// Everything is pure: no I/O, no state, safe for concurrent use.
//
// Bounds: the caller bounds a message (MaxMessage); a message of n bytes costs memory in proportion to n. Groups, which
// protobuf has given up, may be nested 100 deep. What a decoder returns owns its bytes.
package envoyrpc
