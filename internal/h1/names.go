package h1

// kind says what a field means to the codec.
type kind uint8

const (
	kindPlain      kind = iota // goes to Head.Fields
	kindDrop                   // belongs to the connection and says nothing we need
	kindHost                   // Head.Authority
	kindLength                 // Head.Length
	kindEncoding               // Transfer-Encoding
	kindConnection             // Connection
	kindUpgrade                // Upgrade
	kindTe                     // TE
	kindExpect                 // Expect: in Fields and in Framing
)

// knownName returns the constant for a common field name in lower case, so that it need not be copied,
// or "" and kindPlain.
func knownName(b []byte) (string, kind) {
	switch string(b) {
	case "host":
		return "host", kindHost
	case "content-length":
		return "content-length", kindLength
	case "transfer-encoding":
		return "transfer-encoding", kindEncoding
	case "connection":
		return "connection", kindConnection
	case "keep-alive":
		return "keep-alive", kindDrop
	case "proxy-connection":
		return "proxy-connection", kindDrop
	case "upgrade":
		return "upgrade", kindUpgrade
	case "te":
		return "te", kindTe
	case "expect":
		return "expect", kindExpect
	}
	return commonName(b), kindPlain
}

func commonName(b []byte) string {
	switch string(b) {
	case "accept":
		return "accept"
	case "accept-encoding":
		return "accept-encoding"
	case "accept-language":
		return "accept-language"
	case "authorization":
		return "authorization"
	case "cache-control":
		return "cache-control"
	case "content-encoding":
		return "content-encoding"
	case "content-type":
		return "content-type"
	case "cookie":
		return "cookie"
	case "date":
		return "date"
	case "etag":
		return "etag"
	case "end-user":
		return "end-user"
	case "last-modified":
		return "last-modified"
	case "location":
		return "location"
	case "origin":
		return "origin"
	case "referer":
		return "referer"
	case "server":
		return "server"
	case "set-cookie":
		return "set-cookie"
	case "traceparent":
		return "traceparent"
	case "tracestate":
		return "tracestate"
	case "user-agent":
		return "user-agent"
	case "vary":
		return "vary"
	case "x-b3-traceid":
		return "x-b3-traceid"
	case "x-forwarded-for":
		return "x-forwarded-for"
	case "x-forwarded-proto":
		return "x-forwarded-proto"
	case "x-request-id":
		return "x-request-id"
	}
	return ""
}

// knownMethod returns the constant for a common method, or "".
func knownMethod(b []byte) string {
	switch string(b) {
	case "GET":
		return "GET"
	case "POST":
		return "POST"
	case "PUT":
		return "PUT"
	case "DELETE":
		return "DELETE"
	case "HEAD":
		return "HEAD"
	case "PATCH":
		return "PATCH"
	case "OPTIONS":
		return "OPTIONS"
	case "CONNECT":
		return "CONNECT"
	case "TRACE":
		return "TRACE"
	}
	return ""
}

// endToEnd reports fields that are for all recipients. Connection must not nominate them (RFC 9110,
// section 7.6.1); where it does, removing them would let a client strip what later hops rely on, so the
// nomination is ignored.
func endToEnd(name string) bool {
	switch name {
	case "age", "authorization", "cache-control", "content-encoding", "content-location", "content-range",
		"content-type", "cookie", "date", "etag", "expect", "expires", "forwarded", "if-match", "if-modified-since",
		"if-none-match", "if-range", "if-unmodified-since", "last-modified", "location", "max-forwards", "origin",
		"pragma", "proxy-authenticate", "proxy-authorization", "range", "set-cookie", "trailer", "traceparent",
		"tracestate", "vary", "via", "www-authenticate", "x-forwarded-for", "x-forwarded-host",
		"x-forwarded-proto", "x-forwarded-client-cert", "x-real-ip", "x-request-id":
		return true
	}
	return false
}
