package document

import (
	"bytes"
	"fmt"
	"io"
	"unicode/utf8"
)

// Source is text to parse: a file, standard input, or a stored document.
type Source struct {
	File string // as messages name it
	Line int    // of File at which Data begins; 0 means 1
	Data []byte // parsed documents refer to it: it must not change
}

// Read reads a source, at most lim.SetBytes of it. A larger one is a problem, not a long read.
func Read(file string, r io.Reader, lim Limits) (Source, Problems) {
	lim = lim.WithDefaults()
	data, err := io.ReadAll(io.LimitReader(r, int64(lim.SetBytes)+1))
	if err != nil {
		return Source{}, Problems{{File: file, Message: fmt.Sprintf("reading failed: %v", err)}}
	}
	if len(data) > lim.SetBytes {
		return Source{}, Problems{tooLarge(file, lim)}
	}
	return Source{File: file, Data: data}, nil
}

func tooLarge(file string, lim Limits) Problem {
	return Problem{
		File:    file,
		Message: fmt.Sprintf("more than %s in one set", size(lim.SetBytes)),
		Remedy:  "apply it in parts",
	}
}

// checkText refuses what is no text, saying where it stops being one.
func checkText(s Source) *Problem {
	at, what := -1, ""
	if i := bytes.IndexByte(s.Data, 0); i >= 0 {
		at, what = i, "a NUL byte"
	}
	if !utf8.Valid(s.Data) {
		if i := invalidUTF8(s.Data); at < 0 || i < at {
			at, what = i, fmt.Sprintf("byte 0x%02x, which is not UTF-8,", s.Data[i])
		}
	}
	if at < 0 {
		return nil
	}
	before := s.Data[:at]
	return &Problem{
		File:    s.File,
		Line:    max(s.Line, 1) + bytes.Count(before, []byte{'\n'}),
		Column:  at - bytes.LastIndexByte(before, '\n'),
		Message: fmt.Sprintf("not text: %s at byte offset %d", what, at),
		Remedy:  "configuration is YAML or JSON in UTF-8",
	}
}

func invalidUTF8(b []byte) int {
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 {
			return i
		}
		i += n
	}
	return -1
}

// chunk is the text of one document and the line it begins at, from 1.
type chunk struct {
	text []byte
	line int
}

// split cuts a stream at its document markers. A line that begins with "---" or "..." is a marker wherever
// it stands, block scalars included (YAML 1.2.2, section 9.1.2, c-forbidden). The "---" stays with the
// document it opens.
func split(s Source) []chunk {
	var out []chunk
	line := max(s.Line, 1)
	rest, start, begin := s.Data, 0, line
	directives := false // lines before "---" belong to the document it opens
	flush := func(end int) {
		if !blank(s.Data[start:end]) {
			out = append(out, chunk{s.Data[start:end], begin})
		}
	}
	for at := 0; len(rest) > 0; line++ {
		n := bytes.IndexByte(rest, '\n') + 1
		if n == 0 {
			n = len(rest)
		}
		text := rest[:n]
		switch {
		case marker(text, "---") && !directives:
			flush(at)
			start, begin = at, line
		case marker(text, "---"):
			directives = false
		case marker(text, "..."):
			flush(at)
			start, begin = at+n, line+1
		case text[0] == '%' && blank(s.Data[start:at]):
			directives = true
		}
		at += n
		rest = rest[n:]
	}
	flush(len(s.Data))
	return out
}

func marker(line []byte, mark string) bool {
	return len(line) >= 3 && string(line[:3]) == mark &&
		(len(line) == 3 || line[3] == ' ' || line[3] == '\t' || line[3] == '\n' || line[3] == '\r')
}

// blank reports whether text has nothing but comments, white space and its opening marker.
func blank(text []byte) bool {
	for line := range bytes.Lines(text) {
		if marker(line, "---") {
			line = line[3:]
		}
		line = bytes.TrimSpace(bytes.TrimPrefix(line, []byte("\ufeff")))
		if len(line) > 0 && line[0] != '#' {
			return false
		}
	}
	return true
}

func size(n int) string {
	switch {
	case n >= 1<<20 && n%(1<<20) == 0:
		return fmt.Sprintf("%d MiB", n>>20)
	case n >= 1<<10 && n%(1<<10) == 0:
		return fmt.Sprintf("%d KiB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
