package h1

import (
	"strconv"

	"github.com/weft-mesh/weft/internal/message"
)

// AppendRequest appends the head of a request to dst, always in origin-form (but for CONNECT and "*"),
// as HTTP/1.1, names in lower case. It writes Host from Authority, Content-Length from Length when body is
// Length, Transfer-Encoding when it is Chunked, and Connection and Upgrade when Protocol is set (an
// extended CONNECT of RFC 8441 becomes a GET; what else its protocol wants is the caller's). With NoBody it
// declares a length of 0 where that was declared or the method suggests content (RFC 9110, section 8.6).
//
// The head may come from another codec and is not trusted. Fields with a bad name or value and fields that
// belong to a connection are left out. When Method, Authority, Path or Protocol has a byte that could
// begin another line or token, nothing is appended: the result has dst's length, and the caller answers 400.
func AppendRequest(dst []byte, h *message.Head, body BodyKind) []byte {
	method, path := h.Method, h.Path
	switch {
	case method == "CONNECT" && h.Protocol != "":
		method = "GET"
	case method == "CONNECT":
		path = h.Authority
	}
	if path == "" {
		path = "/"
	}
	if !validToken(method) || !validTarget(path) || !validHost(h.Authority) || !validProtocol(h.Protocol) {
		return dst
	}
	dst = append(dst, method...)
	dst = append(dst, ' ')
	dst = append(dst, path...)
	dst = append(dst, " HTTP/1.1\r\nhost: "...)
	dst = append(dst, h.Authority...)
	dst = append(dst, "\r\n"...)
	dst, hasTE := appendFields(dst, h.Fields)
	switch {
	case body == Length:
		dst = appendLength(dst, h.Length)
	case body == Chunked:
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	case method != "CONNECT" && (h.Length == 0 || method == "POST" || method == "PUT" || method == "PATCH"):
		dst = append(dst, "content-length: 0\r\n"...)
	}
	switch {
	case hasTE && h.Protocol != "":
		dst = append(dst, "te: trailers\r\nconnection: te, upgrade\r\n"...)
	case hasTE:
		dst = append(dst, "te: trailers\r\nconnection: te\r\n"...)
	case h.Protocol != "":
		dst = append(dst, "connection: upgrade\r\n"...)
	}
	return appendUpgrade(dst, h.Protocol)
}

// AppendResponse appends the head of a response to dst, as HTTP/1.1, names in lower case. It writes
// Content-Length from Length when body is Length, and with NoBody where a length is declared and the status
// allows it: so a response that is merely empty needs Length 0, and one to HEAD says what GET would give.
// It writes Transfer-Encoding when body is Chunked, which an HTTP/1.0 client does not understand: use
// UntilClose there. It writes "Connection: close" when asked to and always for UntilClose, and Connection
// and Upgrade for 101 with a Protocol.
//
// Fields are left out as by AppendRequest. Nothing is appended for a status outside 100..999 or a bad Protocol.
func AppendResponse(dst []byte, h *message.Head, body BodyKind, close bool) []byte {
	if h.Status < 100 || h.Status > 999 || !validProtocol(h.Protocol) {
		return dst
	}
	dst = appendStatusLine(dst, h.Status)
	dst, _ = appendFields(dst, h.Fields)
	bare := h.Status < 200 || h.Status == 204
	switch {
	case bare: // RFC 9110, section 8.6 and RFC 9112, section 6.1: neither may be sent
	case body == Length, body == NoBody && h.Length >= 0:
		dst = appendLength(dst, h.Length)
	case body == Chunked:
		dst = append(dst, "transfer-encoding: chunked\r\n"...)
	}
	switch {
	case h.Status == 101 && h.Protocol != "":
		dst = append(dst, "connection: upgrade\r\n"...)
		return appendUpgrade(dst, h.Protocol)
	case close || body == UntilClose:
		dst = append(dst, "connection: close\r\n"...)
	}
	return append(dst, "\r\n"...)
}

// appendUpgrade ends the head, with Upgrade if there is a protocol.
func appendUpgrade(dst []byte, protocol string) []byte {
	if protocol != "" {
		dst = append(dst, "upgrade: "...)
		dst = append(dst, protocol...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}

func appendLength(dst []byte, n int64) []byte {
	dst = append(dst, "content-length: "...)
	dst = strconv.AppendInt(dst, max(n, 0), 10)
	return append(dst, "\r\n"...)
}

// appendFields appends those fields that may go on the wire and reports whether "te: trailers" is among
// them; it is left to the caller, because Connection must nominate it.
func appendFields(dst []byte, fields []message.Field) (_ []byte, hasTE bool) {
	for i := range fields {
		f := &fields[i]
		switch sendable(f.Name) {
		case kindTe:
			hasTE = hasTE || f.Value == "trailers"
		case kindPlain:
			if validValue(f.Value) {
				dst = append(dst, f.Name...)
				dst = append(dst, ": "...)
				dst = append(dst, f.Value...)
				dst = append(dst, "\r\n"...)
			}
		}
	}
	return dst, hasTE
}

// sendable returns kindPlain for a name that may be sent, kindTe for "te" and kindDrop for one that may not.
func sendable(name string) kind {
	if name == "" {
		return kindDrop
	}
	for i := range len(name) {
		// Upper case has no business in a Head, and would hide a name from the comparison below.
		if c := name[i]; lowerToken[c] != c || c == 0 {
			return kindDrop
		}
	}
	switch name {
	case "host", "content-length", "transfer-encoding", "connection", "keep-alive", "proxy-connection", "upgrade":
		return kindDrop
	case "te":
		return kindTe
	}
	return kindPlain
}

func validTarget(s string) bool {
	for i := range len(s) {
		if !targetByte[s[i]] {
			return false
		}
	}
	return true
}

// validHost keeps out what would end the line; what hosts are made of was the reading codec's to check.
func validHost(s string) bool {
	for i := range len(s) {
		if c := s[i]; !hostByte[c] && c != ':' && c != '[' && c != ']' {
			return false
		}
	}
	return true
}

func validProtocol(s string) bool {
	for i := range len(s) {
		if lowerToken[s[i]] == 0 && s[i] != '/' {
			return false
		}
	}
	return true
}
