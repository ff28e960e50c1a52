// Package message is the one HTTP message that both codecs read and write, so that every feature above
// them works for HTTP/1.1, HTTP/2, gRPC and WebSocket alike (RFC 9110, section 6).
//
// A Head is used by one goroutine or coroutine at a time. Its strings are borrowed: they are valid until
// Reset, and whoever keeps one longer clones it.
package message
