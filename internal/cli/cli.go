package cli

import (
	"context"
	"io"
	"log/slog"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// Options is the world a command runs in. Stdin, Stdout and Stderr are required; Serve, Run, Gateway,
// Demo and DemoClient may be nil in a build without them, and their commands then say so.
type Options struct {
	Version string // of this binary, "dev" if empty
	Author  string // whose changes these are, as "user@host"; may be empty

	Stdin  io.Reader
	Stdout io.Writer
	Stderr io.Writer

	Terminal bool                // Stdout is a terminal
	Getenv   func(string) string // nil: an empty environment
	Now      func() time.Time    // nil: time.Now

	Serve      func(context.Context, ServeOptions) error
	Run        func(context.Context, RunOptions) (exit int, err error)
	Gateway    func(context.Context, GatewayOptions) error
	Demo       func(context.Context, DemoOptions) error
	DemoClient func(ctx context.Context, in io.Reader, out io.Writer) error

	// Capture says whether traffic of programs can be captured by eBPF on this host, and why not.
	Capture func() (reason string, ok bool)
}

// App is one run of the command line.
type App struct {
	o     Options
	out   *stickyWriter
	conn  connection
	ran   bool // the command's own code was reached: what failed before is usage
	debug bool
}

// New returns the command line for o.
func New(o Options) *App {
	if o.Version == "" {
		o.Version = "dev"
	}
	if o.Getenv == nil {
		o.Getenv = func(string) string { return "" }
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &App{o: o, out: &stickyWriter{w: o.Stdout}}
}

// Execute runs the command that args name and returns the process's exit status: see the Exit constants.
// Errors are written to Stderr. It returns when the command ends or, for commands that follow something,
// soon after ctx does.
func (a *App) Execute(ctx context.Context, args []string) int {
	root := a.Command()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	if err == nil {
		err = a.outputFailed()
	}
	return a.report(ctx, err)
}

// The groups of `weft help`.
const (
	groupStart     = "start"
	groupConfigure = "configure"
	groupObserve   = "observe"
	groupExplain   = "explain"
	groupOther     = "other"
)

// Command returns the tree of commands.
func (a *App) Command() *cobra.Command {
	root := &cobra.Command{
		Use:   "weft",
		Short: "A service mesh from laptop to fleet",
		Long: text(`
			Weft gives every connection between your programs an identity, encryption, routing, resilience,
			policy and a record of what happened, without a change to the programs.

			Commands talk to the control plane (weft serve) over a unix socket: --socket, else $WEFT_SOCKET,
			else $XDG_RUNTIME_DIR/weft/weft.sock, else /run/weft/weft.sock for root and ~/.weft/weft.sock for
			others; or over TLS with --server, --token-file and --ca.

			Exit status: 0 success, 1 a negative answer (differences, a failed check, not found), 3 rolled
			back by a guard, 4 kept by a guard that could not judge, 64 wrong usage, 65 bad documents, 69 no control plane, 70 internal error, 74 input or output failed,
			75 not in time, try again.`),
		Example:       "  weft demo\n  weft apply -f route.yaml --wait\n  weft explain reviews --from productpage --path /reviews/0",
		SilenceErrors: true,
		SilenceUsage:  true,
		Version:       a.o.Version,
	}
	root.SetOut(a.out)
	root.SetErr(a.o.Stderr)
	root.SetIn(a.o.Stdin)
	root.SetVersionTemplate("weft {{.Version}}\n")
	root.CompletionOptions.DisableDefaultCmd = true
	root.AddGroup(
		&cobra.Group{ID: groupStart, Title: "Start:"},
		&cobra.Group{ID: groupConfigure, Title: "Configure:"},
		&cobra.Group{ID: groupObserve, Title: "Observe:"},
		&cobra.Group{ID: groupExplain, Title: "Understand:"},
		&cobra.Group{ID: groupOther, Title: "Other:"},
	)
	root.SetHelpCommandGroupID(groupOther)
	a.conn.addFlags(root.PersistentFlags(), a.o.Getenv)
	root.PersistentFlags().BoolVar(&a.debug, "debug", false, "log what the command does to stderr")

	group := func(id string, cmds ...*cobra.Command) {
		for _, c := range cmds {
			c.GroupID = id
			root.AddCommand(c)
		}
	}
	group(groupStart, a.serveCommand(), a.runCommand(), a.gatewayCommand(), a.demoCommand())
	group(groupConfigure, a.applyCommand(), a.getCommand(), a.describeCommand(), a.diffCommand(), a.deleteCommand(),
		a.historyCommand(), a.rollbackCommand())
	group(groupObserve, a.checkCommand(), a.statCommand(), a.topCommand(), a.tapCommand(), a.routesCommand(), a.edgesCommand())
	group(groupExplain, a.explainCommand(), a.proxyStatusCommand(), a.proxyConfigCommand())
	group(groupOther, a.tokenCommand(), a.versionCommand(), a.completionCommand())
	root.AddCommand(a.demoClientCommand())
	return root
}

// action wraps the code of a command, so that report can tell wrong usage (found before) from failure.
func (a *App) action(f func(cmd *cobra.Command, args []string) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, args []string) error {
		a.ran = true
		return f(cmd, args)
	}
}

// family is a command that only holds others.
func (a *App) family(use, short, long, example string, subs ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{
		Use: use, Short: short, Long: long, Example: example,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			var names []string
			for _, s := range cmd.Commands() {
				if s.IsAvailableCommand() {
					names = append(names, s.Name())
				}
			}
			return fail(ExitUsage, "%s needs one of: %s", cmd.CommandPath(), strings.Join(names, ", "))
		},
	}
	c.AddCommand(subs...)
	return c
}

// logger returns where a command's own log goes.
func (a *App) logger(level slog.Level) *slog.Logger {
	if a.debug {
		level = slog.LevelDebug
	}
	return slog.New(slog.NewTextHandler(a.o.Stderr, &slog.HandlerOptions{Level: level}))
}

// stickyWriter remembers the first failed write, so that a full disk is an error and not lost output.
type stickyWriter struct {
	w   io.Writer
	err error
}

func (s *stickyWriter) Write(b []byte) (int, error) {
	if s.err != nil {
		return 0, s.err
	}
	n, err := s.w.Write(b)
	s.err = err
	return n, err
}

// outputFailed is the error of the first write that failed. Commands that go on for long ask for it; only
// the goroutine that writes may.
func (a *App) outputFailed() error {
	if a.out.err == nil {
		return nil
	}
	return fail(ExitIO, "writing the output: %w", a.out.err)
}

// text strips the indentation of a raw string, so that help texts can follow the code's.
func text(s string) string {
	lines := strings.Split(strings.Trim(s, "\n"), "\n")
	for i, l := range lines {
		lines[i] = strings.TrimLeft(l, "\t")
	}
	return strings.TrimRight(strings.Join(lines, "\n"), "\n\t ")
}
