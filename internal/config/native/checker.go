package native

import (
	"errors"
	"fmt"
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
)

// Position is where something was written.
type Position = gateway.Position

// checker collects the problems of one document.
type checker struct {
	doc      *document.Document
	problems document.Problems
	global   []Position // see Policy.Global
}

func (c *checker) add(f *document.Field, message, remedy string) {
	c.problems = append(c.problems, c.doc.Problem(f, message).With(remedy))
}

// addKey is add for a problem of the field itself, not of its value.
func (c *checker) addKey(f *document.Field, message, remedy string) {
	c.problems = append(c.problems, c.doc.KeyProblem(f, message).With(remedy))
}

func (c *checker) warn(f *document.Field, message, remedy string) {
	c.problems = append(c.problems, c.doc.KeyProblem(f, message).With(remedy).AsWarning())
}

func (c *checker) position(f *document.Field) Position {
	p := c.doc.Problem(f, "")
	return Position{Line: p.Line, Column: p.Column, Field: p.Field}
}

// integer returns otherwise when p is not there, or not from lo to hi.
func (c *checker) integer(p *int64, lo, hi, otherwise int64, f *document.Field) int {
	switch {
	case p == nil:
		return int(otherwise)
	case *p < lo || *p > hi:
		c.add(f, fmt.Sprintf("wants an integer %d to %d, has %d", lo, hi, *p), "")
		return int(otherwise)
	}
	return int(*p)
}

// enum returns the value, the first of the known ones when it is "".
func (c *checker) enum(s string, known []string, f *document.Field) string {
	if s == "" && !c.doc.Has(f) || slices.Contains(known, s) {
		if s == "" {
			return known[0]
		}
		return s
	}
	c.add(f, fmt.Sprintf("unknown value %q", clip(s)), document.DidYouMean(s, known))
	return known[0]
}

func (c *checker) atMost(n, most int, what string, f *document.Field) bool {
	if n > most {
		c.add(f, fmt.Sprintf("has %d %s, at most %d are allowed", n, what, most), "")
	}
	return n <= most
}

// one reports whether exactly one of the fields of f is there, and is a problem when not.
func (c *checker) one(f *document.Field, names ...string) bool {
	var have []string
	for _, n := range names {
		if c.doc.Has(f.Key(n)) {
			have = append(have, n)
		}
	}
	switch {
	case len(have) == 0:
		c.add(f, "has none of "+strings.Join(names, ", "), "write one of them")
	case len(have) > 1:
		c.addKey(f.Key(have[1]), fmt.Sprintf("stands beside %s, and only one of %s may be there", have[0], strings.Join(names, ", ")), "remove one of them")
	}
	return len(have) == 1
}

// flag wants a boolean that chooses one of several to be true.
func (c *checker) flag(b bool, f *document.Field) {
	if !b && c.doc.Has(f) {
		c.add(f, "wants true", "write true, or remove it")
	}
}

// token wants a name of a header or cookie (RFC 9110, section 5.6.2) of at most 256 bytes.
func (c *checker) token(s, what string, f *document.Field) bool {
	switch {
	case s == "":
		c.add(f, "is missing or empty", "write the name of the "+what)
		return false
	case len(s) > 256:
		c.add(f, fmt.Sprintf("has %d bytes, at most 256 are allowed", len(s)), "")
		return false
	}
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("!#$%&'*+-.^_`|~", s[i]) < 0 {
			c.add(f, fmt.Sprintf("%q has %q, which no name of a %s has", clip(s), s[i:i+1], what), "write letters, digits and !#$%&'*+-.^_`|~ only")
			return false
		}
	}
	return true
}

// cookiePath wants the path of a cookie (RFC 6265, section 4.1.1); "" is right.
func (c *checker) cookiePath(s string, f *document.Field) {
	switch {
	case s == "":
	case !strings.HasPrefix(s, "/"):
		c.add(f, fmt.Sprintf("%q does not begin with \"/\"", clip(s)), "paths are absolute")
	case len(s) > 1024:
		c.add(f, fmt.Sprintf("has %d bytes, at most 1024 are allowed", len(s)), "")
	case strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > '~' || r == ';' }):
		c.add(f, fmt.Sprintf("%q has a character that no path of a cookie has", clip(s)), "leave out semicolons and what is not ASCII")
	}
}

func (c *checker) regexp(s string, f *document.Field) {
	const remedy = "the syntax is RE2: no lookaround, no backreferences"
	_, err := regexp.Compile(s)
	if err == nil {
		return
	}
	message := err.Error()
	if bad, ok := errors.AsType[*syntax.Error](err); ok {
		message = fmt.Sprintf("%s: %q", bad.Code, clip(bad.Expr))
	}
	c.add(f, fmt.Sprintf("regular expression %q does not compile: %s", clip(s), message), remedy)
}

func isAlnum(b byte) bool {
	return b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= '0' && b <= '9'
}

// clip bounds what a message quotes.
func clip(s string) string {
	const most = 80
	if len(s) > most {
		return s[:most] + "..."
	}
	return s
}
