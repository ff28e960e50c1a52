package route

import (
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// parameter decides on the first query parameter of the pattern's name (Gateway API, HTTPQueryParamMatch).
func (p *valuePattern) parameter(query string) bool { return p.hasParameter(query) != p.not }

func (p *valuePattern) hasParameter(query string) bool {
	raw, ok := queryRaw(query, p.name)
	if !ok {
		return false
	}
	switch p.kind {
	case model.Present:
		return true
	case model.Regex:
		return p.re.MatchString(decode(raw))
	case model.TextPrefix:
		return matchDecoded(raw, p.value, true)
	}
	return equalDecoded(raw, p.value)
}

// queryRaw returns the still encoded value of the first parameter of that name.
func queryRaw(query, name string) (string, bool) {
	for query != "" {
		var pair string
		pair, query, _ = strings.Cut(query, "&")
		key, value, _ := strings.Cut(pair, "=")
		if pair != "" && equalDecoded(key, name) {
			return value, true
		}
	}
	return "", false
}

// equalDecoded reports whether raw, decoded, is want. It does not allocate.
func equalDecoded(raw, want string) bool { return matchDecoded(raw, want, false) }

// matchDecoded is equalDecoded, or reports whether raw, decoded, begins with want.
func matchDecoded(raw, want string, prefix bool) bool {
	n := 0
	for i := 0; i < len(raw); n++ {
		if prefix && n == len(want) {
			return true
		}
		c, width := decodeByte(raw[i:])
		if n >= len(want) || want[n] != c {
			return false
		}
		i += width
	}
	return n == len(want)
}

// decode undoes application/x-www-form-urlencoded. What is not a valid escape stands for itself.
func decode(raw string) string {
	if !strings.ContainsAny(raw, "%+") {
		return raw
	}
	var b strings.Builder
	for i := 0; i < len(raw); {
		c, width := decodeByte(raw[i:])
		b.WriteByte(c)
		i += width
	}
	return b.String()
}

func decodeByte(s string) (c byte, width int) {
	switch {
	case s[0] == '+':
		return ' ', 1
	case s[0] == '%' && len(s) > 2:
		hi, lo := hex(s[1]), hex(s[2])
		if hi < 16 && lo < 16 {
			return hi<<4 | lo, 3
		}
	}
	return s[0], 1
}

func hex(c byte) byte {
	switch {
	case c-'0' < 10:
		return c - '0'
	case c|0x20-'a' < 6:
		return c | 0x20 - 'a' + 10
	}
	return 255
}
