package cli

import (
	"slices"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

type applyFlags struct {
	in      input
	wait    bool
	timeout time.Duration
	dryRun  bool
	strict  bool
	message string
	guard   guardFlags
	output  choice
}

func (a *App) applyCommand() *cobra.Command {
	var f applyFlags
	cmd := &cobra.Command{
		Use:   "apply -f FILE|DIR|-",
		Short: "Store documents: all of a set or, if one is invalid, none",
		Long: text(`
			Apply checks every document of the set and stores all of them in one step. When one is invalid
			nothing changes: each problem is printed as FILE:LINE:COLUMN: FIELD: MESSAGE; REMEDY and the exit
			status is 65. A reference to something that does not exist (yet) is a warning; with --strict it is
			a problem.

			With --wait, apply returns when every proxy concerned runs the new revision. It exits 1 when a proxy
			refused it, and 75 when one has not answered within --timeout; the documents are stored all the same.

			With --guard 60s, apply also waits, and then the control plane compares the success rate and the p99
			latency of each service that the change touches, for 60 s, with those of the 60 s before. When one is
			worse than its bound by more than chance explains (Fisher's exact test, 1% for false alarms), the change
			is rolled back at once, and the exit status is 3. When a proxy refuses the change, likewise. When no
			service has --min-requests to judge by, the change stays and the exit status is 4. Ctrl-C ends the
			waiting only: the control plane goes on guarding, as it does when one of several goes away. With -o json
			or yaml the answer is the change as weft history show has it.

			Documents of one command total at most 8 MiB.`),
		Example: "  weft apply -f route.yaml\n  weft apply -f routes/ -R --wait --timeout 10s\n  weft apply -f route.yaml --guard 60s --success-rate 99.5% --latency-p99 +20% -m 'reviews to v2'\n  kubectl get httproute reviews -o yaml | weft apply -f -\n  weft apply -f route.yaml --dry-run --strict",
		Args:    cobra.NoArgs,
		RunE:    a.action(func(cmd *cobra.Command, _ []string) error { return a.apply(cmd, &f) }),
	}
	f.in.addFlags(cmd)
	cmd.Flags().BoolVar(&f.wait, "wait", false, "return when every proxy concerned runs the new revision")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long --wait waits")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "check only; store nothing")
	cmd.Flags().BoolVar(&f.strict, "strict", false, "refuse references that do not resolve")
	addMessage(cmd, &f.message)
	f.guard.add(cmd)
	cmd.MarkFlagsMutuallyExclusive("wait", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("guard", "dry-run")
	addOutput(cmd, &f.output, "text", "name", "json", "yaml")
	return cmd
}

func (a *App) apply(cmd *cobra.Command, f *applyFlags) error {
	if f.timeout <= 0 {
		return fail(ExitUsage, "--timeout %s: must be more than 0", f.timeout)
	}
	spec, err := f.guard.spec(cmd)
	if err != nil {
		return err
	}
	docs, err := f.in.read(a.o.Stdin)
	if err != nil {
		return err
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	res, err := call(cmd.Context(), a, client.Apply, &adminv1.ApplyRequest{
		Documents: docs, DryRun: f.dryRun, Strict: f.strict, Note: a.by(f.message), Guard: spec,
	})
	if err != nil {
		return err
	}
	for _, p := range res.GetWarnings() {
		a.note("warning: %s", problemLine(p))
	}
	guarded := spec != nil && changedSomething(res.GetChanges())
	if structured := f.output.value == "json" || f.output.value == "yaml"; !guarded || !structured {
		if err := a.printChanges(res, res.GetChanges(), f.output.value, f.dryRun); err != nil {
			return err
		}
	}
	switch {
	case guarded:
		return a.guard(cmd.Context(), client, f, res, spec)
	case spec != nil:
		a.note("nothing has changed: there is nothing to guard")
	}
	if !f.wait {
		return nil
	}
	return a.wait(cmd.Context(), client, waitFor{revision: res.GetRevision(), timeout: f.timeout, quiet: f.output.value != "text"})
}

func changedSomething(changes []*adminv1.Change) bool {
	return slices.ContainsFunc(changes, func(c *adminv1.Change) bool { return c.GetAction() != "unchanged" })
}
