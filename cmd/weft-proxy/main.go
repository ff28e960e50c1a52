package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/weft-mesh/weft/internal/agent"
)

// version is set by the linker: -X main.version=v1.2.3.
var version = "dev"

// Exit statuses of sysexits.h.
const (
	exitUsage = 64
	exitFail  = 70
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	o, log, err := parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		fmt.Fprintln(os.Stderr, "weft-proxy:", err)
		return exitUsage
	}
	stopProfile, err := startProfile()
	if err != nil {
		log.Error("weft-proxy cannot record a profile", "error", err)
		return exitFail
	}
	defer stopProfile()
	tuneMemory()
	if err := waitItsTurn(); err != nil {
		log.Debug("the kernel's default scheduling stays", "error", err)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends a drain that takes too long.
	context.AfterFunc(ctx, stop)
	if err := agent.Run(ctx, o); err != nil {
		log.Error("weft-proxy ends", "error", err)
		var coded interface{ ExitCode() int }
		if errors.As(err, &coded) {
			return coded.ExitCode()
		}
		return exitFail
	}
	return 0
}

// newLogger writes to standard error, as text or JSON.
func newLogger(format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("--log-level %q: want debug, info, warn or error", level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(os.Stderr, o)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(os.Stderr, o)), nil
	}
	return nil, fmt.Errorf("--log-format %q: want text or json", format)
}
