package cli

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

type deleteFlags struct {
	in            input
	scope         scope
	dryRun        bool
	ignoreMissing bool
	wait          bool
	timeout       time.Duration
	message       string
	output        choice
}

func (a *App) deleteCommand() *cobra.Command {
	var f deleteFlags
	cmd := &cobra.Command{
		Use:   "delete (-f FILE|DIR|- | KIND NAME...)",
		Short: "Delete resources, all named or none",
		Long: text(`
			Delete removes what the documents of -f name, or the resources KIND NAME. When one of them does not
			exist nothing is deleted and the exit status is 1, unless --ignore-not-found is given.
			--wait works as for apply.`),
		Example:           "  weft delete httproute reviews\n  weft delete -f route.yaml --wait\n  weft delete httproute reviews --ignore-not-found",
		ValidArgsFunction: a.completeResources,
		RunE:              a.action(func(cmd *cobra.Command, args []string) error { return a.delete(cmd, &f, args) }),
	}
	f.in.addFlags(cmd)
	a.addNamespace(cmd, &f.scope, false)
	cmd.Flags().BoolVar(&f.dryRun, "dry-run", false, "say what would be deleted; delete nothing")
	cmd.Flags().BoolVar(&f.ignoreMissing, "ignore-not-found", false, "what does not exist is no error")
	cmd.Flags().BoolVar(&f.wait, "wait", false, "return when every proxy concerned runs the new revision")
	cmd.Flags().DurationVar(&f.timeout, "timeout", 30*time.Second, "how long --wait waits")
	addMessage(cmd, &f.message)
	cmd.MarkFlagsMutuallyExclusive("wait", "dry-run")
	addOutput(cmd, &f.output, "text", "name", "json", "yaml")
	return cmd
}

func (a *App) delete(cmd *cobra.Command, f *deleteFlags, args []string) error {
	kindName, names := splitRef(args)
	if (len(names) > 0) == (len(f.in.files) > 0) || len(f.in.files) > 0 && kindName != "" {
		return fail(ExitUsage, "delete wants either -f or KIND NAME")
	}
	if kindName == kindProxy || kindName == kindEndpoint {
		return fail(ExitUsage, "%s are not stored: they come and go with their programs", kindName)
	}
	req := &adminv1.DeleteRequest{DryRun: f.dryRun, IgnoreMissing: f.ignoreMissing, Note: a.by(f.message)}
	client, err := a.client()
	if err != nil {
		return err
	}
	if len(f.in.files) > 0 {
		req.Documents, err = f.in.read(a.o.Stdin)
	} else {
		req.Resources, err = a.resolve(cmd.Context(), client, f, kindName, names)
	}
	if err != nil {
		return err
	}
	if len(req.Documents)+len(req.Resources) == 0 {
		return nil // all missing, and that is fine
	}
	res, err := call(cmd.Context(), a, client.Delete, req)
	if err != nil {
		return err
	}
	if err := a.printChanges(res, res.GetChanges(), f.output.value, f.dryRun); err != nil {
		return err
	}
	if !f.wait {
		return nil
	}
	return a.wait(cmd.Context(), client, waitFor{revision: res.GetRevision(), timeout: f.timeout, quiet: f.output.value != "text"})
}

// resolve finds the stored resources, so that a kind may be named in any of its forms.
func (a *App) resolve(ctx context.Context, client adminv1connect.AdminServiceClient, f *deleteFlags, kindName string, names []string) ([]*adminv1.ResourceRef, error) {
	var refs []*adminv1.ResourceRef
	for _, name := range names {
		res, err := call(ctx, a, client.List, &adminv1.ListRequest{Kind: kindName, Namespace: f.scope.namespace, Name: name})
		if err != nil {
			return nil, err
		}
		if len(res.GetResources()) == 0 && !f.ignoreMissing {
			return nil, notFound(kindName, name, f.scope)
		}
		for _, r := range res.GetResources() {
			refs = append(refs, r.GetRef())
		}
	}
	return refs, nil
}

func notFound(kindName, name string, s scope) error {
	where := "in namespace " + s.namespace
	if s.all {
		where = "in any namespace"
	}
	return fail(ExitNo, "there is no %s %q %s; `weft get %s -A` lists what there is", word(kindName), word(name), where, word(pluralKind(kindName)))
}
