package arch

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// source is a parsed file that people write.
type source struct {
	name string // from the module's root
	pkg  string // import path within the module
	test bool
	main bool
	fset *token.FileSet
	file *ast.File
	size int // lines
}

// sources parses every file of the module that is not generated.
func sources(t *testing.T) []*source {
	t.Helper()
	base := root(t)
	var all []*source
	for _, p := range list(t, "./...") {
		for _, names := range [][]string{p.GoFiles, p.TestGoFiles, p.XTestGoFiles} {
			for _, n := range names {
				path := filepath.Join(p.Dir, n)
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				fset := token.NewFileSet()
				f, err := parser.ParseFile(fset, path, text, parser.ParseComments)
				if err != nil {
					t.Fatal(err)
				}
				if ast.IsGenerated(f) {
					continue
				}
				rel, err := filepath.Rel(base, path)
				if err != nil {
					t.Fatal(err)
				}
				all = append(all, &source{
					name: rel, pkg: p.name(), test: strings.HasSuffix(n, "_test.go"), main: f.Name.Name == "main",
					fset: fset, file: f, size: bytes.Count(text, []byte("\n")),
				})
			}
		}
	}
	return all
}

func (s *source) line(p token.Pos) int { return s.fset.Position(p).Line }

const (
	maxFile     = 800
	maxFunction = 120
)

func TestFilesAndFunctionsAreShort(t *testing.T) {
	for _, s := range sources(t) {
		if s.size > maxFile {
			t.Errorf("%s has %d lines, the limit is %d: split it by what its parts are about", s.name, s.size, maxFile)
		}
		for _, d := range s.file.Decls {
			f, ok := d.(*ast.FuncDecl)
			if !ok || f.Body == nil {
				continue
			}
			if n := s.line(f.End()) - s.line(f.Pos()) + 1; n > maxFunction {
				t.Errorf("%s:%d: %s has %d lines, the limit is %d", s.name, s.line(f.Pos()), f.Name.Name, n, maxFunction)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIsFor(t *testing.T) {
	docs, files := map[string]int{}, map[string]int{}
	for _, s := range sources(t) {
		files[s.pkg]++
		if s.file.Doc != nil {
			docs[s.pkg]++
		}
	}
	for pkg := range files {
		if docs[pkg] != 1 {
			t.Errorf("%s has %d package comments, wants one, in doc.go: its charter, then concurrency, then limits", pkg, docs[pkg])
		}
	}
}
