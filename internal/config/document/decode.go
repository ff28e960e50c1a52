package document

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode fills into, a pointer to a struct, by its JSON tags. Every field that the type does not have and
// every value of the wrong type is a problem. The field "status" is not read: the mesh writes it.
func (d *Document) Decode(into any) Problems {
	c := decoder{doc: d}
	v := reflect.ValueOf(into).Elem()
	for i := 0; i+1 < len(d.root.Content); i += 2 {
		key, value := d.root.Content[i], d.root.Content[i+1]
		if key.Value != "status" {
			c.field(v, key, value, nil)
		}
	}
	return c.problems
}

type decoder struct {
	doc      *Document
	problems Problems
}

func (c *decoder) add(n *yaml.Node, f *Field, message, remedy string) {
	c.problems = append(c.problems, c.doc.problemAt(n, f, message).with(remedy))
}

// field decodes one entry of a mapping into the struct v.
func (c *decoder) field(v reflect.Value, key, value *yaml.Node, parent *Field) {
	at := parent.Key(key.Value)
	target, ok := fieldByTag(v, key.Value)
	if !ok {
		c.add(key, at, "unknown field", cmp.Or(DidYouMean(key.Value, fieldNames(v.Type())), "remove it"))
		return
	}
	c.value(target, value, at)
}

func (c *decoder) value(v reflect.Value, n *yaml.Node, f *Field) {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!null" {
		return // as absent, as the Kubernetes API server takes it
	}
	if v.Kind() == reflect.Pointer {
		if v.IsNil() {
			v.Set(reflect.New(v.Type().Elem()))
		}
		if v.Type().Implements(unmarshaler()) {
			c.custom(v.Interface().(json.Unmarshaler), n, f)
			return
		}
		c.value(v.Elem(), n, f)
		return
	}
	if v.CanAddr() && v.Addr().Type().Implements(unmarshaler()) {
		c.custom(v.Addr().Interface().(json.Unmarshaler), n, f)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		if n.Kind != yaml.MappingNode {
			c.add(n, f, "wants a mapping, has "+nodeWords(n), theFields(fieldNames(v.Type())))
			return
		}
		for i := 0; i+1 < len(n.Content); i += 2 {
			c.field(v, n.Content[i], n.Content[i+1], f)
		}
	case reflect.Slice:
		c.slice(v, n, f)
	case reflect.Map:
		c.mapping(v, n, f)
	case reflect.Interface:
		v.Set(reflect.ValueOf(plain(n)))
	default:
		c.scalar(v, n, f)
	}
}

// theFields words what a mapping may have, where that is short enough to be read.
func theFields(names []string) string {
	if len(names) == 0 || len(names) > 16 {
		return ""
	}
	return "its fields are " + strings.Join(slices.Sorted(slices.Values(names)), ", ")
}

func unmarshaler() reflect.Type { return reflect.TypeFor[json.Unmarshaler]() }

func (c *decoder) kind(n *yaml.Node, want yaml.Kind, words string, f *Field) bool {
	if n.Kind != want {
		remedy := ""
		if want == yaml.SequenceNode {
			remedy = `begin each item with "- "`
		}
		c.add(n, f, "wants "+words+", has "+nodeWords(n), remedy)
		return false
	}
	return true
}

func (c *decoder) slice(v reflect.Value, n *yaml.Node, f *Field) {
	if !c.kind(n, yaml.SequenceNode, "a list", f) {
		return
	}
	out := reflect.MakeSlice(v.Type(), len(n.Content), len(n.Content))
	for i, item := range n.Content {
		c.value(out.Index(i), item, f.Index(i))
	}
	v.Set(out)
}

func (c *decoder) mapping(v reflect.Value, n *yaml.Node, f *Field) {
	if !c.kind(n, yaml.MappingNode, "a mapping", f) {
		return
	}
	out := reflect.MakeMapWithSize(v.Type(), len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		item := reflect.New(v.Type().Elem()).Elem()
		c.value(item, n.Content[i+1], f.Key(n.Content[i].Value))
		out.SetMapIndex(reflect.ValueOf(n.Content[i].Value).Convert(v.Type().Key()), item)
	}
	v.Set(out)
}

