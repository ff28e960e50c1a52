// Package h1 is the HTTP/1.1 codec (RFC 9110, RFC 9112): bytes to message.Head and back. It does no I/O
// and holds no policy.
//
// It is strict where leniency lets two parsers disagree about where a message ends: one framing per
// message, CRLF only, no folding, no whitespace before the colon, one Host. What belongs to one connection
// (Connection and what it nominates, Keep-Alive, Proxy-Connection, Transfer-Encoding, Upgrade, TE but for
// "trailers") ends in Framing and never reaches the Head. Two things are wider than the grammar, because
// programs depend on them and no ambiguity follows: bytes above 0x7F and the printable characters that
// RFC 3986 excludes are accepted in a path, and a status line may lack the space after the code.
//
// Functions are pure and may run anywhere at once; a ChunkReader and a Head belong to one goroutine.
// Nothing allocates once a Head has grown to its traffic. Work per call is linear in the bytes given,
// and what is kept is bounded by Limits.
package h1
