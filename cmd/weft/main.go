package main

import (
	"context"
	"os"
	"os/signal"
	"syscall"

	"github.com/charmbracelet/x/term"

	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/platform/local/demo"
	"github.com/weft-mesh/weft/internal/redirect"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "dev"

func main() { os.Exit(run()) }

// run executes the command line of this process and returns its exit status.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second Ctrl-C ends a shutdown that hangs.
	context.AfterFunc(ctx, stop)
	return cli.New(options()).Execute(ctx, os.Args[1:])
}

// options is this process as the command line sees it, and what it can start.
func options() cli.Options {
	return cli.Options{
		Version:    version,
		Stdin:      os.Stdin,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		Terminal:   term.IsTerminal(os.Stdout.Fd()),
		Getenv:     os.Getenv,
		Serve:      runServe,
		Run:        runProgram,
		Gateway:    runGateway,
		Demo:       runDemo,
		DemoClient: demo.RunClient,
		Capture:    redirect.Supported,
	}
}
