package proxy

import (
	"github.com/weft-mesh/weft/internal/message"
)

// receiver delivers one message: head, content, trailers. All but Buffered and Done may park.
type receiver interface {
	// Head returns the next head: informational responses come first, each as a head of its own. It is
	// valid until the stream is finished, an informational one until the next call.
	Head() (*message.Head, error)
	// Data returns the next piece of content, valid until the next call; io.EOF at its end, after which
	// Trailers are known.
	Data() ([]byte, error)
	Trailers() []message.Field
	// Buffered reports whether Data would return without parking.
	Buffered() bool
	// Done reports that the content has ended and there are no trailers.
	Done() bool
	// StopReceiving makes a Data that waits, and every later one, fail with errStopped.
	StopReceiving()
}

// sender sends one message. All but Flush may park while the peer takes nothing.
type sender interface {
	SendHead(h *message.Head, end bool) error
	SendData(p []byte, end bool) error
	SendTrailers(t []message.Field) error // ends the message
	// Flush hands on what was held back to leave together with what follows.
	Flush() error
}

// stream is one side of an exchange: an HTTP/1.1 connection while it carries one, an HTTP/2 stream, or a
// TCP connection seen as a message without end. As a server's stream it receives the request and sends the
// response; as a client's the other way round.
type stream interface {
	receiver
	sender
	// Answered reports that an answer may be here, so that Head is worth a call though sending failed: a server
	// may answer and give the rest of the request up (RFC 9113, section 8.1; RFC 9112, section 9.6).
	Answered() bool
	// Abort ends the stream at once, both ways, and tells the peer that something is missing.
	Abort(reason abortReason)
	// Finish ends a use of the stream: what can be reused is, everything borrowed from it ends.
	Finish()
	// OnGone runs f on the loop, once, when the peer is known to have given up. nil takes it back.
	OnGone(f func())
	// HTTP2 reports the version: some heads are written differently.
	HTTP2() bool
}

// abortReason says why a stream is cut, as far as HTTP/2 can tell the peer.
type abortReason uint8

const (
	abortInternal abortReason = iota // we failed
	abortCancel                      // nobody wants the answer any more
	abortRefused                     // not processed at all: safe to try elsewhere
	abortNoError                     // the response is complete; the rest of the request is not wanted
)
