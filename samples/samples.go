package samples

import (
	"embed"
	"fmt"
	"io/fs"
	"strings"
)

//go:embed bookinfo/demo.yaml bookinfo/routes/*.yaml
var files embed.FS

// Demos lists the samples that can be run by `weft demo`.
func Demos() []string { return []string{"bookinfo"} }

// Demo returns the files of a sample: demo.yaml and what it names, by paths relative to it.
func Demo(name string) (fs.FS, error) {
	for _, d := range Demos() {
		if d == name {
			return fs.Sub(files, name)
		}
	}
	return nil, fmt.Errorf("no demo %q; there are: %s", name, strings.Join(Demos(), ", "))
}
