package demo

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"os"
	"path/filepath"

	"github.com/weft-mesh/weft/samples"
)

// ErrChecksFailed is returned by Run when Options.Check is set and an assertion did not hold. The
// assertions themselves have been printed; the exit status is 1.
var ErrChecksFailed = errors.New("demo: checks failed")

// maxRPS bounds the gentle load. A demo shows a mesh; it does not measure one.
const maxRPS = 10_000

// Options say which demo to run and how. The zero value runs BookInfo until the context ends.
type Options struct {
	Name    string  // sample to run, default "bookinfo"
	Check   bool    // prove the mesh, then leave
	DataDir string  // control plane's state, logs and routes; default a new temporary directory
	Keep    bool    // leave the data directory behind
	LoadRPS float64 // gentle load in requests per second; 0 takes the description's, negative none

	Executable string // the weft binary, default the running one
	BinDir     string // where the sample's binaries are, default beside Executable

	Stdout io.Writer    // progress and results, default os.Stdout
	Logger *slog.Logger // what went wrong behind the scenes, default discards
}

// withDefaults fills in what is left out and reports values that make no sense.
func (o Options) withDefaults() (Options, error) {
	if o.Name == "" {
		o.Name = "bookinfo"
	}
	if math.IsNaN(o.LoadRPS) || o.LoadRPS > maxRPS {
		return o, fmt.Errorf("demo: load of %v requests/s: wants at most %d", o.LoadRPS, maxRPS)
	}
	if o.Executable == "" {
		exe, err := os.Executable()
		if err != nil {
			return o, fmt.Errorf("demo: where is the weft binary? %w", err)
		}
		o.Executable = exe
	}
	if o.BinDir == "" {
		o.BinDir = filepath.Dir(o.Executable)
	}
	if o.Stdout == nil {
		o.Stdout = os.Stdout
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	return o, nil
}

// Names lists the demos there are.
func Names() []string { return samples.Demos() }
