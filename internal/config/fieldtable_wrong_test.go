package config

import (
	"bytes"
	"fmt"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/internal/config/configtest"
	"github.com/weft-mesh/weft/internal/config/document"
)

// freely are fields whose value may have any keys, and those that are known, without effect and may be anything.
var freely = regexp.MustCompile(`^(metadata|data|stringData|status)(\.|$)|\.(sourceLabels|labels|annotations|matchLabels|selector|headers|withoutHeaders|queryParams|set|add|to)(\.[^.]*)?$|` +
	`\.options(\..*)?$|\.ports\.[^.]*$|^endpoints\[\]\.(nodeName|zone|hostname|targetRef|deprecatedTopology|hints)$|^spec\.(ports\[\]\.targetPort|clusterIP)$`)

// wrongField is a field of a good document.
type wrongField struct {
	kind, path string // path without numbers of items
	key, value *yaml.Node
}

// fieldsIn calls f with every field of a mapping and of what is in it.
func fieldsIn(kind, path string, n *yaml.Node, f func(wrongField)) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			at := strings.TrimPrefix(path+"."+n.Content[i].Value, ".")
			f(wrongField{kind, at, n.Content[i], n.Content[i+1]})
			fieldsIn(kind, at, n.Content[i+1], f)
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			fieldsIn(kind, path+"[]", item, f)
		}
	}
}

// TestWrongFields makes a mistake at every field of every good document, twice: the name is misspelt, and the value is
// of another type. Each must be refused, with place, field and what to write. testdata/wrong.want has the messages.
func TestWrongFields(t *testing.T) {
	var out bytes.Buffer
	seen, cases := map[string]bool{}, map[string]int{}
	try := func(f wrongField, what string, doc *yaml.Node, mesh bool) {
		text, err := yaml.Marshal(doc)
		if err != nil {
			t.Fatal(err)
		}
		parse := ParseStandalone
		if mesh {
			parse = ParseSet
		}
		resources, problems := parse([]document.Source{{File: f.kind + ".yaml", Data: text}}, document.Limits{})
		if resources != nil || !problems.Failed() {
			t.Errorf("%s %s: %s is taken\n%s", f.kind, f.path, what, text)
			return
		}
		cases[f.kind]++
		mine := false
		for _, p := range problems {
			configtest.Told(t, p)
			at := indexes.ReplaceAllString(p.Field, "[]")
			mine = mine || strings.HasPrefix(at, strings.TrimSuffix(f.path, "[]"))
		}
		if !mine {
			t.Errorf("%s %s: %s is refused for something else: %v", f.kind, f.path, what, problems)
		}
		fmt.Fprintf(&out, "%s %s, %s\n\t%v\n", f.kind, f.path, what, withoutPlace(problems[0]))
	}
	for _, set := range []struct {
		files string
		mesh  bool
	}{
		{"testdata/good/*.yaml", true},
		{"native/testdata/good/*.yaml", true},
		{"testdata/istio/good/*.yaml", true},
		{"testdata/istio/gateway/*.yaml", false},
		{"testdata/standalone/good/*.yaml", false},
	} {
		for _, file := range configtest.Files(t, set.files, 1) {
			dec := yaml.NewDecoder(bytes.NewReader(source(t, file).Data))
			for doc := new(yaml.Node); dec.Decode(doc) == nil; doc = new(yaml.Node) {
				kind := kindIn(doc)
				if kind == "" {
					continue
				}
				fieldsIn(kind, "", doc.Content[0], func(f wrongField) {
					id := f.kind + " " + f.path
					if seen[id] || strings.Contains(f.path, "metadata") || f.path == "apiVersion" || f.path == "kind" || f.key.Value == "<<" {
						return
					}
					seen[id] = true
					key, value := *f.key, *f.value
					if !freely.MatchString(f.path) {
						f.key.Value += "ish"
						try(f, "misspelt", doc, set.mesh)
						*f.key = key
						if f.value.Kind == yaml.ScalarNode {
							*f.value = yaml.Node{Kind: yaml.MappingNode, Tag: "!!map", Content: []*yaml.Node{{Kind: yaml.ScalarNode, Tag: "!!str", Value: "of"}, {Kind: yaml.ScalarNode, Tag: "!!int", Value: "1"}}}
						} else {
							*f.value = yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: "text"}
						}
						try(f, "of another type", doc, set.mesh)
						*f.value = value
					}
				})
			}
		}
	}
	total := 0
	for _, n := range cases {
		total += n
	}
	t.Logf("%d mistakes: %v", total, cases)
	if total < 500 {
		t.Errorf("only %d mistakes", total)
	}
	golden(t, filepath.Join("testdata", "wrong.want"), out.Bytes())
}

func kindIn(doc *yaml.Node) string {
	var head struct{ Kind string }
	if len(doc.Content) == 0 || doc.Decode(&head) != nil {
		return ""
	}
	return head.Kind
}

// withoutPlace is a message without file, line and column, which depend on how the mistake was written.
func withoutPlace(p document.Problem) document.Problem {
	p.File, p.Line, p.Column = "", 0, 0
	return p
}
