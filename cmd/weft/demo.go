package main

import (
	"context"
	"errors"

	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/platform/local/demo"
)

// runDemo runs a sample application in a mesh of its own. Failed checks have been printed by the demo, so
// that only the exit status is left to say.
func runDemo(ctx context.Context, o cli.DemoOptions) error {
	err := demo.Run(ctx, demo.Options{
		Name:    o.Name,
		Check:   o.Check,
		DataDir: o.DataDir,
		Keep:    o.Keep,
		LoadRPS: o.Load,
		Stdout:  o.Stdout,
		Logger:  o.Logger,
	})
	if errors.Is(err, demo.ErrChecksFailed) {
		return &cli.Error{Code: cli.ExitNo}
	}
	return err
}
