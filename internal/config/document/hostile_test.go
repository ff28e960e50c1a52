package document

import (
	"strings"
	"testing"
	"time"
)

// TestHostileInputIsCheap feeds what is known to be slow in YAML parsers, near the bound of a document.
func TestHostileInputIsCheap(t *testing.T) {
	const n = 1<<20 - 200
	for name, text := range map[string]string{
		"flow lists":       "a: " + strings.Repeat("[", n),
		"flow mappings":    "a: " + strings.Repeat("{", n),
		"nested items":     strings.Repeat("- ", n/2),
		"complex keys":     strings.Repeat("? ", n/2),
		"empty items":      "a: [" + strings.Repeat(",", n),
		"items":            "a:\n" + strings.Repeat("- \n", n/3),
		"keys":             strings.Repeat("a: \n", n/4),
		"anchors":          strings.Repeat("- &a a\n", n/7),
		"aliases":          "- &a a\n" + strings.Repeat("- *a\n", n/5),
		"quotes":           strings.Repeat("\"", n),
		"long scalar":      "a: " + strings.Repeat("x", n),
		"long key":         strings.Repeat("x", n) + ": 1",
		"block scalar":     "a: |\n" + strings.Repeat(" \n", n/2),
		"comments":         strings.Repeat("#\n", n/2) + "a: 1",
		"comments between": strings.Repeat("a:\n#\n", n/5),
		"tags":             "a: " + strings.Repeat("!", n),
		"directives":       strings.Repeat("%A b\n", n/5),
		"markers":          strings.Repeat("---\n", n/4),
		"merges":           "b: &b {c: 1}\na:\n" + strings.Repeat("  <<: *b\n", n/9),
	} {
		start := time.Now()
		_, problems := Parse("f", []byte(text), Limits{})
		if took := time.Since(start); took > time.Minute {
			t.Errorf("%s: %v", name, took)
		} else if took > time.Second {
			t.Logf("%s: %v", name, took)
		}
		if len(problems) > 51 {
			t.Errorf("%s: %d problems", name, len(problems))
		}
	}
}
