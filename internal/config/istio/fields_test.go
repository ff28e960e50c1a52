package istio

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
	"sigs.k8s.io/yaml"
)

var update = flag.Bool("update", false, "write the expected files anew")

// kinds are the six kinds with the structs they are read into.
func kinds() map[protoreflect.MessageDescriptor]reflect.Type {
	return map[protoreflect.MessageDescriptor]reflect.Type{
		(&networking.VirtualService{}).ProtoReflect().Descriptor():  reflect.TypeFor[virtualService](),
		(&networking.DestinationRule{}).ProtoReflect().Descriptor(): reflect.TypeFor[destinationRule](),
		(&networking.Gateway{}).ProtoReflect().Descriptor():         reflect.TypeFor[istioGateway](),
		(&networking.ServiceEntry{}).ProtoReflect().Descriptor():    reflect.TypeFor[serviceEntry](),
		(&networking.WorkloadEntry{}).ProtoReflect().Descriptor():   reflect.TypeFor[workloadEntry](),
		(&networking.Sidecar{}).ProtoReflect().Descriptor():         reflect.TypeFor[sidecar](),
	}
}

// messageOf returns the message of Istio's that a field holds, nil if it holds a plain value.
func messageOf(f protoreflect.FieldDescriptor) protoreflect.MessageDescriptor {
	if f.IsMap() {
		f = f.MapValue()
	}
	if m := f.Message(); m != nil && strings.HasPrefix(string(m.FullName()), "istio.") {
		return m
	}
	return nil
}

// name is how a message is called in Refused, WithoutEffect and fields.txt.
func name(m protoreflect.MessageDescriptor) string {
	parent, nested := m.Parent().(protoreflect.MessageDescriptor)
	switch {
	case nested && m.Name() == "Failover":
		return string(parent.Name()) + ".Failover"
	case strings.HasPrefix(string(m.FullName()), "istio.type."):
		return "type." + string(m.Name())
	}
	return string(m.Name())
}

// structs returns the struct of every message that can be reached.
func structs(t *testing.T) map[protoreflect.MessageDescriptor]reflect.Type {
	out := map[protoreflect.MessageDescriptor]reflect.Type{}
	var walk func(m protoreflect.MessageDescriptor, s reflect.Type)
	walk = func(m protoreflect.MessageDescriptor, s reflect.Type) {
		if old, ok := out[m]; ok {
			if old != s {
				t.Errorf("%s is read into %s and %s", name(m), old, s)
			}
			return
		}
		out[m] = s
		tags := map[string]reflect.Type{}
		for i := range s.NumField() {
			tags[s.Field(i).Tag.Get("json")] = s.Field(i).Type
		}
		for i := range m.Fields().Len() {
			f := m.Fields().Get(i)
			at, ok := tags[f.JSONName()]
			delete(tags, f.JSONName())
			if !ok {
				t.Errorf("%s has no field %s.%s", s, name(m), f.JSONName())
				continue
			}
			if sub := messageOf(f); sub != nil {
				for at.Kind() == reflect.Pointer || at.Kind() == reflect.Slice || at.Kind() == reflect.Map {
					at = at.Elem()
				}
				walk(sub, at)
			}
		}
		for tag := range tags {
			t.Errorf("%s has the field %s, which %s does not", s, tag, name(m))
		}
	}
	for m, s := range kinds() {
		walk(m, s)
	}
	return out
}

// document collects the fields that a value uses.
func collect(m protoreflect.MessageDescriptor, v any, into map[string]bool) {
	fields, _ := v.(map[string]any)
	for key, value := range fields {
		f := m.Fields().ByJSONName(key)
		if f == nil {
			continue
		}
		into[name(m)+"."+key] = true
		sub := messageOf(f)
		if sub == nil {
			continue
		}
		switch value := value.(type) {
		case []any:
			for _, item := range value {
				collect(sub, item, into)
			}
		case map[string]any:
			if !f.IsMap() {
				collect(sub, value, into)
				continue
			}
			for _, item := range value {
				collect(sub, item, into)
			}
		}
	}
}

