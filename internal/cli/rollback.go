package cli

import (
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

type rollbackFlags struct {
	only, force, dryRun, wait bool

	timeout time.Duration
	message string
	output  choice
}

func (a *App) rollbackCommand() *cobra.Command {
	var f rollbackFlags
	cmd := &cobra.Command{
		Use:   "rollback [REVISION]",
		Short: "Undo the last change, or all since a revision",
		Long: text(`
			Rollback REVISION brings the resources back to what they were as of that revision: it undoes every
			change after it. Without a revision it undoes the last change; done twice, it redoes it. With --only
			it undoes the change of that revision and leaves those after it.

			A rollback is a change of its own, in one step, and can be undone as any other. It is refused, with
			exit status 1 and nothing changed, when a resource is no longer as the changes left it: with --only,
			when a later change has touched it; else, when the history does not know who did. --force overwrites
			it.

			--wait works as for apply.`),
		Example:           "  weft rollback\n  weft rollback 41 --dry-run\n  weft rollback 41 --wait -m 'checkout is slow since 42'\n  weft rollback 42 --only",
		Args:              cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completeRevisions,
		RunE:              a.action(func(cmd *cobra.Command, args []string) error { return a.rollback(cmd, &f, args) }),
	}
	cmd.Flags().BoolVar(&f.only, "only", false, "undo the change of REVISION alone, not those after it")
	cmd.Flags().BoolVar(&f.force, "force", false, "overwrite what others changed since")
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would change; change nothing")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "return when every proxy concerned runs the new revision")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long --wait waits")
	addMessage(cmd, &f.message)
	cmd.MarkFlagsMutuallyExclusive("wait", "dry-run")
	addOutput(cmd, &f.output, "text", "name", "json", "yaml")
	return cmd
}

// addMessage adds the flag by which users say why.
func addMessage(cmd *cobra.Command, message *string) {
	cmd.Flags().StringVarP(message, "message", "m", "", "`WHY`, for weft history")
}

// by is what this user says of a change.
func (a *App) by(message string) *adminv1.Note {
	return &adminv1.Note{Author: a.o.Author, Message: message}
}

func (a *App) rollback(cmd *cobra.Command, f *rollbackFlags, args []string) error {
	req := &adminv1.RollbackRequest{Only: f.only, Force: f.force, DryRun: f.dryRun, Note: a.by(f.message)}
	switch {
	case f.timeout <= 0:
		return fail(ExitUsage, "--timeout %s: must be more than 0", f.timeout)
	case len(args) > 0:
		var err error
		if req.Revision, err = parseRevision(args[0]); err != nil {
			return err
		}
	case f.only:
		return fail(ExitUsage, "--only wants a revision: `weft history` lists them; without one, rollback undoes the last change alone")
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	res, err := call(cmd.Context(), a, client.Rollback, req)
	if err != nil {
		return err
	}
	for _, p := range res.GetWarnings() {
		a.note("warning: %s", problemLine(p))
	}
	if len(res.GetChanges()) == 0 {
		a.note("nothing to do: the resources are as of revision %d", max(res.GetRolledBackTo(), req.GetRevision()))
	} else {
		a.note("%s", rollbackOf(res.GetRolledBackTo(), res.GetUndone()))
	}
	if err := a.printChanges(res, res.GetChanges(), f.output.value, f.dryRun); err != nil {
		return err
	}
	if !f.wait {
		return nil
	}
	return a.wait(cmd.Context(), client, waitFor{revision: res.GetRevision(), timeout: f.timeout, quiet: f.output.value != "text"})
}
