package config

import (
	"encoding/json"
	"fmt"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/weft-mesh/weft/internal/config/document"
)

// samples are the documents by which the fields of a kind are tried. They are in testdata/fieldtable.
type samples struct {
	APIVersion string         `json:"apiVersion"`
	Kind       string         `json:"kind"`
	Mesh       bool           `json:"mesh"`  // for ParseSet, else for ParseStandalone
	Where      string         `json:"where"` // a sentence for the page
	Spec       map[string]any `json:"spec"`  // what every document has
	Parts      []part         `json:"parts"`
}

// part is what is known of a field and the fields below it, unless a part with a longer name says otherwise. What it
// states is tried: a field works only if the parser takes it without a word.
type part struct {
	Field   string         `json:"field"`
	With    map[string]any `json:"with"`    // merged into Spec; null removes
	Values  map[string]any `json:"values"`  // of fields that Spec and With lack, by their name without Field
	Proof   string         `json:"proof"`   // works: tests that show it, "proxy.TestCORS"
	Refused string         `json:"refused"` // the message has this text
	Idle    string         `json:"idle"`    // taken without effect: why, or a text of the parser's warning
	NotRun  string         `json:"notRun"`  // taken by the parser, not run by the proxies: how far
	Note    string         `json:"note"`    // a limit of what works

	used bool
}

func readSamples(t *testing.T, kind string) *samples {
	t.Helper()
	file := "testdata/fieldtable/" + kind + ".yaml"
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s samples
	if err := yaml.UnmarshalStrict(data, &s); err != nil {
		t.Fatalf("%s: %v", file, err)
	}
	return &s
}

// part returns what is known of a field.
func (s *samples) part(field string) *part {
	var best *part
	for i := range s.Parts {
		p := &s.Parts[i]
		rest, ok := strings.CutPrefix(field, p.Field)
		if ok && (rest == "" || p.Field == "" || rest[0] == '.' || rest[0] == '[') && (best == nil || len(p.Field) > len(best.Field)) {
			best = p
		}
	}
	return best
}

// spec returns a spec that has the field.
func (s *samples) spec(p *part, field string) (any, error) {
	value, given := p.Values[strings.TrimPrefix(strings.TrimPrefix(field, p.Field), ".")]
	full, err := put(merge(s.Spec, p.With), pathOf(field), value, given)
	if err != nil {
		return nil, fmt.Errorf("%s %s: %w", s.Kind, field, err)
	}
	return full, nil
}

// pathOf returns the steps to a field.
func pathOf(field string) []string {
	if strings.HasPrefix(field, "matches[]") {
		field = "faults[]." + field
	}
	return strings.Split(field, ".")
}

// document returns a document with a spec.
func (s *samples) document(spec any) []byte {
	text, err := json.MarshalIndent(map[string]any{
		"apiVersion": s.APIVersion, "kind": s.Kind, "metadata": map[string]any{"name": "sample"}, "spec": spec,
	}, "", " ")
	if err != nil {
		panic(err) // it came from YAML
	}
	return text
}

// merge returns a with what b says in its place: mappings by key, lists by position. Neither is changed.
func merge(a, b any) any {
	switch b := b.(type) {
	case map[string]any:
		old, _ := a.(map[string]any)
		out := map[string]any{}
		for k, v := range old {
			out[k] = merge(v, nil)
		}
		for k, v := range b {
			if out[k] = merge(out[k], v); v == nil {
				delete(out, k)
			}
		}
		return out
	case []any:
		old, _ := a.([]any)
		out := make([]any, max(len(old), len(b)))
		for i := range out {
			var x, y any
			if i < len(old) {
				x = old[i]
			}
			if i < len(b) {
				y = b[i]
			}
			out[i] = merge(x, y)
		}
		return out
	case nil:
		if a == nil {
			return nil
		}
		return merge(nil, a)
	}
	return b
}

// put sets a field, in the first element of lists. Without a value it wants the field to be there.
func put(v any, path []string, value any, given bool) (any, error) {
	if len(path) == 0 {
		if given {
			return value, nil
		}
		if v == nil {
			return nil, fmt.Errorf("its sample has no value: write it into values or with")
		}
		return v, nil
	}
	name, list := strings.CutSuffix(path[0], "[]")
	m, ok := v.(map[string]any)
	if !ok {
		m = map[string]any{}
	}
	inner := m[name]
	var items []any
	if list {
		if items, ok = inner.([]any); !ok || len(items) == 0 {
			items = []any{nil}
		}
		inner = items[0]
	}
	set, err := put(inner, path[1:], value, given)
	if err != nil {
		return nil, err
	}
	if list {
		items[0], set = set, items
	}
	m[name] = set
	return m, nil
}

var indexes = regexp.MustCompile(`\[\d+\]`)

// parse gives a document to the parser that the kind is for.
func (s *samples) parse(text []byte) ([]Resource, document.Problems) {
	sources := []document.Source{{File: s.Kind + ".yaml", Data: text}}
	if s.Mesh {
		return ParseSet(sources, document.Limits{})
	}
	return ParseStandalone(sources, document.Limits{})
}

// try parses a document of its own for the field and returns what the parser says of it: a failure or a warning.
func (s *samples) try(p *part, field string) (problem *document.Problem, text []byte, err error) {
	spec, err := s.spec(p, field)
	if err != nil {
		return nil, nil, err
	}
	text = s.document(spec)
	_, problems := s.parse(text)
	for i := range problems {
		at := indexes.ReplaceAllString(strings.TrimPrefix(problems[i].Field, "spec."), "[]")
		mine := strings.HasPrefix(field, at) || strings.HasPrefix(at, field)
		if problem == nil || mine && (problem.Warning || !problems[i].Warning) {
			problem = &problems[i]
		}
	}
	return problem, text, nil
}

// matters reports whether the parser reads the field: without it, or with another value in it, the document means
// something else or is refused.
func (s *samples) matters(p *part, field string) bool {
	spec, err := s.spec(p, field)
	if err != nil {
		return false
	}
	was, _ := s.parse(s.document(spec))
	for _, change := range []func(any) any{func(any) any { return nil }, another} {
		now, problems := s.parse(s.document(edit(spec, pathOf(field), change)))
		if problems.Failed() || len(was) != 1 || !cmp.Equal(was[0].body, now[0].body, withoutPlaces()...) {
			return true
		}
	}
	return false
}

// another returns a value of the same type.
func another(v any) any {
	switch v := v.(type) {
	case string:
		return "another-" + v
	case bool:
		return !v
	case float64:
		return v + 1
	}
	return v
}

// edit changes the value of a field; nil removes it.
func edit(v any, path []string, change func(any) any) any {
	if len(path) == 0 {
		return change(v)
	}
	name, list := strings.CutSuffix(path[0], "[]")
	m, _ := merge(v, nil).(map[string]any)
	inner := m[name]
	if list {
		items, _ := inner.([]any)
		items = append([]any(nil), items...)
		items[0] = edit(items[0], path[1:], change)
		if inner = items; items[0] == nil {
			inner = nil
		}
	} else {
		inner = edit(inner, path[1:], change)
	}
	if m[name] = inner; inner == nil {
		delete(m, name)
	}
	return m
}

// withoutPlaces compares resources but for where they were written.
func withoutPlaces() []cmp.Option {
	return []cmp.Option{
		cmp.Exporter(func(reflect.Type) bool { return true }),
		cmp.FilterPath(func(p cmp.Path) bool {
			f, ok := p.Last().(cmp.StructField)
			return ok && (f.Name() == "Line" || f.Name() == "Column")
		}, cmp.Ignore()),
	}
}
