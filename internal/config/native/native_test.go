package native

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/config/configtest"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

var update = flag.Bool("update", false, "write the expected files anew")

func TestGoodFiles(t *testing.T) {
	for _, file := range configtest.Files(t, "testdata/good/*.yaml", 3) {
		t.Run(filepath.Base(file), func(t *testing.T) {
			type result struct {
				*Policy
				Name     string
				Fields   []string
				Warnings []string `json:",omitempty"`
			}
			var out []result
			docs := configtest.Documents(t, file)
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
			configtest.Golden(t, *update, strings.TrimSuffix(file, ".yaml")+".want.json", append(text, '\n'))
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
	for _, file := range configtest.Files(t, "testdata/bad/*.bad.yaml", 10) {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".bad.yaml"), func(t *testing.T) {
			var out bytes.Buffer
			docs := configtest.Documents(t, file)
			for i := range docs {
				_, problems := Parse(&docs[i])
				if !problems.Failed() {
					t.Errorf("line %d: taken", docs[i].Line)
				}
				for _, p := range problems {
					configtest.Told(t, p)
					fmt.Fprintln(&out, p.Error())
				}
			}
			configtest.Golden(t, *update, strings.TrimSuffix(file, ".yaml")+".want", out.Bytes())
		})
	}
}

// FuzzParse wants that nothing panics, that what is accepted can be run, and that its text form is whole.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml"} {
		for _, file := range configtest.Files(f, pattern, 3) {
			for _, d := range configtest.Documents(f, file) {
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
			counted := l.Requests > 0 && l.Per >= minPer
			if counted == (l.Service != nil) || l.Name == "" {
				t.Errorf("limit %+v", l)
			}
		}
	}
	if u := p.Upstream; u != nil {
		for _, target := range p.Targets {
			if target.Kind != KindService && target.Kind != KindServiceEntry {
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
