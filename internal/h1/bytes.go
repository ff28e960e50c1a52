package h1

import (
	"encoding/binary"
	"math/bits"
	"unsafe"
)

// The tables are read-only. An entry of lowerToken is the byte itself in lower case if it is a tchar
// (RFC 9110, section 5.6.2), else 0.
var (
	lowerToken = makeLowerToken()
	targetByte = makeTargetByte()
	hostByte   = makeHostByte()
)

func makeLowerToken() (t [256]byte) {
	for _, c := range []byte("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyz") {
		t[c] = c
	}
	for c := byte('A'); c <= 'Z'; c++ {
		t[c] = c + 'a' - 'A'
	}
	return t
}

// A request target ends at a space; a fragment never goes on the wire (RFC 9112, section 3.2).
func makeTargetByte() (t [256]bool) {
	for c := range t {
		t[c] = c > ' ' && c != 0x7f && c != '#'
	}
	return t
}

// unreserved and sub-delims of RFC 3986 without the comma, which a list would split, and without
// percent-encoding, which no host in use has and parsers decode differently.
func makeHostByte() (t [256]bool) {
	for _, c := range []byte("-._~!$&'()*+;=0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ") {
		t[c] = true
	}
	return t
}

const (
	ones  = 0x0101010101010101
	highs = 0x8080808080808080
)

// valueEnd returns the index of the first byte at or after i that cannot be in a field value (a control
// other than HTAB, or DEL: RFC 9110, section 5.5), or len(b). It looks at 8 bytes at a time.
func valueEnd(b []byte, i int) int {
	for len(b)-i >= 8 {
		x := binary.LittleEndian.Uint64(b[i:])
		del := x ^ 0x7f*ones
		// The lowest mark is exact; a borrow can only mark bytes above a true one.
		m := ((x-0x20*ones)&^x | (del-ones)&^del) & highs
		if m == 0 {
			i += 8
			continue
		}
		i += bits.TrailingZeros64(m) >> 3
		if b[i] != '\t' {
			return i
		}
		i++
	}
	for i < len(b) && (b[i] >= ' ' && b[i] != 0x7f || b[i] == '\t') {
		i++
	}
	return i
}

func validValue(s string) bool { return valueEnd(bytesOf(s), 0) == len(s) }

func validToken(s string) bool {
	for i := range len(s) {
		if lowerToken[s[i]] == 0 {
			return false
		}
	}
	return s != ""
}

// view makes a string of b's own bytes; it lives as long as they stay unchanged.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// bytesOf is the reverse of view; the result is for reading only.
func bytesOf(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// trim cuts optional whitespace (RFC 9110, section 5.6.3) off both ends.
func trim(s string) string {
	for s != "" && (s[0] == ' ' || s[0] == '\t') {
		s = s[1:]
	}
	for s != "" && (s[len(s)-1] == ' ' || s[len(s)-1] == '\t') {
		s = s[:len(s)-1]
	}
	return s
}

// foldEqual compares s with a string in lower case, A-Z folded.
func foldEqual(s, lower string) bool {
	if len(s) != len(lower) {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		if c != lower[i] {
			return false
		}
	}
	return true
}

// nextItem cuts the first item off a comma-separated list and trims it.
func nextItem(list string) (item, rest string) {
	for i := range len(list) {
		if list[i] == ',' {
			return trim(list[:i]), list[i+1:]
		}
	}
	return trim(list), ""
}
