package document

import (
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Field is the place of a value within a document: a chain from the value to the root. The nil Field is
// the root.
type Field struct {
	parent *Field
	key    string
	index  int // -1 for a key
}

// Key returns the field of that name in f.
func (f *Field) Key(name string) *Field { return &Field{parent: f, key: name, index: -1} }

// Index returns the item at i in f.
func (f *Field) Index(i int) *Field { return &Field{parent: f, index: i} }

// Path returns the field for a path of names: Path("spec", "rules").
func Path(names ...string) *Field {
	var f *Field
	for _, n := range names {
		f = f.Key(n)
	}
	return f
}

// String returns "spec.rules[0].path"; a key that is no plain name is quoted: metadata.labels["a.b/c"].
func (f *Field) String() string {
	if f == nil {
		return ""
	}
	at := f.parent.String()
	switch {
	case f.index >= 0:
		return at + "[" + strconv.Itoa(f.index) + "]"
	case strings.ContainsAny(f.key, ".[] \"\n\t") || f.key == "" || len(f.key) > 64:
		return at + "[" + strconv.Quote(clip(f.key, 64)) + "]"
	case at == "":
		return f.key
	}
	return at + "." + f.key
}

// locate returns the node at f below root, or the nearest one above it. For a value in a mapping it is the
// key when key is set.
func (f *Field) locate(root *yaml.Node, key bool) *yaml.Node {
	if f == nil {
		return root
	}
	up := f.parent.locate(root, false)
	switch {
	case f.index >= 0 && up.Kind == yaml.SequenceNode && f.index < len(up.Content):
		return up.Content[f.index]
	case f.index < 0 && up.Kind == yaml.MappingNode:
		for i := 0; i+1 < len(up.Content); i += 2 {
			if up.Content[i].Value == f.key {
				if key {
					return up.Content[i]
				}
				return up.Content[i+1]
			}
		}
	}
	return up
}
