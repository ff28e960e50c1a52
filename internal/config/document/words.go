package document

import (
	"fmt"
	"reflect"
	"strconv"

	"go.yaml.in/yaml/v3"
)

// nodeWords says what a value is, for messages.
func nodeWords(n *yaml.Node) string {
	switch n.Kind {
	case yaml.MappingNode:
		return "a mapping"
	case yaml.SequenceNode:
		return "a list"
	case yaml.ScalarNode:
		v := clip(n.Value, 60)
		switch n.Tag {
		case "!!null":
			return "nothing"
		case "!!bool":
			return "the boolean " + v
		case "!!int", "!!float":
			return "the number " + v
		case "!!str":
			return "the string " + strconv.Quote(v)
		}
		return fmt.Sprintf("%q (%s)", v, n.Tag)
	}
	return "an unknown value"
}

func typeWords(t reflect.Type) string {
	switch {
	case t.Kind() == reflect.String:
		return "a string"
	case t.Kind() == reflect.Bool:
		return "a boolean"
	case t.Kind() == reflect.Uint16:
		return "an integer 0 to 65535"
	case t.Kind() >= reflect.Uint && t.Kind() <= reflect.Uint64:
		return "an integer not below 0"
	case t.Kind() == reflect.Float32 || t.Kind() == reflect.Float64:
		return "a number"
	}
	return "an integer"
}

// quoteRemedy says how to write the scalar n as a string.
func quoteRemedy(n *yaml.Node) string {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		return ""
	}
	return "quote it: " + strconv.Quote(clip(n.Value, 60))
}
