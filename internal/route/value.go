package route

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// valuePattern is a condition on one value.
type valuePattern struct {
	name  string
	kind  model.MatchType
	value string
	re    *regexp.Regexp // of Regex
	not   bool
}

func newNamedValue(m model.ValueMatch) (valuePattern, error) {
	if m.Name == "" {
		return valuePattern{}, fmt.Errorf("no name")
	}
	return newValue(m)
}

func newValue(m model.ValueMatch) (valuePattern, error) {
	p := valuePattern{name: m.Name, kind: m.Type, value: m.Value, not: m.Not}
	switch m.Type {
	case "":
		p.kind = model.Exact
	case model.Exact, model.TextPrefix, model.Present:
	case model.Regex:
		var err error
		p.re, err = compileWhole(m.Value)
		return p, err
	default:
		return p, fmt.Errorf("%s: unknown match type %q; known are exact, textPrefix, regex, present", m.Name, m.Type)
	}
	return p, nil
}

// holds decides on the value itself, without not.
func (p *valuePattern) holds(v string) bool {
	switch p.kind {
	case model.Regex:
		return p.re.MatchString(v)
	case model.TextPrefix:
		return strings.HasPrefix(v, p.value)
	case model.Present:
		return true
	}
	return v == p.value
}

// optional decides on a value that every request has; a nil pattern holds.
func (p *valuePattern) optional(v string) bool { return p == nil || p.holds(v) != p.not }

// String says what the condition wants: `exact "a"`, `not prefix "b"`, "to be absent".
func (p *valuePattern) String() string {
	var s string
	switch p.kind {
	case model.Regex:
		s = "regex " + quote(p.value)
	case model.TextPrefix:
		s = "prefix " + quote(p.value)
	case model.Present:
		if p.not {
			return "to be absent"
		}
		return "to be present"
	default:
		s = "exact " + quote(p.value)
	}
	if p.not {
		return "not " + s
	}
	return s
}
