package h2

import (
	"errors"
	"fmt"
)

// ErrCode is an error code of RFC 9113, section 7.
type ErrCode uint32

// The error codes.
const (
	ErrCodeNo                 ErrCode = 0x0
	ErrCodeProtocol           ErrCode = 0x1
	ErrCodeInternal           ErrCode = 0x2
	ErrCodeFlowControl        ErrCode = 0x3
	ErrCodeSettingsTimeout    ErrCode = 0x4
	ErrCodeStreamClosed       ErrCode = 0x5
	ErrCodeFrameSize          ErrCode = 0x6
	ErrCodeRefusedStream      ErrCode = 0x7
	ErrCodeCancel             ErrCode = 0x8
	ErrCodeCompression        ErrCode = 0x9
	ErrCodeConnect            ErrCode = 0xa
	ErrCodeEnhanceYourCalm    ErrCode = 0xb
	ErrCodeInadequateSecurity ErrCode = 0xc
	ErrCodeHTTP11Required     ErrCode = 0xd
)

var codeNames = [...]string{
	"NO_ERROR", "PROTOCOL_ERROR", "INTERNAL_ERROR", "FLOW_CONTROL_ERROR", "SETTINGS_TIMEOUT", "STREAM_CLOSED",
	"FRAME_SIZE_ERROR", "REFUSED_STREAM", "CANCEL", "COMPRESSION_ERROR", "CONNECT_ERROR", "ENHANCE_YOUR_CALM",
	"INADEQUATE_SECURITY", "HTTP_1_1_REQUIRED",
}

// String returns the name of section 7, or the number in hexadecimal.
func (c ErrCode) String() string {
	if int(c) < len(codeNames) {
		return codeNames[c]
	}
	return fmt.Sprintf("0x%x", uint32(c))
}

// ConnectionError ends the connection (RFC 9113, section 5.4.1). Its GOAWAY is queued already.
type ConnectionError struct {
	Code   ErrCode
	Reason string
}

func (e *ConnectionError) Error() string { return fmt.Sprintf("HTTP/2 %v: %s", e.Code, e.Reason) }

// StreamError ends one stream (RFC 9113, section 5.4.2). Its RST_STREAM is queued already.
type StreamError struct {
	ID     uint32
	Code   ErrCode
	Reason string
}

func (e *StreamError) Error() string {
	return fmt.Sprintf("HTTP/2 stream %d %v: %s", e.ID, e.Code, e.Reason)
}

// Errors of Open and of the Send methods.
var (
	ErrNoStreams    = errors.New("h2: the peer allows no more concurrent streams")
	ErrGoingAway    = errors.New("h2: the connection is going away")
	ErrIDsExhausted = errors.New("h2: stream identifiers are used up")
	ErrStreamClosed = errors.New("h2: the stream is closed for sending")
	ErrConnClosed   = errors.New("h2: the connection is closed")
)