func (c *decoder) scalar(v reflect.Value, n *yaml.Node, f *Field) {
	if n.Kind != yaml.ScalarNode {
		c.add(n, f, "wants "+typeWords(v.Type())+", has "+nodeWords(n), "")
		return
	}
	wrong := func(remedy string) {
		c.add(n, f, fmt.Sprintf("wants %s, has %s", typeWords(v.Type()), nodeWords(n)), remedy)
	}
	switch v.Kind() {
	case reflect.String:
		if n.Tag != "!!str" {
			wrong(quoteRemedy(n))
			return
		}
		v.SetString(n.Value)
	case reflect.Bool:
		b, err := strconv.ParseBool(n.Value)
		if n.Tag != "!!bool" || err != nil {
			wrong("write true or false")
			return
		}
		v.SetBool(b)
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64,
		reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		if n.Tag != "!!int" {
			remedy := ""
			if n.Tag == "!!str" {
				remedy = "write a number without quotes"
			}
			wrong(remedy)
			return
		}
		if !setInt(v, n) {
			wrong("")
		}
	case reflect.Float32, reflect.Float64:
		var x float64
		if (n.Tag != "!!float" && n.Tag != "!!int") || n.Decode(&x) != nil || v.OverflowFloat(x) {
			wrong("")
			return
		}
		v.SetFloat(x)
	default:
		c.add(n, f, "cannot be read by this version", "")
	}
}

func setInt(v reflect.Value, n *yaml.Node) bool {
	if v.CanInt() {
		var x int64
		if n.Decode(&x) != nil || v.OverflowInt(x) {
			return false
		}
		v.SetInt(x)
		return true
	}
	var x uint64
	if n.Decode(&x) != nil || v.OverflowUint(x) {
		return false
	}
	v.SetUint(x)
	return true
}

// custom decodes types with a JSON form of their own, such as times.
func (c *decoder) custom(u json.Unmarshaler, n *yaml.Node, f *Field) {
	raw, err := json.Marshal(plain(n))
	if err == nil {
		err = u.UnmarshalJSON(raw)
	}
	if err != nil {
		why, remedy, _ := strings.Cut(clip(err.Error(), 160), "; ")
		c.add(n, f, "wrong value: "+why, remedy)
	}
}

// plain returns the value as encoding/json would have decoded it.
func plain(n *yaml.Node) any {
	switch n.Kind {
	case yaml.MappingNode:
		out := make(map[string]any, len(n.Content)/2)
		for i := 0; i+1 < len(n.Content); i += 2 {
			out[n.Content[i].Value] = plain(n.Content[i+1])
		}
		return out
	case yaml.SequenceNode:
		out := make([]any, len(n.Content))
		for i, c := range n.Content {
			out[i] = plain(c)
		}
		return out
	}
	var v any
	switch n.Tag {
	case "!!int", "!!float", "!!bool":
		if n.Decode(&v) == nil {
			if x, ok := v.(float64); !ok || !math.IsNaN(x) && !math.IsInf(x, 0) {
				return v
			}
		}
	case "!!null":
		return json.RawMessage("null")
	}
	return n.Value
}

// fieldByTag finds the field of that JSON name, also in embedded structs.
func fieldByTag(v reflect.Value, name string) (reflect.Value, bool) {
	t := v.Type()
	for i := range t.NumField() {
		tag, inline, ok := jsonName(t.Field(i))
		switch {
		case !ok:
		case inline:
			if f, ok := fieldByTag(v.Field(i), name); ok {
				return f, true
			}
		case tag == name:
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func fieldNames(t reflect.Type) []string {
	var out []string
	for i := range t.NumField() {
		tag, inline, ok := jsonName(t.Field(i))
		switch {
		case !ok:
		case inline:
			out = append(out, fieldNames(t.Field(i).Type)...)
		default:
			out = append(out, tag)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func jsonName(f reflect.StructField) (name string, inline, ok bool) {
	name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
	switch {
	case name == "-" || !f.IsExported():
		return "", false, false
	case f.Anonymous && name == "" || strings.Contains(options, "inline"):
		return "", true, f.Type.Kind() == reflect.Struct
	case name == "":
		return f.Name, false, true
	}
	return name, false, true
}
