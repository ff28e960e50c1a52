package config

import (
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/reflect/protoreflect"
	networking "istio.io/api/networking/v1alpha3"
)

// istioTable is what becomes of the fields of one kind of Istio's.
type istioTable struct {
	kind, text string
	rows       []tableRow
}

// istioTables makes the tables of Istio's kinds from istio/testdata/fields.txt, which a test of package istio makes from
// Istio's own types by trying documents, and from testdata/fieldtable/istio.txt, which names the tests that show at run
// time what a field does. A message that several kinds have is with the first.
func istioTables(t *testing.T, there map[string]bool) []istioTable {
	t.Helper()
	states, proofs := tabbed(t, "istio/testdata/fields.txt"), tabbed(t, "testdata/fieldtable/istio.txt")
	seen, used, at := map[protoreflect.FullName]string{}, map[string]bool{}, 0
	var out []istioTable
	for _, m := range []protoreflect.ProtoMessage{
		&networking.VirtualService{}, &networking.DestinationRule{}, &networking.Gateway{},
		&networking.ServiceEntry{}, &networking.WorkloadEntry{}, &networking.Sidecar{},
	} {
		d := m.ProtoReflect().Descriptor()
		table := istioTable{kind: string(d.Name())}
		if first := seen[d.FullName()]; first != "" {
			table.text = "The same fields as within " + first + "."
		}
		for _, field := range istioFields(d, table.kind, seen, table.text != "") {
			state, ok := states[field]
			if !ok {
				t.Errorf("istio/testdata/fields.txt has no %s", field)
				continue
			}
			at++
			row := tableRow{field: field, result: state[0], note: state[1]}
			if state[0] == "works" {
				prefix, proof := longest(proofs, field)
				if used[prefix] = true; proof == nil {
					t.Errorf("%s works, and testdata/fieldtable/istio.txt names no test", field)
					continue
				}
				checkProof(t, there, field, proof[0])
				row.note = proofText(proof[0], strings.Join(append([]string{state[1]}, state[2:]...), "; "))
				if len(proof) > 1 {
					row.result, row.note = "not run", proof[1]
				}
			}
			table.rows = append(table.rows, row)
		}
		out = append(out, table)
	}
	for prefix := range proofs {
		if !used[prefix] {
			t.Errorf("testdata/fieldtable/istio.txt: no field that works begins with %s", prefix)
		}
	}
	if at < len(states) {
		t.Errorf("%d fields are in the tables, and %d in istio/testdata/fields.txt", at, len(states))
	}
	return out
}

// tabbed reads a file of lines "key TAB value TAB ...".
func tabbed(t *testing.T, file string) map[string][]string {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
			continue
		}
		cells := strings.Split(line, "\t")
		if len(cells) < 2 || out[cells[0]] != nil {
			t.Fatalf("%s: a line without tabs, or a field twice: %q", file, line)
		}
		out[cells[0]] = cells[1:]
	}
	return out
}

// longest returns what is said of the field itself, else of its message ("HTTPRetry.").
func longest(proofs map[string][]string, field string) (string, []string) {
	if p, ok := proofs[field]; ok {
		return field, p
	}
	message := field[:strings.LastIndexByte(field, '.')+1]
	return message, proofs[message]
}

// istioFields returns the fields of a message and those of the messages within it that no kind before has.
func istioFields(d protoreflect.MessageDescriptor, kind string, seen map[protoreflect.FullName]string, again bool) []string {
	if seen[d.FullName()] != "" && !again {
		return nil
	}
	if seen[d.FullName()] == "" {
		seen[d.FullName()] = kind
	}
	name := string(d.Name())
	if parent, ok := d.Parent().(protoreflect.MessageDescriptor); ok && name == "Failover" {
		name = string(parent.Name()) + "." + name
	}
	if strings.HasPrefix(string(d.FullName()), "istio.type.") {
		name = "type." + name
	}
	var out, inner []string
	for i := range d.Fields().Len() {
		f := d.Fields().Get(i)
		out = append(out, name+"."+f.JSONName())
		if f.IsMap() {
			f = f.MapValue()
		}
		if m := f.Message(); m != nil && strings.HasPrefix(string(m.FullName()), "istio.") {
			inner = append(inner, istioFields(m, kind, seen, false)...)
		}
	}
	return append(out, inner...)
}
