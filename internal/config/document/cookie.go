package document

import (
	"fmt"
	"strings"
)

// CheckCookieAttribute says what is wrong with an attribute of a cookie (RFC 6265, section 4.1.1), and what to write
// instead; "" if nothing is. Those that the cookie has from elsewhere are wrong.
func CheckCookieAttribute(name, value string) (why, remedy string) {
	odd := func(r rune) bool { return r <= ' ' || r >= 0x7f || strings.ContainsRune(`()<>@,;:\"/[]?={}`, r) }
	switch {
	case name == "" || strings.ContainsFunc(name, odd):
		return fmt.Sprintf("%.64q is no name of an attribute", name), "for example SameSite, Secure or Domain"
	case len(name) > 64 || len(value) > 1024:
		return "has more than 64 bytes of name or 1024 of value", "shorten it"
	case strings.EqualFold(name, "Path"), strings.EqualFold(name, "Max-Age"), strings.EqualFold(name, "HttpOnly"):
		return fmt.Sprintf("the cookie has the attribute %s already", name), "write path and ttl for the first two; the cookie is HttpOnly always"
	case strings.ContainsFunc(value, func(r rune) bool { return r < ' ' || r >= 0x7f || r == ';' }):
		return fmt.Sprintf("%.64q is no value of an attribute", value), "it has no semicolon and no control character"
	}
	return "", ""
}
