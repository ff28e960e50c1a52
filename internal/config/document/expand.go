package document

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// expander replaces aliases by what they stand for and merges ("<<") by their fields, and refuses documents
// that are too deep or become too large by it ("billion laughs").
type expander struct {
	file       string
	lim        Limits
	nodes      int
	active     []*yaml.Node // alias targets being expanded, to find one that contains itself
	problem    *Problem     // the first one; expansion stops there
	duplicates Problems
}

func (x *expander) fail(n *yaml.Node, f *Field, message, remedy string) {
	if x.problem == nil {
		x.problem = &Problem{File: x.file, Line: n.Line, Column: n.Column, Field: f.String(), Message: message, Remedy: remedy}
	}
}

// expand returns n without aliases and merges. It copies what it changes: an anchored node may be
// expanded in several places.
func (x *expander) expand(n *yaml.Node, f *Field, depth int) *yaml.Node {
	if x.nodes++; x.nodes > x.lim.Nodes {
		x.fail(n, nil, fmt.Sprintf("document has more than %d values once its aliases are expanded", x.lim.Nodes), "write it without nested aliases")
	}
	if depth > x.lim.Depth {
		x.fail(n, nil, fmt.Sprintf("document is nested deeper than %d levels", x.lim.Depth), "no resource is; look for brackets that are not closed")
	}
	if x.problem != nil {
		return n
	}
	switch n.Kind {
	case yaml.AliasNode:
		return x.alias(n, f, depth)
	case yaml.MappingNode:
		return x.mapping(n, f, depth)
	case yaml.SequenceNode:
		out := *n
		out.Content = make([]*yaml.Node, len(n.Content))
		for i, c := range n.Content {
			out.Content[i] = x.expand(c, f.Index(i), depth+1)
		}
		return &out
	}
	return n
}

func (x *expander) alias(n *yaml.Node, f *Field, depth int) *yaml.Node {
	for _, a := range x.active {
		if a == n.Alias {
			x.fail(n, f, fmt.Sprintf("alias *%s contains itself", clip(n.Value, 64)), "write the value out")
			return n
		}
	}
	x.active = append(x.active, n.Alias)
	out := x.expand(n.Alias, f, depth+1)
	x.active = x.active[:len(x.active)-1]
	return out
}

func (x *expander) mapping(n *yaml.Node, f *Field, depth int) *yaml.Node {
	out := *n
	out.Content = make([]*yaml.Node, 0, len(n.Content))
	seen := make(map[string]*yaml.Node, len(n.Content)/2)
	var merges []*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, value := n.Content[i], n.Content[i+1]
		if key.Kind == yaml.AliasNode {
			key = key.Alias
		}
		if key.Kind != yaml.ScalarNode {
			x.fail(key, f, "a key must be a plain string", "write the name of a field")
			return n
		}
		if key.Tag == "!!merge" {
			merges = append(merges, x.expand(value, f.Key("<<"), depth+1))
			continue
		}
		at := f.Key(key.Value)
		if first := seen[key.Value]; first != nil {
			x.duplicates = append(x.duplicates, Problem{
				File: x.file, Line: key.Line, Column: key.Column, Field: at.String(), Message: "the key is here twice",
				Remedy: fmt.Sprintf("the other is at line %d, column %d", first.Line, first.Column),
			})
			continue
		}
		seen[key.Value] = key
		x.nodes++
		out.Content = append(out.Content, key, x.expand(value, at, depth+1))
	}
	for _, m := range merges {
		x.merge(&out, m, f, seen)
	}
	return &out
}

// merge adds the fields of m that out does not have (YAML 1.1 merge key); those merged first win.
func (x *expander) merge(out, m *yaml.Node, f *Field, seen map[string]*yaml.Node) {
	switch m.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(m.Content); i += 2 {
			if key := m.Content[i]; seen[key.Value] == nil {
				seen[key.Value] = key
				out.Content = append(out.Content, key, m.Content[i+1])
			}
		}
	case yaml.SequenceNode:
		for _, c := range m.Content {
			if c.Kind != yaml.MappingNode {
				x.fail(c, f.Key("<<"), "merges something that is not a mapping", "write an alias of a mapping, or its fields themselves")
				return
			}
			x.merge(out, c, f, seen)
		}
	default:
		x.fail(m, f.Key("<<"), "merges something that is not a mapping", "write an alias of a mapping, or its fields themselves")
	}
}
