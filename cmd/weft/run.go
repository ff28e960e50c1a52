package main

import (
	"context"

	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/platform/local"
)

// runProgram runs a program in the mesh. The program gets the very signal that ends the run, so that the
// context, which the same signals end, must not.
func runProgram(ctx context.Context, o cli.RunOptions) (int, error) {
	signals, stop := local.Notify()
	defer stop()
	return local.Run(context.WithoutCancel(ctx), local.RunOptions{
		Service:   o.Service,
		Version:   o.Version,
		Namespace: o.Namespace,
		Account:   o.Account,
		Ports:     o.Ports,
		Health:    o.Health,
		Capture:   o.Capture,
		Upstreams: o.Upstreams,
		Labels:    o.Labels,
		AccessLog: o.AccessLog, Certificates: o.Certificates,
		Proxy:   o.Proxy,
		Command: o.Command,
		Admin:   o.Admin,
		Logger:  o.Logger,
		Stdin:   o.Stdin,
		Stdout:  o.Stdout,
		Stderr:  o.Stderr,
		Signals: signals,
	})
}
