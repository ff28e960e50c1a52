package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func repository(parts ...string) string {
	return filepath.Join(append([]string{"..", ".."}, parts...)...)
}

// TestDocs proves docs/cli.md current; -update writes it.
func TestDocs(t *testing.T) {
	var b strings.Builder
	if err := New(Options{}).WriteDocs(&b); err != nil {
		t.Fatal(err)
	}
	golden(t, repository("docs", "cli.md"), b.String())
}

// TestHelp wants every command to say what it does, its defaults and errors, with an example.
func TestHelp(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		if c.Hidden || c.Name() == "help" {
			return
		}
		if c.Short == "" || strings.HasSuffix(c.Short, ".") || len(c.Long) < 60 || !strings.Contains(c.Example, "weft") {
			t.Errorf("%s: wants Short without a full stop, Long and Example", c.CommandPath())
		}
		c.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" {
				t.Errorf("%s --%s has no help", c.CommandPath(), f.Name)
			}
		})
		for _, sub := range c.Commands() {
			visit(sub)
		}
	}
	visit(New(Options{}).Command())
	r := world{}.weft(t, "help")
	for _, want := range []string{"Start:", "Configure:", "Observe:", "Understand:", "Other:", "proxy-status"} {
		if r.code != ExitOK || !strings.Contains(r.out, want) {
			t.Errorf("weft help: no %q in %+v", want, r)
		}
	}
}

// TestAnchors wants every hint of check to lead somewhere: its own, and the control plane's.
func TestAnchors(t *testing.T) {
	raw, err := os.ReadFile(repository("docs", "troubleshooting.md"))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(string(raw), -1) {
		known[m[1]] = true // headings are the anchors themselves: lower case and dashes
	}
	named := regexp.MustCompile(`"((?:cli|host|control-plane|data-plane|store|ca)-[a-z0-9-]+)"`)
	field := regexp.MustCompile(`(?i)anchor:?\s*[:=]?\s*"([a-z0-9-]+)"`)
	seen := 0
	scan := func(pattern string, finders ...*regexp.Regexp) {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			src, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			for _, re := range finders {
				for _, m := range re.FindAllStringSubmatch(string(src), -1) {
					seen++
					if !known[m[1]] {
						t.Errorf("%s: docs/troubleshooting.md has no heading %q", file, m[1])
					}
				}
			}
		}
	}
	scan("check*.go", named)
	scan(repository("internal", "control", "*.go"), field)
	if seen < 10 {
		t.Errorf("only %d anchors found: does the search still fit the code?", seen)
	}
}
