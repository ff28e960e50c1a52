package cli

import (
	"log/slog"

	"github.com/spf13/cobra"
)

func (a *App) demoCommand() *cobra.Command {
	var o DemoOptions
	cmd := &cobra.Command{
		Use:   "demo [bookinfo]",
		Short: "Run a sample application in a real mesh on this machine",
		Long: text(`
			Demo starts a control plane, the sample's services with their sidecars and a gentle load, and prints
			the page's address and commands to try. Nothing is built or downloaded. Ctrl-C ends everything and
			cleans up.

			With --check it proves itself: each assertion is a line with its figure, the last line is
			"N passed, N failed", and the exit status is 1 on any failure. It takes at most 120 s.`),
		Example:   "  weft demo\n  weft demo --check\n  weft demo bookinfo --load 100 --data-dir ./demo --keep",
		Args:      cobra.MatchAll(cobra.MaximumNArgs(1), cobra.OnlyValidArgs),
		ValidArgs: []string{"bookinfo"},
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			if a.o.Demo == nil {
				return fail(ExitUnavailable, "this build has no demo")
			}
			if !(o.Load <= 1000) {
				return fail(ExitUsage, "--load %v: want at most 1000", o.Load)
			}
			o.Name = "bookinfo"
			if len(args) > 0 {
				o.Name = args[0]
			}
			o.Logger = a.logger(slog.LevelWarn)
			o.Stdin, o.Stdout, o.Stderr = a.o.Stdin, a.o.Stdout, a.o.Stderr
			return a.o.Demo(cmd.Context(), o)
		}),
	}
	fl := cmd.Flags()
	fl.BoolVar(&o.Check, "check", false, "prove that the mesh does what it says, then end")
	fl.StringVar(&o.DataDir, "data-dir", "", "`DIR` for data and logs (default a temporary one)")
	fl.BoolVar(&o.Keep, "keep", false, "keep the data and logs at the end")
	fl.Float64Var(&o.Load, "load", 0, "`REQUESTS` per second of the load, at most 1000; 0 is the sample's own, -1 none")
	return cmd
}

// demoClientCommand is the demo's load inside the mesh: jobs on stdin, answers on stdout, a JSON object a
// line. It is not for users.
func (a *App) demoClientCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "demo-client",
		Short:  "Send requests as the demo asks (jobs on standard input)",
		Hidden: true,
		Args:   cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			if a.o.DemoClient == nil {
				return fail(ExitUnavailable, "this build has no demo")
			}
			return a.o.DemoClient(cmd.Context(), a.o.Stdin, a.o.Stdout)
		}),
	}
}
