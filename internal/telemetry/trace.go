package telemetry

import (
	"encoding/binary"
	"encoding/hex"

	"github.com/weft-mesh/weft/internal/message"
)

const (
	requestIDField   = "x-request-id"
	maxRequestID     = 128 // bytes of an id that came from outside
	requestIDEntropy = 16  // bytes of one made here
)

// EnsureRequestID returns the request's x-request-id. One that is missing, longer than 128 bytes or not
// printable ASCII is replaced by 32 random hexadecimal digits. The string is borrowed from h.
func (r *Recorder) EnsureRequestID(h *message.Head) string {
	if id := h.Get(requestIDField); usableID(id) {
		return id
	}
	var b [requestIDEntropy]byte
	binary.LittleEndian.PutUint64(b[:8], r.random.Uint64())
	binary.LittleEndian.PutUint64(b[8:], r.random.Uint64())
	var text [2 * requestIDEntropy]byte
	hex.Encode(text[:], b[:])
	id := h.Keep(text[:])
	h.Set(requestIDField, id)
	return id
}

func usableID(s string) bool {
	for i := range len(s) {
		if s[i] <= ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return s != "" && len(s) <= maxRequestID
}

// TraceID returns the trace id of a request in 16 or 32 lower-case hexadecimal digits, or "": from
// traceparent (W3C Trace Context, section 3.2), else from B3 in its single or its multiple header form.
// The string is borrowed from h.
func TraceID(h *message.Head) string {
	// version "-" trace-id "-" parent-id "-" flags; later versions may be longer, ff is invalid.
	if s := h.Get("traceparent"); len(s) >= 55 && s[2] == '-' && s[35] == '-' && s[52] == '-' && s[:2] != "ff" {
		if id := s[3:35]; isHexID(s[:2]+s[36:52]) && isTraceID(id) && (len(s) == 55 || s[:2] != "00" && s[55] == '-') {
			return id
		}
	}
	if s := h.Get("b3"); s != "" {
		for _, n := range []int{32, 16} {
			if len(s) > n && s[n] == '-' && isTraceID(s[:n]) {
				return s[:n]
			}
		}
	}
	if s := h.Get("x-b3-traceid"); (len(s) == 32 || len(s) == 16) && isTraceID(s) {
		return s
	}
	return ""
}

// isTraceID refuses an id of zeros alone, which says that there is none.
func isTraceID(s string) bool {
	zero := true
	for i := range len(s) {
		zero = zero && s[i] == '0'
	}
	return isHexID(s) && !zero
}

func isHexID(s string) bool {
	for i := range len(s) {
		if c := s[i]; c-'0' > 9 && c-'a' > 5 {
			return false
		}
	}
	return true
}
