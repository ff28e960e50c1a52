package native

import (
	"fmt"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/weft-mesh/weft/internal/config/configtest"
	"github.com/weft-mesh/weft/internal/config/document"
)

const reference = "../../../docs/reference/trafficpolicy.md"

// fieldsOf lists the fields of a type as the reference names them: "faults[].delay.percent". Those of matches are
// listed once. leaf says whether a field has no fields of its own.
func fieldsOf(t reflect.Type, at string, leaf map[string]bool) {
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		field, ft := at+name, t.Field(i).Type
		if ft.Kind() == reflect.Pointer {
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Slice {
			field += "[]"
			ft = ft.Elem()
		}
		if ft.Kind() == reflect.Map {
			ft = ft.Elem()
		}
		inner := ft.Kind() == reflect.Struct && !hasScalar(ft)
		leaf[field] = !inner || ft.NumField() == 0
		if inner {
			if ft == reflect.TypeFor[match]() {
				field = "matches[]"
			}
			if at == "ports[]." && ft != reflect.TypeFor[portTimeouts]() {
				continue // those of the policy itself, which are listed there
			}
			fieldsOf(ft, field+".", leaf)
		}
	}
}

func hasScalar(t reflect.Type) bool {
	_, ok := t.FieldByName("scalar")
	return ok
}

func allFields() map[string]bool {
	out := map[string]bool{}
	fieldsOf(reflect.TypeFor[spec](), "", out)
	return out
}

var (
	indexes = regexp.MustCompile(`\[\d+\]`)
	inside  = regexp.MustCompile(`^(faults|rateLimits)\[\]\.matches\[\]\.`)
	ofPort  = regexp.MustCompile(`^ports\[\]\.((limits|ejection|loadBalancing)\.)`)
	mapKeys = regexp.MustCompile(`(distribute\[\]\.to)[.[].*`)
)

// canonical turns the field of a problem into that of fieldsOf.
func canonical(field string) string {
	field = strings.TrimPrefix(field, "spec.")
	field = mapKeys.ReplaceAllString(indexes.ReplaceAllString(field, "[]"), "$1")
	return ofPort.ReplaceAllString(inside.ReplaceAllString(field, "matches[]."), "$1")
}

// TestEveryFieldIsTested wants each field in a good file, and each leaf to be the fault of a bad one.
func TestEveryFieldIsTested(t *testing.T) {
	good, bad := map[string]bool{}, map[string]bool{}
	for _, file := range configtest.Files(t, "testdata/good/*.yaml", 3) {
		for _, d := range configtest.Documents(t, file) {
			var root struct {
				Spec map[string]any `yaml:"spec"`
			}
			if err := yaml.Unmarshal([]byte(d.Text), &root); err != nil {
				t.Fatal(err)
			}
			collect(root.Spec, "", good)
		}
	}
	for _, file := range configtest.Files(t, "testdata/bad/*.bad.yaml", 10) {
		for _, d := range configtest.Documents(t, file) {
			_, problems := Parse(&d)
			for _, p := range problems {
				field := canonical(p.Field)
				bad[field], bad[field+"[]"] = true, true
			}
		}
	}
	for field, leaf := range allFields() {
		if !good[field] {
			t.Errorf("%s is in no good file", field)
		}
		if leaf && !bad[field] && field != "healthCheck.tcp" {
			t.Errorf("%s is in no bad file", field)
		}
	}
}

// collect notes the fields of a value.
func collect(v any, at string, into map[string]bool) {
	switch v := v.(type) {
	case map[string]any:
		for name, inner := range v {
			field := strings.TrimPrefix(at+"."+name, ".")
			if list, ok := inner.([]any); ok {
				into[canonical(field+"[]")] = true
				for _, item := range list {
					collect(item, field+"[]", into)
				}
				continue
			}
			into[canonical(field)] = true
			collect(inner, field, into)
		}
	case []any:
		for _, item := range v {
			collect(item, at+"[]", into)
		}
	}
}

// TestReference wants every field in docs/reference/trafficpolicy.md, none that there is not, and examples that are
// right.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	fields, documented := allFields(), map[string]int{}
	row := regexp.MustCompile("^\\| `([^`]+)` \\|(.*)$")
	table := false
	for line := range strings.Lines(string(text)) {
		table = strings.HasPrefix(line, "|") && (table || strings.HasPrefix(line, "| field |"))
		m := row.FindStringSubmatch(strings.TrimSpace(line))
		if !table || m == nil {
			continue
		}
		documented[m[1]]++
		if cells := strings.Count(m[2], "|"); cells != 4 {
			t.Errorf("%s: %d cells after the name; want type, default, bounds and meaning", m[1], cells)
		}
	}
	for field := range fields {
		if documented[field] != 1 {
			t.Errorf("%s is documented %d times", field, documented[field])
		}
	}
	for field := range documented {
		if _, ok := fields[field]; !ok {
			t.Errorf("%s is documented, and there is no such field", field)
		}
	}
	for _, s := range retryConditions() {
		if !strings.Contains(string(text), "`"+s+"`") {
			t.Errorf("the condition %s is not documented", s)
		}
	}
	for _, s := range algorithms() {
		if !strings.Contains(string(text), "`"+s+"`") {
			t.Errorf("the algorithm %s is not documented", s)
		}
	}
	examples := 0
	for i, m := range regexp.MustCompile("(?s)```yaml\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		docs, problems := document.ParseSet([]document.Source{{File: fmt.Sprintf("example %d", i+1), Data: []byte(m[1])}}, document.Limits{})
		for j := range docs {
			if docs[j].Kind == "TrafficPolicy" {
				_, more := Parse(&docs[j])
				problems = slices.Concat(problems, more)
				examples++
			}
		}
		if len(problems) > 0 {
			t.Error(problems)
		}
	}
	if examples < 5 {
		t.Errorf("%d examples", examples)
	}
}
