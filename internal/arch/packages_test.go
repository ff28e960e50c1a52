package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

const module = "github.com/weft-mesh/weft/"

// pkg is what `go list -json` says of a package.
type pkg struct {
	ImportPath   string
	Dir          string
	Standard     bool
	Imports      []string
	Deps         []string
	GoFiles      []string
	TestGoFiles  []string
	XTestGoFiles []string
}

// name is the import path within the module.
func (p *pkg) name() string { return short(p.ImportPath) }

func short(path string) string { return strings.TrimPrefix(path, module) }

// root is the module's directory.
func root(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// list returns the module's packages; with deps also everything they link.
func list(t *testing.T, args ...string) []*pkg {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-json=ImportPath,Dir,Standard,Imports,Deps,GoFiles,TestGoFiles,XTestGoFiles"}, args...)...)
	cmd.Dir = root(t)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %v\n%s", cmd.Args, err, stderr.String())
	}
	var all []*pkg
	for dec := json.NewDecoder(bytes.NewReader(out)); ; {
		p := &pkg{}
		switch err := dec.Decode(p); {
		case errors.Is(err, io.EOF):
			if len(all) == 0 {
				t.Fatal("no packages")
			}
			return all
		case err != nil:
			t.Fatal(err)
		}
		if within(p.name(), "tmp") { // scratch that git ignores
			continue
		}
		all = append(all, p)
	}
}

// within reports whether a package is one of the rooms or below it.
func within(name string, rooms ...string) bool {
	for _, r := range rooms {
		if name == r || strings.HasPrefix(name, r+"/") {
			return true
		}
	}
	return false
}
