package config

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"strings"
	"testing"
)

// proofDirs are the packages whose tests may prove that a field works, by the name that the table calls them.
func proofDirs() map[string]string {
	return map[string]string{
		"agent": "../agent", "config": ".", "istio": "istio", "native": "native", "balance": "../balance", "proxy": "../proxy",
		"resilience": "../resilience", "route": "../route", "model": "../model", "e2e": "../../test/e2e", "conformance": "../../test/conformance",
	}
}

// testsThere returns the test functions of the packages, as "proxy.TestCORS".
func testsThere(t *testing.T) map[string]bool {
	t.Helper()
	out := map[string]bool{}
	for name, dir := range proofDirs() {
		files, err := filepath.Glob(dir + "/*_test.go")
		if err != nil || len(files) == 0 {
			t.Fatalf("%s has no tests: %v", dir, err)
		}
		for _, file := range files {
			f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range f.Decls {
				if fn, ok := d.(*ast.FuncDecl); ok && fn.Recv == nil && strings.HasPrefix(fn.Name.Name, "Test") {
					out[name+"."+fn.Name.Name] = true
				}
			}
		}
	}
	return out
}

// checkProof wants every test that is named to be there.
func checkProof(t *testing.T, there map[string]bool, field, proof string) {
	t.Helper()
	if proof == "" {
		t.Errorf("%s works, and no test is named that shows it", field)
	}
	for name := range strings.FieldsSeq(proof) {
		if !there[name] {
			t.Errorf("%s: there is no test %s", field, name)
		}
	}
}
