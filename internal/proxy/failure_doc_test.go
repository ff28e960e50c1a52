package proxy

import (
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/weft-mesh/weft/internal/telemetry"
)

// flagsInUse returns the flags of failures that the engine sets, by the names of their constants.
func flagsInUse(t *testing.T) map[string]string {
	t.Helper()
	files, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	values, uses := map[string]string{}, map[string]int{}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(gotoken.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.ValueSpec:
				for i, id := range n.Names {
					if i < len(n.Values) && strings.HasPrefix(id.Name, "flag") {
						switch v := n.Values[i].(type) {
						case *ast.BasicLit:
							if v.Kind == gotoken.STRING {
								values[id.Name], _ = strconv.Unquote(v.Value)
							}
						case *ast.SelectorExpr:
							if v.Sel.Name == "FailureClientGone" {
								values[id.Name] = telemetry.FailureClientGone
							}
						}
					}
				}
			case *ast.Ident:
				uses[n.Name]++
			}
			return true
		})
	}
	for name := range values {
		if uses[name] < 2 { // its own declaration is one
			delete(values, name)
		}
	}
	return values
}

// TestFailuresAreDocumented wants every flag in docs/reference/failures.md, and none that there is not.
func TestFailuresAreDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/reference/failures.md")
	if err != nil {
		t.Fatal(err)
	}
	documented := map[string]int{}
	for _, m := range regexp.MustCompile("(?m)^\\| `([a-z_]+)` \\|").FindAllStringSubmatch(string(page), -1) {
		documented[m[1]]++
	}
	flags := flagsInUse(t)
	if len(flags) < 15 {
		t.Fatalf("only %d flags were found", len(flags))
	}
	for name, flag := range flags {
		if documented[flag] != 1 {
			t.Errorf("%s (%s) has %d lines in docs/reference/failures.md: write what it means and what to look at", flag, name, documented[flag])
		}
		delete(documented, flag)
	}
	for flag := range documented {
		t.Errorf("docs/reference/failures.md describes %s, which no proxy says", flag)
	}
}
