package cli

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"
)

// FuzzCheckText: exactly what is no text is refused, with a place inside the file.
func FuzzCheckText(f *testing.F) {
	for _, s := range []string{"", "kind: X\n", "a\x00b", "caf\xe9", "\xff\xfe", "é\n\x00"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := checkText("f", b)
		isText := utf8.Valid(b) && bytes.IndexByte(b, 0) < 0
		if (err == nil) != isText {
			t.Fatalf("%q: %v", b, err)
		}
		var p *problemsError
		if errors.As(err, &p) {
			at := p.problems[0]
			lines := strings.Split(string(b), "\n")
			if int(at.GetLine()) > len(lines) || int(at.GetColumn()) > utf8.RuneCountInString(lines[at.GetLine()-1]) {
				t.Errorf("%q: place %d:%d is outside", b, at.GetLine(), at.GetColumn())
			}
		}
	})
}

// FuzzClean: nothing that moves a cursor reaches the terminal, and a table keeps one line a row.
func FuzzClean(f *testing.F) {
	for _, s := range []string{"plain", "\x1b[31mred", "a\nb", "\u202egnp", "\xff", "√"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range clean(s) {
			if !unicode.IsPrint(r) && r != '\n' && r != '\t' {
				t.Fatalf("clean(%q) has %U", s, r)
			}
		}
		tab := newTable("A", ">B")
		tab.add(s, s, s)
		if n := strings.Count(tab.String(), "\n"); n != 2 {
			t.Fatalf("a table of one row has %d lines: %q", n, tab.String())
		}
	})
}

// FuzzSnapshot: whatever the control plane sends is shown or refused.
func FuzzSnapshot(f *testing.F) {
	f.Add([]byte(snapshotJSON))
	f.Add([]byte(`{"services":[{"name":"x"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out, errs bytes.Buffer
		a := New(Options{Stdout: &out, Stderr: &errs})
		for _, part := range []string{"", "services", "endpoints", "routes"} {
			table := map[string]func() error{
				"":          func() error { return a.printSnapshot(b, "yaml", nil) },
				"services":  func() error { return a.printSnapshot(b, "table", servicesOf) },
				"endpoints": func() error { return a.printSnapshot(b, "table", endpointsOf) },
				"routes":    func() error { return a.printSnapshot(b, "table", routesOf) },
			}[part]
			var coded *Error
			if err := table(); err != nil && !(errors.As(err, &coded) && coded.Code == ExitInternal) {
				t.Errorf("%s: %v", part, err)
			}
		}
	})
}
