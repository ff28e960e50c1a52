package main

import (
	"context"
	"os"
	"os/signal"
	"os/user"
	"strconv"
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
		Author:     author(),
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

// author is who this process changes things as, for the history: a claim, not a proof.
func author() string {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown host"
	}
	name := strconv.Itoa(os.Getuid())
	if u, err := user.Current(); err == nil {
		name = u.Username
	}
	return name + "@" + host
}
