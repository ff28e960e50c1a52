package configtest

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
)

// Golden compares got with the file, or writes it where update is set.
func Golden(t testing.TB, update bool, file string, got []byte) {
	t.Helper()
	if update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// Files returns those of a pattern, which are so many at least.
func Files(t testing.TB, pattern string, atLeast int) []string {
	t.Helper()
	out, err := filepath.Glob(pattern)
	if err != nil || len(out) < atLeast {
		t.Fatalf("%d files %s, want %d at least (%v)", len(out), pattern, atLeast, err)
	}
	return out
}

// Source reads a file; messages name it without its directory.
func Source(t testing.TB, file string) document.Source {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return document.Source{File: filepath.Base(file), Data: data}
}

// Documents reads a file whose documents are all right as such.
func Documents(t testing.TB, file string) []document.Document {
	t.Helper()
	docs, problems := document.ParseSet([]document.Source{Source(t, file)}, document.Limits{})
	if len(problems) > 0 || len(docs) == 0 {
		t.Fatalf("%s: %d documents, %v", file, len(docs), problems)
	}
	return docs
}

var (
	// A bound, a type or a number of items is what to write.
	bound = regexp.MustCompile(`^wants |at most \d+ are allowed`)
	// What is not of a field: YAML that is none, and a document as a whole.
	whole = regexp.MustCompile(`^(not valid YAML|not text|document |is (a|an|the) )`)
)

// Told wants a problem to say file, line, column and field, and what to write instead.
func Told(t testing.TB, p document.Problem) {
	t.Helper()
	if p.File == "" || p.Line == 0 || p.Column == 0 {
		t.Errorf("no place: %v", p)
	}
	if p.Field == "" && !whole.MatchString(p.Message) {
		t.Errorf("no field: %v", p)
	}
	if p.Remedy == "" && !bound.MatchString(p.Message) {
		t.Errorf("it does not say what to write instead: %v", p)
	}
	if strings.Contains(p.Error(), "\n") {
		t.Errorf("more than one line: %v", p)
	}
}
