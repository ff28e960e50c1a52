package document

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const service = "apiVersion: v1\nkind: Service\nmetadata: {name: a}\n"

func TestSplitKeepsLines(t *testing.T) {
	text := "# head\n---\n" + service + "---   # next\n\n\n" + strings.Replace(service, "name: a", "name: b", 1) +
		"...\n---\n---\n# only a comment\n--- " + `{"apiVersion": "v1", "kind": "Service", "metadata": {"name": "c", "namespace": "x"}}` + "\n"
	docs, problems := Parse("f", []byte(text), Limits{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	type place struct {
		name, namespace string
		line            int
	}
	var got []place
	for _, d := range docs {
		got = append(got, place{d.Name, d.Namespace, d.Line})
	}
	want := []place{{"a", "default", 3}, {"b", "default", 9}, {"c", "x", 16}}
	if d := cmp.Diff(want, got, cmp.AllowUnexported(place{})); d != "" {
		t.Error(d)
	}
}

func TestWindowsLinesAndByteOrderMark(t *testing.T) {
	text := "\ufeff" + strings.ReplaceAll(service+"---\n"+strings.Replace(service, "name: a", "name: b", 1), "\n", "\r\n")
	docs, problems := Parse("f", []byte(text), Limits{})
	if len(problems) > 0 || len(docs) != 2 {
		t.Fatal(docs, problems)
	}
}

func TestProblemsOfASetAreBounded(t *testing.T) {
	text := strings.Repeat("---\nkind: Service\nmetadata: {name: X_}\n", 100)
	_, problems := Parse("f", []byte(text), Limits{Problems: 7})
	if len(problems) != 8 || !strings.Contains(problems[7].Message, "more problems are not shown") {
		t.Error(len(problems), problems)
	}
}

func TestStoredDocumentKeepsItsPlace(t *testing.T) {
	_, problems := ParseSet([]Source{{File: "f", Line: 40, Data: []byte("---\n" + service + "metadata: {}\n")}}, Limits{})
	if len(problems) != 1 || problems[0].Error() != "f:44:1: metadata: the key is here twice; the other is at line 43, column 1" {
		t.Error(problems)
	}
}

func TestNearest(t *testing.T) {
	known := []string{"matches", "backendRefs", "filters", "name", "timeouts", "PathPrefix", "Exact"}
	for s, want := range map[string]string{
		"match": "matches", "backendrefs": "backendRefs", "bakcendRefs": "backendRefs", "nmae": "name", "Prefix": "PathPrefix",
		"exact": "Exact", "x": "", "redirect": "", "": "", strings.Repeat("m", 500): "",
	} {
		if got := Nearest(s, known); got != want {
			t.Errorf("%q: %q, want %q", s, got, want)
		}
	}
}

func TestDecodeTypes(t *testing.T) {
	type inner struct {
		U uint16 `json:"u"`
	}
	type embedded struct {
		E string `json:"e"`
	}
	var got struct {
		embedded
		Inline inner          `json:",inline"`
		B      bool           `json:"b"`
		F      float64        `json:"f"`
		M      map[string]int `json:"m"`
		P      *inner         `json:"p"`
		A      any            `json:"a"`
		S      []string       `json:"s"`
		Null   *inner         `json:"null"`
		Meta   any            `json:"metadata"`
		V      string         `json:"apiVersion"`
		K      string         `json:"kind"`
		Hidden string         `json:"-"`
	}
	docs, problems := Parse("f", []byte(service+"u: 65535\nb: true\nf: 1\nm: {x: 0x10}\np: {u: 1}\na: [1, {b: .inf}, null, 1.5]\ns: [a]\n'null': ~\n"), Limits{})
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	if ps := docs[0].Decode(&got); len(ps) > 0 {
		t.Fatal(ps)
	}
	if got.Inline.U != 65535 || !got.B || got.F != 1 || got.M["x"] != 16 || got.P.U != 1 || got.S[0] != "a" || got.Null != nil {
		t.Errorf("%+v", got)
	}
	docs, _ = Parse("f", []byte(service+"u: 65536\nb: \"true\"\nf: x\nm: []\np: {v: 1}\ns: a\nHidden: x\n"), Limits{})
	var messages []string
	for _, p := range docs[0].Decode(&got) {
		messages = append(messages, p.Error())
	}
	want := []string{
		"f:4:4: u: wants an integer 0 to 65535, has the number 65536",
		`f:5:4: b: wants a boolean, has the string "true"; write true or false`,
		`f:6:4: f: wants a number, has the string "x"`,
		"f:7:4: m: wants a mapping, has a list",
		`f:8:5: p.v: unknown field; did you mean "u"?`,
		`f:9:4: s: wants a list, has the string "a"; begin each item with "- "`,
		"f:10:1: Hidden: unknown field; known are a, apiVersion, b, f, kind, m, metadata, null, p, s, u",
	}
	if d := cmp.Diff(want, messages); d != "" {
		t.Error(d)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(service))
	f.Add([]byte("a: &a [*a]\n<<: *a\n"))
	f.Add([]byte("? [a]\n: {<<: [{b: 1}, 2]}\n"))
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, problems := Parse("f", data, Limits{Nodes: 1000})
		for i := range docs {
			var into struct {
				V string         `json:"apiVersion"`
				M map[string]any `json:"metadata"`
				S *[]int         `json:"spec"`
			}
			problems = append(problems, docs[i].Decode(&into)...)
			if docs[i].Line < 1 {
				t.Fatal("no line")
			}
		}
		for _, p := range problems {
			if p.Message == "" {
				t.Fatal("no message")
			}
		}
	})
}