// used returns the fields in the documents of files, with the first file that has each.
func used(t *testing.T, pattern string) map[string]string {
	t.Helper()
	files, err := filepath.Glob(pattern)
	if err != nil || len(files) == 0 {
		t.Fatal(pattern, err)
	}
	roots := map[string]protoreflect.MessageDescriptor{}
	for m := range kinds() {
		roots[string(m.Name())] = m
	}
	out := map[string]string{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		for doc := range strings.SplitSeq(string(data), "\n---\n") {
			var v struct {
				APIVersion string
				Kind       string
				Spec       map[string]any
			}
			if err := yaml.Unmarshal([]byte(doc), &v); err != nil || !strings.HasPrefix(v.APIVersion, "networking.istio.io/") {
				continue
			}
			found := map[string]bool{}
			collect(roots[v.Kind], v.Spec, found)
			for f := range found {
				if out[f] == "" {
					out[f] = filepath.Base(filepath.Dir(file)) + "/" + filepath.Base(file)
				}
			}
		}
	}
	return out
}

// TestEveryField says of every field of Istio's whether it works, with a file that shows it, or is refused, with the
// message. testdata/fields.txt is the table that the reference is made from, a line for each field: its name, state
// (works, refused or no effect), the file or the reason, and the limit if it has one, with tabs between.
func TestEveryField(t *testing.T) {
	const data = "../testdata/istio/"
	good, bad := used(t, data+"good/*.yaml"), used(t, data+"bad/*.yaml")
	for _, dir := range []string{"gateway/*.yaml", "bookinfo/*.yaml"} {
		for f, file := range used(t, data+dir) {
			if good[f] == "" {
				good[f] = file
			}
		}
	}
	refused, idle := Refused(), WithoutEffect()
	for _, pseudo := range []string{"HeaderOperations.set"} {
		delete(refused, pseudo) // of some values only
	}
	// partly refused: for other values than the default.
	partly := map[string]bool{"IstioIngressListener.captureMode": true}
	limits := Limits()
	var lines []string
	seen := map[string]bool{}
	for m := range structs(t) {
		for i := range m.Fields().Len() {
			f := name(m) + "." + m.Fields().Get(i).JSONName()
			seen[f] = true
			state, note := "works", good[f]
			if why, ok := idle[f]; ok {
				state, note = "no effect", why+" ("+good[f]+")"
			}
			if why, ok := refused[f]; ok {
				if !partly[f] {
					state, note = "refused", why
				}
				if bad[f] == "" {
					t.Errorf("%s is refused, and no bad file shows it", f)
				} else if !wanted(t, data+bad[f], why) {
					t.Errorf("%s: %s does not get the message %q", f, bad[f], why)
				}
				if good[f] != "" && !partly[f] {
					t.Errorf("%s is refused, and taken in %s", f, good[f])
				}
			} else if good[f] == "" {
				t.Errorf("%s: no good file shows it, and it is not refused", f)
			}
			if limit := limits[f]; limit != "" && state == "works" || limit != "" && partly[f] {
				note += "\t" + limit
			}
			lines = append(lines, fmt.Sprintf("%s\t%s\t%s\n", f, state, note))
		}
	}
	for _, f := range slices.Concat(slices.Collect(maps.Keys(refused)), slices.Collect(maps.Keys(idle)), slices.Collect(maps.Keys(limits))) {
		if !seen[f] {
			t.Errorf("Istio has no field %s", f)
		}
	}
	slices.Sort(lines)
	compare(t, "testdata/fields.txt", strings.Join(lines, ""))
}

// wanted reports whether the problems of a bad file have the message. Fields within one that is refused are not
// looked at, but share its reason.
func wanted(t *testing.T, file, message string) bool {
	t.Helper()
	got, err := os.ReadFile(strings.TrimSuffix(file, ".yaml") + ".want")
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(got), message)
}

func compare(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if string(want) != got {
		t.Errorf("%s is not up to date: run the test with -update and read the difference", file)
	}
}
