package document

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Document is one resource as it was written.
type Document struct {
	File                              string
	Line                              int // of its first value
	APIVersion, Kind, Namespace, Name string
	Text                              string // as it was written, for storing; parse it again with BaseLine
	BaseLine                          int    // line of File at which Text begins

	root *yaml.Node // mapping, aliases and merges resolved, lines counted from the file's beginning
}

// DefaultNamespace is that of a document which names none.
const DefaultNamespace = "default"

// Parse reads every document of one file. See ParseSet.
func Parse(file string, data []byte, lim Limits) ([]Document, Problems) {
	return ParseSet([]Source{{File: file, Data: data}}, lim)
}

// ParseSet reads all documents of a set. When the problems Failed, nothing of the set may be taken; the
// documents returned are then those that could be read, so that their own problems can be reported too.
func ParseSet(sources []Source, lim Limits) ([]Document, Problems) {
	lim = lim.WithDefaults()
	total := 0
	var docs []Document
	var ps Problems
	for _, s := range sources {
		if total += len(s.Data); total > lim.SetBytes {
			return nil, Problems{tooLarge(s.File, lim)}
		}
		if p := checkText(s); p != nil {
			ps = append(ps, *p)
			continue
		}
		for _, c := range split(s) {
			if len(docs) >= lim.Documents {
				return nil, append(ps, Problem{File: s.File, Line: c.line, Message: fmt.Sprintf("more than %d documents in one set", lim.Documents), Remedy: "apply it in parts"})
			}
			d, problems := parseOne(s.File, c, lim)
			ps = append(ps, problems...)
			if d != nil {
				docs = append(docs, *d)
			}
			if len(ps) > lim.Problems {
				return docs, ps.Bound(lim.Problems)
			}
		}
	}
	ps = append(ps, duplicates(docs)...)
	return docs, ps.Bound(lim.Problems)
}

// parseOne reads one document. It returns nil for one that has no resource in it.
func parseOne(file string, c chunk, lim Limits) (*Document, Problems) {
	if len(c.text) > lim.DocumentBytes {
		return nil, Problems{{
			File: file, Line: c.line,
			Message: fmt.Sprintf("document has %d bytes, more than %s", len(c.text), size(lim.DocumentBytes)),
			Remedy:  "split it into several documents",
		}}
	}
	var stream yaml.Node
	dec := yaml.NewDecoder(bytes.NewReader(c.text))
	if err := dec.Decode(&stream); err != nil {
		if errors.Is(err, io.EOF) {
			return nil, nil
		}
		return nil, Problems{syntaxProblem(file, c, err)}
	}
	root := &stream
	if root.Kind == yaml.DocumentNode && len(root.Content) == 1 {
		root = root.Content[0]
	}
	if err := dec.Decode(new(yaml.Node)); !errors.Is(err, io.EOF) {
		if err == nil {
			err = errors.New("a second value follows the first")
		}
		p := syntaxProblem(file, c, err)
		p.Remedy = `separate documents with a line "---"`
		return nil, Problems{p}
	}
	shiftLines(&stream, c.line-1)
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" {
		return nil, nil
	}
	x := expander{file: file, lim: lim}
	root = x.expand(root, nil, 0)
	if x.problem != nil {
		return nil, Problems{*x.problem}
	}
	d := &Document{File: file, Line: root.Line, Text: string(c.text), BaseLine: c.line, root: root}
	return d, append(x.duplicates, d.header()...)
}

func shiftLines(n *yaml.Node, by int) {
	n.Line += by
	for _, c := range n.Content {
		shiftLines(c, by)
	}
}

// yamlLine is the form in which the YAML library reports positions.
var yamlLine = regexp.MustCompile(`^(?:yaml: )?(?:line (\d+): )?(?s:(.*))$`)

// syntaxProblem turns the YAML library's error into a problem with a place and, for the common mistakes,
// a remedy.
func syntaxProblem(file string, c chunk, err error) Problem {
	m := yamlLine.FindStringSubmatch(err.Error())
	p := Problem{File: file, Line: c.line, Message: "not valid YAML: " + clip(strings.TrimPrefix(m[2], "yaml: "), 200)}
	n, numErr := strconv.Atoi(m[1])
	if strings.HasPrefix(m[2], "did not find expected") {
		n++ // the library counts the lines of its parser's errors from 0
	}
	lines := bytes.Split(c.text, []byte{'\n'})
	if numErr == nil && n >= 1 {
		p.Line = c.line + min(n, len(lines)) - 1
	}
	if at := tabIndent(lines); at > 0 && strings.Contains(m[2], "cannot start any token") {
		p.Line, p.Column = c.line+at-1, bytes.IndexByte(lines[at-1], '\t')+1
		p.Message = "not valid YAML: the line is indented with a tab"
		p.Remedy = "indent with spaces"
		return p
	}
	if numErr == nil && n >= 1 && n <= len(lines) {
		text := lines[n-1]
		p.Column = len(text) - len(bytes.TrimLeft(text, " \t")) + 1
	}
	if name, ok := strings.CutPrefix(m[2], "unknown anchor '"); ok {
		name, _, _ = strings.Cut(name, "'")
		for i, l := range lines {
			if at := bytes.Index(l, []byte("*"+name)); at >= 0 {
				p.Line, p.Column = c.line+i, at+1
				break
			}
		}
	}
	switch {
	case strings.Contains(m[2], "mapping values are not allowed"):
		p.Remedy = `check the indentation, and quote a value that has ": " in it`
	case strings.Contains(m[2], "did not find expected key"), strings.Contains(m[2], "did not find expected '-'"):
		p.Remedy = "check the indentation here and in the line before"
	case strings.Contains(m[2], "unknown anchor"):
		p.Remedy = "define it with &NAME before it is used, and quote a value that begins with *"
	case strings.Contains(m[2], "cannot start any token"):
		p.Remedy = "quote the value"
	case strings.Contains(m[2], "did not find expected ','"):
		p.Remedy = "close the bracket or brace that is open, and write commas between items"
	default:
		p.Remedy = "check indentation, quotes and brackets here and in the line before"
	}
	return p
}

// tabIndent returns the first line, from 1, with a tab in its indentation, or 0.
func tabIndent(lines [][]byte) int {
	for i, l := range lines {
		indent := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]
		if len(indent) < len(l) && bytes.IndexByte(indent, '\t') >= 0 {
			return i + 1
		}
	}
	return 0
}

// duplicates reports resources that a set has twice.
func duplicates(docs []Document) Problems {
	type key struct{ group, kind, namespace, name string }
	seen := make(map[key]*Document, len(docs))
	var ps Problems
	for i := range docs {
		d := &docs[i]
		if d.Name == "" {
			continue
		}
		group, _, _ := strings.Cut(d.APIVersion, "/")
		k := key{group, d.Kind, d.Namespace, d.Name}
		first, ok := seen[k]
		if !ok {
			seen[k] = d
			continue
		}
		p := d.Problem(Path("metadata", "name"), fmt.Sprintf("%s %s/%s is in this set twice", d.Kind, d.Namespace, d.Name))
		p.Remedy = fmt.Sprintf("the other is at %s:%d", first.File, first.Line)
		ps = append(ps, p)
	}
	return ps
}
