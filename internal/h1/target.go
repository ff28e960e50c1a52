package h1

import "net/netip"

// setTarget takes the request target apart (RFC 9112, section 3.2).
func (p *parser) setTarget(t string) error {
	h := p.h
	switch {
	case h.Method == "CONNECT":
		if !validAuthority(t, true) {
			return p.fail(400, "CONNECT target is not host:port: "+quote(t))
		}
		h.Authority = t
		return nil
	case t[0] == '/':
		h.Path = t
	case t == "*":
		if h.Method != "OPTIONS" {
			return p.fail(400, `target "*" with a method other than OPTIONS`)
		}
		h.Path = "*"
		return nil
	default:
		if err := p.absolute(t); err != nil {
			return err
		}
	}
	if !validEscapes(h.Path) {
		return p.fail(400, "bad percent-encoding in the path "+quote(h.Path))
	}
	return nil
}

// absolute reads "http://authority/path", whose path may be missing.
func (p *parser) absolute(t string) error {
	h := p.h
	var rest string
	switch {
	case len(t) > 7 && foldEqual(t[:7], "http://"):
		h.Scheme, rest = "http", t[7:]
	case len(t) > 8 && foldEqual(t[:8], "https://"):
		h.Scheme, rest = "https", t[8:]
	default:
		return p.fail(400, "bad request target "+quote(t))
	}
	end := 0
	for end < len(rest) && rest[end] != '/' && rest[end] != '?' {
		end++
	}
	h.Authority = rest[:end]
	if h.Authority == "" || !validAuthority(h.Authority, false) {
		return p.fail(400, "bad authority "+quote(h.Authority))
	}
	switch rest = rest[end:]; {
	case rest == "" && h.Method == "OPTIONS":
		h.Path = "*"
	case rest == "":
		h.Path = "/"
	case rest[0] == '?':
		// Rare enough to pay for a copy.
		h.Path = "/" + rest
	default:
		h.Path = rest
	}
	return nil
}

// setAuthority makes Host the authority, or compares it with the target's.
func (p *parser) setAuthority() error {
	h := p.h
	if p.hosts == 0 {
		return nil
	}
	if p.host != "" && !validAuthority(p.host, false) {
		return p.fail(400, "bad Host "+quote(p.host))
	}
	switch {
	case h.Method == "CONNECT": // the target is the authority; clients differ about the port in Host
	case h.Authority == "":
		h.Authority = p.host
	case !sameAuthority(h.Scheme, h.Authority, p.host):
		return p.fail(400, "request target and Host disagree: "+quote(h.Authority))
	}
	return nil
}

// sameAuthority compares host and port, the scheme's default port being the same as none.
func sameAuthority(scheme, a, b string) bool {
	port := ":80"
	if scheme == "https" {
		port = ":443"
	}
	return foldSame(cutSuffix(a, port), cutSuffix(b, port))
}

func cutSuffix(s, suffix string) string {
	if len(s) > len(suffix) && s[len(s)-len(suffix):] == suffix {
		return s[:len(s)-len(suffix)]
	}
	return s
}

func foldSame(a, b string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range len(a) {
		if a[i] != b[i] && (lowerToken[a[i]] == 0 || lowerToken[a[i]] != lowerToken[b[i]]) {
			return false
		}
	}
	return true
}

// validAuthority checks host[:port]. The host is a registered name, an IPv4 address or a bracketed IPv6
// address without zone; user information is refused (RFC 9110, section 4.2.4).
func validAuthority(s string, needPort bool) bool {
	n := 0
	if s != "" && s[0] == '[' {
		for n < len(s) && s[n] != ']' {
			n++
		}
		if n == len(s) {
			return false
		}
		ip, err := netip.ParseAddr(s[1:n])
		if err != nil || !ip.Is6() || ip.Zone() != "" {
			return false
		}
		n++
	} else {
		for n < len(s) && hostByte[s[n]] {
			n++
		}
	}
	if n == 0 {
		return false
	}
	if n == len(s) {
		return !needPort
	}
	return s[n] == ':' && validPort(s[n+1:])
}

func validPort(s string) bool {
	n := 0
	for i := range len(s) {
		d := s[i] - '0'
		if d > 9 || i == 5 {
			return false
		}
		n = n*10 + int(d)
	}
	return s != "" && n <= 65535
}

// validEscapes checks the percent-encoding of the path. The query is opaque.
func validEscapes(path string) bool {
	for i := 0; i < len(path); i++ {
		switch path[i] {
		case '?':
			return true
		case '%':
			if i+2 >= len(path) || !isHex(path[i+1]) || !isHex(path[i+2]) {
				return false
			}
			i += 2
		}
	}
	return true
}

func isHex(c byte) bool {
	return c-'0' <= 9 || (c|0x20)-'a' <= 5
}
