package h2

// Byte classes of RFC 9110, section 5.
var (
	nameBytes = classOf("abcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")
	tokenByte = classOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789!#$%&'*+-.^_`|~")
	hostBytes = classOf("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~%!$&'()*+,;=:[]")
)

func classOf(s string) (t [256]bool) {
	for i := range len(s) {
		t[s[i]] = true
	}
	return t
}

func all(s string, class *[256]bool) bool {
	for i := range len(s) {
		if !class[s[i]] {
			return false
		}
	}
	return true
}

func validName(s string) bool      { return all(s, &nameBytes) }
func validToken(s string) bool     { return s != "" && all(s, &tokenByte) }
func validAuthority(s string) bool { return all(s, &hostBytes) }

// validPath accepts origin-form, and "*" for OPTIONS (RFC 9113, section 8.3.1).
func validPath(s, method string) bool {
	if s == "*" {
		return method == "OPTIONS"
	}
	if s == "" || s[0] != '/' {
		return false
	}
	for i := range len(s) {
		if s[i] <= ' ' || s[i] == 0x7f || s[i] == '#' {
			return false
		}
	}
	return true
}

// validValue refuses what RFC 9113, section 8.2.1 refuses: NUL, CR, LF, and spaces at the ends; and the other
// controls, which RFC 9110 does not allow either.
func validValue(s string) bool {
	if s == "" {
		return true
	}
	if first, last := s[0], s[len(s)-1]; first == ' ' || first == '\t' || last == ' ' || last == '\t' {
		return false
	}
	for i := range len(s) {
		if c := s[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

func connectionSpecific(name string) bool {
	switch name {
	case "connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade":
		return true
	}
	return false
}

// sendableName tells names that may go out: no connection-specific ones, no host, which is :authority.
func sendableName(name string) bool {
	return name != "" && validName(name) && !connectionSpecific(name) && name != "host"
}

// parseLength reads a content-length: digits alone, at most 2^62.
func parseLength(s string) (int64, bool) {
	if s == "" || len(s) > 18 {
		return 0, false
	}
	var n int64
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int64(s[i]-'0')
	}
	return n, true
}
