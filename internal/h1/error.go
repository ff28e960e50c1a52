package h1

import (
	"errors"
	"strconv"
)

// Error is why a message was refused.
type Error struct {
	// Status answers the sender of a request: 400, 414, 417, 431, 501 or 505. It is 502 for a response,
	// and 400 or 431 from a ChunkReader, which does not know which of them it reads.
	Status int
	// Reason fits a log and a response. It has at most 64 bytes of the input, and those quoted.
	Reason string
}

// Error returns the reason.
func (e *Error) Error() string { return "http/1: " + e.Reason }

// errMore is internal: the bytes so far are a valid beginning.
var errMore = errors.New("need more bytes")

// maxQuoted bounds the input repeated in a reason, in bytes.
const maxQuoted = 64

// quote returns at most maxQuoted bytes of the input in a form that is safe to log.
func quote(s string) string {
	if len(s) > maxQuoted {
		return strconv.QuoteToASCII(s[:maxQuoted]) + "..."
	}
	return strconv.QuoteToASCII(s)
}

// quoteByte returns one byte of the input in a form that is safe to log.
func quoteByte(c byte) string { return strconv.QuoteToASCII(string([]byte{c})) }
