// Package h2 is the HTTP/2 codec (RFC 9113, RFC 7541, RFC 8441) and the state of one connection: bytes in,
// events out; messages in, bytes out. It does no I/O, has no clock, no goroutine and no lock.
//
// A Conn and its Streams belong to one owner at a time. The owner hands what it reads to Receive, gets
// events through Handler, calls the Send methods, and writes Output when it likes, once per turn of an
// event loop say.
//
// Frames are parsed by hand, in place; header compression is the package hpack below.
//
// Limits, each answered as the RFC has it:
//
//	frame                16 KiB (FRAME_SIZE_ERROR)
//	header list          Config.HeadBytes decoded (Stream.TooLarge), the block as much again (ENHANCE_YOUR_CALM)
//	CONTINUATION frames  32 for each header block (ENHANCE_YOUR_CALM)
//	streams              Config.MaxStreams opened by the peer (REFUSED_STREAM)
//	windows              Config.StreamWindow and ConnWindow (FLOW_CONTROL_ERROR)
//	control output       Config.MaxOutput bytes not yet written (ENHANCE_YOUR_CALM)
//	abuse                frames that cost us and carry no work count up, work counts down; see abuse.go
//	                     (ENHANCE_YOUR_CALM)
package h2
