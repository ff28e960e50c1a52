package cli

import (
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func (a *App) diffCommand() *cobra.Command {
	var in input
	var strict bool
	cmd := &cobra.Command{
		Use:   "diff -f FILE|DIR|-",
		Short: "Show what apply would change",
		Long: text(`
			Diff asks the control plane what applying the documents would change, and prints it as a unified
			diff. Nothing is stored. The exit status is 0 without differences, 1 with, 65 when the documents are
			invalid.`),
		Example: "  weft diff -f route.yaml\n  weft diff -f routes/ -R || weft apply -f routes/ -R",
		Args:    cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			docs, err := in.read(a.o.Stdin)
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			res, err := call(cmd.Context(), a, client.Apply, &adminv1.ApplyRequest{Documents: docs, DryRun: true, Strict: strict})
			if err != nil {
				return err
			}
			for _, p := range res.GetWarnings() {
				a.note("warning: %s", problemLine(p))
			}
			return a.printDiffs(res.GetChanges())
		}),
	}
	in.addFlags(cmd)
	cmd.Flags().BoolVar(&strict, "strict", false, "refuse references that do not resolve")
	return cmd
}

func (a *App) printDiffs(changes []*adminv1.Change) error {
	different := false
	for _, c := range changes {
		name := c.GetResource().GetNamespace() + "/" + qualified(c.GetResource())
		d := diff.Diff("live/"+name, withNewline(c.GetBefore()), "applied/"+name, withNewline(c.GetAfter()))
		if len(d) == 0 {
			continue
		}
		different = true
		a.printf("%s", clean(string(d)))
	}
	if different {
		return &Error{Code: ExitNo}
	}
	return nil
}

func withNewline(s string) []byte {
	if s != "" && s[len(s)-1] != '\n' {
		s += "\n"
	}
	return []byte(s)
}
