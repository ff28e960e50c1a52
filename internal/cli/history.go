package cli

import (
	"cmp"
	"context"
	"fmt"
	"strconv"
	"strings"

	"connectrpc.com/connect"
	"github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

type historyFlags struct {
	scope  scope
	limit  int
	output choice
}

func (a *App) historyCommand() *cobra.Command {
	var f historyFlags
	cmd := &cobra.Command{
		Use:   "history [KIND[/NAME] | KIND NAME]",
		Short: "List what was changed, when and by whom",
		Long: text(`
			History lists the changes that apply, delete and rollback made, newest first: the revision that has
			the change, who made it (as the caller said; -o wide and json also say what the control plane knows of
			the caller), what it changed and why. With a resource, only the changes of it.

			The last 200 changes of the last 30 days are kept, in 32 MiB at most. They are written in one step
			with the change.`),
		Example:           "  weft history\n  weft history httproute/reviews -n default\n  weft history show 42\n  weft rollback 41",
		Args:              cobra.MaximumNArgs(2),
		ValidArgsFunction: a.completeResources,
		RunE:              a.action(func(cmd *cobra.Command, args []string) error { return a.history(cmd, &f, args) }),
	}
	a.addNamespace(cmd, &f.scope, false)
	cmd.Flags().IntVarP(&f.limit, "limit", "l", 0, "most changes to list, the newest; 0 for all")
	addOutput(cmd, &f.output, "text", "wide", "json", "yaml")
	cmd.AddCommand(a.historyShowCommand())
	return cmd
}

func (a *App) history(cmd *cobra.Command, f *historyFlags, args []string) error {
	if f.limit < 0 {
		return fail(ExitUsage, "--limit %d: must not be negative", f.limit)
	}
	kindName, names := splitRef(args)
	req := &adminv1.HistoryRequest{Kind: kindName, Limit: int32(min(f.limit, 1<<30))}
	if len(names) > 0 {
		req.Name, req.Namespace = names[0], f.scope.namespace
	}
	client, err := a.client()
	if err != nil {
		return err
	}
	res, err := call(cmd.Context(), a, client.History, req)
	if err != nil {
		return err
	}
	switch f.output.value {
	case "json", "yaml":
		return a.printProto(res, f.output.value)
	}
	if len(res.GetEntries()) == 0 {
		a.note("no change is known")
		return nil
	}
	t := newTable(">REVISION", "AGE", "BY", "CHANGE", "MESSAGE")
	if f.output.value == "wide" {
		t = newTable(">REVISION", "AGE", "BY", "CHANGE", "MESSAGE", "CALLER", "GUARD")
	}
	for _, e := range res.GetEntries() {
		t.add(strconv.FormatInt(e.GetRevision(), 10), a.age(e.GetTime()), orDash(cmp.Or(e.GetAuthor(), e.GetCaller())), changeLine(e),
			orDash(firstLine(e.GetMessage())), orDash(e.GetCaller()), guardWord(e.GetGuard()))
	}
	return t.write(a.out)
}

// changeLine says in a few words what an entry did.
func changeLine(e *adminv1.HistoryEntry) string {
	const most = 2
	var parts []string
	for _, c := range e.GetChanges()[:min(len(e.GetChanges()), most)] {
		parts = append(parts, fmt.Sprintf("%s %s", shortRef(c.GetResource()), c.GetAction()))
	}
	if more := len(e.GetChanges()) - most; more > 0 {
		parts = append(parts, fmt.Sprintf("%d more", more))
	}
	line := strings.Join(parts, ", ")
	if what := rollbackOf(e.GetRolledBackTo(), e.GetUndone()); what != "" {
		line = what + ": " + line
	}
	return line
}

// rollbackOf names a rollback; "" is none.
func rollbackOf(to, undone int64) string {
	switch {
	case undone > 0:
		return fmt.Sprintf("undo of %d", undone)
	case to > 0:
		return fmt.Sprintf("rollback to %d", to)
	}
	return ""
}

// shortRef is "httproute/reviews", with the namespace where it is not the default.
func shortRef(r *adminv1.ResourceRef) string {
	s := strings.ToLower(r.GetKind()) + "/" + r.GetName()
	if ns := r.GetNamespace(); ns != "" && ns != "default" {
		s += "." + ns
	}
	return s
}

func firstLine(s string) string {
	line, _, more := strings.Cut(s, "\n")
	if more {
		line += " ..."
	}
	return line
}

func (a *App) historyShowCommand() *cobra.Command {
	var output choice
	cmd := &cobra.Command{
		Use:   "show REVISION",
		Short: "Show one change as a diff",
		Long: text(`
			Show prints who made a change, when and why, what became of its guard, and each resource it changed
			as a unified diff.`),
		Example:           "  weft history show 42\n  weft history show 42 -o json",
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completeRevisions,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			revision, err := parseRevision(args[0])
			if err != nil {
				return err
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			res, err := call(cmd.Context(), a, client.History, &adminv1.HistoryRequest{Revision: revision})
			if err != nil {
				return err
			}
			if len(res.GetEntries()) == 0 {
				return fail(ExitInternal, "the control plane sent no change of revision %d", revision)
			}
			if output.value != "text" {
				return a.printProto(res.GetEntries()[0], output.value)
			}
			a.showEntry(res.GetEntries()[0])
			return nil
		}),
	}
	addOutput(cmd, &output, "text", "json", "yaml")
	return cmd
}

func (a *App) showEntry(e *adminv1.HistoryEntry) {
	line := func(name, value string) {
		if value != "" {
			a.printf("%-10s %s\n", name+":", clean(value))
		}
	}
	line("Revision", strconv.FormatInt(e.GetRevision(), 10))
	line("Time", e.GetTime().AsTime().Format("2006-01-02 15:04:05 MST"))
	line("By", e.GetAuthor())
	line("Caller", e.GetCaller())
	what := e.GetAction()
	if r := rollbackOf(e.GetRolledBackTo(), e.GetUndone()); r != "" {
		what = r
	}
	line("Action", what)
	line("Message", strings.ReplaceAll(e.GetMessage(), "\n", "\n           "))
	if g := e.GetGuard(); g != nil {
		line("Guard", guardWord(g))
		line("Reason", g.GetReason())
		if len(g.GetServices()) > 0 {
			a.printf("\n%s", guardTable(g))
		}
	}
	for _, c := range e.GetChanges() {
		name := c.GetResource().GetNamespace() + "/" + qualified(c.GetResource())
		if d := diff.Diff("before/"+name, withNewline(c.GetBefore()), "after/"+name, withNewline(c.GetAfter())); len(d) > 0 {
			a.printf("\n%s", clean(string(d)))
		}
	}
}

func parseRevision(s string) (int64, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 {
		return 0, fail(ExitUsage, "%q is no revision: `weft history` lists them in its first column", clean(s))
	}
	return n, nil
}

// completeRevisions completes a revision, with what it changed.
func (a *App) completeRevisions(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	found, directive := a.completer(cmd, func(ctx context.Context, client adminv1connect.AdminServiceClient) ([]string, error) {
		res, err := client.History(ctx, connect.NewRequest(&adminv1.HistoryRequest{}))
		if err != nil {
			return nil, err
		}
		var out []string
		for _, e := range res.Msg.GetEntries() {
			out = append(out, fmt.Sprintf("%d\t%s", e.GetRevision(), word(changeLine(e))))
		}
		return out, nil
	})
	return found, directive
}
