package config

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

const fieldTableHead = `# Traffic: every field

What Weft does with every field of the Gateway API (` + "`sigs.k8s.io/gateway-api` v1.6.3, standard and experimental" + `), of
` + "`TrafficPolicy`" + ` and of six kinds of Istio's (` + "`istio.io/api`" + `). A test makes this page: it lists the fields from the types
themselves, writes a document that has the field, gives it to the parser and notes the answer. So no field is missing, and
one that is taken but never read does not pass for one that works.

| result | means | third column |
| --- | --- | --- |
| works | taken, compiled and run | the tests that show it, and the field's limits |
| refused | the document is refused, with file, line and column | the message |
| no effect | the document is taken; the field changes nothing | why |
| not run | the document is taken; proxies do not act by the field yet | what is missing |

Tests are named with their packages: ` + "`config`, `proxy`, `balance`, `resilience` and `route` are in `internal/`, `native` in\n`internal/config/`, `e2e` and `conformance` in `test/`" + `. Those of config and native show that the field is read and compiled; the
others show what it then does, where it does anything that another field does not. Files named with Istio's fields are in
` + "`internal/config/testdata/istio`. `[]` is any element of a list. Fields are below `spec`" + `; metadata is that of Kubernetes, and
` + "`status`" + ` is Weft's to write.

See [trafficpolicy.md](trafficpolicy.md) for what the fields of TrafficPolicy mean, with defaults and bounds, and
[failures.md](failures.md) for what clients see when a rule or policy says no.
`

// tableRow is a line of the table.
type tableRow struct{ field, result, note string }

// TestFieldTable makes docs/reference/traffic.md and fails for a field that is not in testdata/fieldtable, for one that
// is not as it is said there, and for a test that does not exist.
func TestFieldTable(t *testing.T) {
	there := testsThere(t)
	var page strings.Builder
	page.WriteString(fieldTableHead)
	counts := map[string]int{}
	section := func(title, text string, rows []tableRow) {
		fmt.Fprintf(&page, "\n## %s\n\n", title)
		if text != "" {
			page.WriteString(text + "\n\n")
		}
		page.WriteString("| field | result | proof or message |\n| --- | --- | --- |\n")
		for _, r := range rows {
			counts[r.result]++
			fmt.Fprintf(&page, "| `%s` | %s | %s |\n", r.field, r.result, cell(r.note))
		}
	}
	for _, k := range gatewayKinds() {
		rows, where := sampleRows(t, there, k.kind, leavesOf(k.spec, ""))
		section("Gateway API: "+k.kind, where, rows)
	}
	rows, _ := sampleRows(t, there, "TrafficPolicy", policyLeaves(t))
	section("TrafficPolicy", "`matches[]` stands for `faults[].matches[]` and `rateLimits[].matches[]`, which are the same.", rows)
	for _, k := range istioTables(t, there) {
		section("Istio: "+k.kind, k.text, k.rows)
	}
	golden(t, "../../docs/reference/traffic.md", []byte(page.String()))
	t.Logf("fields by result: %v", counts)
}

// sampleRows tries every field of a kind.
func sampleRows(t *testing.T, there map[string]bool, kind string, fields []string) (rows []tableRow, where string) {
	t.Helper()
	s := readSamples(t, kind)
	for _, field := range fields {
		p := s.part(field)
		if p == nil {
			t.Errorf("%s %s: nothing is known of it: add it to testdata/fieldtable/%s.yaml", kind, field, kind)
			continue
		}
		p.used = true
		if row, ok := s.row(t, there, p, field); ok {
			rows = append(rows, row)
		}
	}
	for i := range s.Parts {
		if !s.Parts[i].used {
			t.Errorf("testdata/fieldtable/%s.yaml: no field is below %q", kind, s.Parts[i].Field)
		}
	}
	return rows, s.Where
}

// row tries a field and compares with what is said of it.
func (s *samples) row(t *testing.T, there map[string]bool, p *part, field string) (tableRow, bool) {
	t.Helper()
	name := s.Kind + " " + field
	problem, text, err := s.try(p, field)
	switch {
	case err != nil:
		t.Error(err)
	case p.Refused != "" && (problem == nil || problem.Warning):
		t.Errorf("%s is not refused any more\n%s", name, text)
	case p.Refused != "" && !strings.Contains(problem.Message, p.Refused):
		t.Errorf("%s is refused with %v, want %q\n%s", name, problem, p.Refused, text)
	case p.Refused != "":
		return tableRow{field, "refused", placeOf(problem.Field, field) + problem.Message}, true
	case problem != nil && !problem.Warning:
		t.Errorf("%s is refused: %v\n%s", name, problem, text)
	case p.Idle != "" && problem != nil:
		if !strings.Contains(problem.Message, p.Idle) {
			t.Errorf("%s: the warning is %v, want %q", name, problem, p.Idle)
		}
		return tableRow{field, "no effect", "warning: " + placeOf(problem.Field, field) + problem.Message}, true
	case p.Idle != "":
		return tableRow{field, "no effect", p.Idle}, true
	case problem != nil:
		t.Errorf("%s is taken with a warning: %v", name, problem)
	case p.NotRun != "":
		return tableRow{field, "not run", p.NotRun}, true
	case !s.matters(p, field):
		t.Errorf("%s is taken and never read: say idle or notRun in testdata/fieldtable/%s.yaml", name, s.Kind)
	default:
		checkProof(t, there, name, p.Proof)
		return tableRow{field, "works", proofText(p.Proof, p.Note)}, true
	}
	return tableRow{}, false
}

// placeOf names the field that a message is of, where it is another.
func placeOf(at, field string) string {
	at = indexes.ReplaceAllString(strings.TrimPrefix(at, "spec."), "[]")
	if at == "" || at == field || strings.HasSuffix(at, ".type") || strings.HasPrefix(field, at) && len(field)-len(at) < 3 {
		return ""
	}
	return "`" + at + "`: "
}

func proofText(proof, note string) string {
	var out []string
	for name := range strings.FieldsSeq(proof) {
		out = append(out, "`"+name+"`")
	}
	text := strings.Join(out, ", ")
	if note != "" {
		text += "; " + note
	}
	return text
}

var spaces = regexp.MustCompile(`\s+`)

// cell makes text fit for a table.
func cell(s string) string {
	return strings.ReplaceAll(spaces.ReplaceAllString(s, " "), "|", `\|`)
}
