package native

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

var update = flag.Bool("update", false, "write the expected files anew")

// golden compares got with the file, or writes it.
func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got):\n%s", file, d)
	}
}

// documents reads a file whose documents are all right as such.
func documents(t testing.TB, file string) []document.Document {
	t.Helper()
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	docs, problems := document.ParseSet([]document.Source{{File: filepath.Base(file), Data: data}}, document.Limits{})
	if len(problems) > 0 || len(docs) == 0 {
		t.Fatalf("%s: %d documents, %v", file, len(docs), problems)
	}
	return docs
}

func files(t testing.TB, pattern string, atLeast int) []string {
	t.Helper()
	out, err := filepath.Glob(pattern)
	if err != nil || len(out) < atLeast {
		t.Fatal(len(out), err)
	}
	return out
}

func TestGoodFiles(t *testing.T) {
	for _, file := range files(t, "testdata/good/*.yaml", 3) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			type result struct {
				*Policy
				Name     string
				Fields   []string
				Warnings []string `json:",omitempty"`
			}
			var out []result
			docs := documents(t, file)
			for i := range docs {
				p, problems := Parse(&docs[i])
				if problems.Failed() {
					t.Fatal(problems.Err())
				}
				r := result{Policy: p, Name: docs[i].Name, Fields: p.Fields()}
				for _, w := range problems {
					r.Warnings = append(r.Warnings, w.Error())
				}
				out = append(out, r)
				checkMatches(t, p)
			}
			text, err := json.MarshalIndent(out, "", "  ")
			if err != nil {
				t.Fatal(err)
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want.json", append(text, '\n'))
		})
	}
}

// checkMatches wants the proxy to take the conditions that were accepted.
func checkMatches(t testing.TB, p *Policy) {
	t.Helper()
	if p.Policy == nil {
		return
	}
	var all []model.Match
	for _, f := range p.Policy.Faults {
		all = append(all, f.Matches...)
	}
	for _, l := range p.Policy.Limits {
		all = append(all, l.Matches...)
	}
	if _, err := route.Compile([]model.Rule{{Matches: all}}); err != nil {
		t.Errorf("the proxy refuses what was accepted: %v", err)
	}
}

// TestBadFiles wants every document of every file to be refused, with place and field.
func TestBadFiles(t *testing.T) {
	for _, file := range files(t, "testdata/bad/*.bad.yaml", 10) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			var out bytes.Buffer
			docs := documents(t, file)
			for i := range docs {
				_, problems := Parse(&docs[i])
				if !problems.Failed() {
					t.Errorf("line %d: taken", docs[i].Line)
				}
				for _, p := range problems {
					if p.File == "" || p.Line == 0 || p.Column == 0 || p.Field == "" {
						t.Errorf("no place: %v", p)
					}
					fmt.Fprintln(&out, p.Error())
				}
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".want", out.Bytes())
		})
	}
}

// FuzzParse wants that nothing panics, that what is accepted can be run, and that its text form is whole.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, file := range files(f, pattern, 3) {
			for _, d := range documents(f, file) {
				f.Add([]byte(d.Text))
			}
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		docs, _ := document.ParseSet([]document.Source{{File: "f.yaml", Data: data}}, document.Limits{})
		for i := range docs {
			if docs[i].Kind == "" || docs[i].APIVersion == "" {
				continue
			}
			p, problems := Parse(&docs[i])
			if problems.Failed() {
				continue
			}
			checkMatches(t, p)
			checkBounds(t, p)
			if _, err := json.Marshal(p); err != nil {
				t.Error(err)
			}
		}
	})
}

// checkBounds wants what everything after Parse counts on.
func checkBounds(t *testing.T, p *Policy) {
	share := func(name string, x float64) {
		if !(x >= 0 && x <= 1) {
			t.Errorf("%s is %g", name, x)
		}
	}
	if len(p.Targets) == 0 {
		t.Error("there is no target")
	}
	if m := p.Policy; m != nil {
		if m.Timeout < 0 || m.BackendTimeout < 0 || m.IdleTimeout < 0 || m.Timeout > 0 && m.BackendTimeout > m.Timeout {
			t.Errorf("timeouts %v %v %v", m.Timeout, m.BackendTimeout, m.IdleTimeout)
		}
		for _, f := range m.Faults {
			share("delay", f.DelayShare)
			share("abort", f.AbortShare)
		}
		for _, l := range m.Limits {
			if l.Requests == 0 || l.Per < minPer || l.Name == "" {
				t.Errorf("limit %+v", l)
			}
		}
	}
	if u := p.Upstream; u != nil {
		for _, target := range p.Targets {
			if target.Kind != KindService {
				t.Errorf("endpoints of a %s", target.Kind)
			}
		}
		if b := u.Budget; b != nil {
			share("budget", b.Ratio)
		}
		if e := u.Ejection; e != nil {
			share("ejected", e.MaxShare)
			share("success rate", e.SuccessRate)
		}
		share("panic", u.Balance.Panic)
		if u.Balance.Algorithm == model.Maglev && u.Balance.TableSize != 0 && !prime(u.Balance.TableSize) {
			t.Errorf("maglev of %d", u.Balance.TableSize)
		}
	}
}
