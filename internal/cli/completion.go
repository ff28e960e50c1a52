package cli

import (
	"context"
	"slices"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// completionTime bounds what a press of Tab may cost.
const completionTime = time.Second

func (a *App) completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish", "powershell"}
	return &cobra.Command{
		Use:   "completion bash|zsh|fish|powershell",
		Short: "Print a script that completes commands, flags and names of resources",
		Long: text(`
			Completion prints a script for the shell. Names of resources come from the control plane, which is
			given 1 s to answer.`),
		Example:   "  source <(weft completion bash)\n  weft completion zsh > \"${fpath[1]}/_weft\"\n  weft completion fish > ~/.config/fish/completions/weft.fish",
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			root := cmd.Root()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(a.out, true)
			case "zsh":
				return root.GenZshCompletion(a.out)
			case "fish":
				return root.GenFishCompletion(a.out, true)
			}
			return root.GenPowerShellCompletionWithDesc(a.out)
		}),
	}
}

// completer asks the control plane for names; without one there is nothing to complete.
func (a *App) completer(cmd *cobra.Command, names func(context.Context, adminv1connect.AdminServiceClient) ([]string, error)) ([]string, cobra.ShellCompDirective) {
	client, err := a.client()
	if err != nil {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	ctx, cancel := context.WithTimeout(cmd.Context(), completionTime)
	defer cancel()
	found, err := names(ctx, client)
	if err != nil {
		cobra.CompDebugln(err.Error(), false)
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	slices.Sort(found)
	return slices.Compact(found), cobra.ShellCompDirectiveNoFileComp
}

// completeResources completes KIND NAME.
func (a *App) completeResources(cmd *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) == 0 {
		var names []string
		for _, k := range kinds() {
			names = append(names, k.plural)
		}
		return names, cobra.ShellCompDirectiveNoFileComp
	}
	switch k := findKind(args[0]); k {
	case kindService, kindEndpoint:
		return a.completeServices(cmd, args[1:], "")
	case kindProxy:
		return a.completeProxies(cmd, args[1:], "")
	default:
		return a.completer(cmd, func(ctx context.Context, client adminv1connect.AdminServiceClient) ([]string, error) {
			res, err := client.List(ctx, connect.NewRequest(&adminv1.ListRequest{Kind: k, Namespace: namespaceOf(cmd)}))
			if err != nil {
				return nil, err
			}
			var names []string
			for _, r := range res.Msg.GetResources() {
				names = append(names, r.GetRef().GetName())
			}
			return names, nil
		})
	}
}

func (a *App) completeServices(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completer(cmd, func(ctx context.Context, client adminv1connect.AdminServiceClient) ([]string, error) {
		res, err := client.ListServices(ctx, connect.NewRequest(&adminv1.ListServicesRequest{Namespace: namespaceOf(cmd)}))
		if err != nil {
			return nil, err
		}
		var names []string
		for _, s := range res.Msg.GetServices() {
			_, name, _ := strings.Cut(s.GetService().GetName(), "/")
			names = append(names, name)
		}
		return names, nil
	})
}

func (a *App) completeProxies(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completer(cmd, func(ctx context.Context, client adminv1connect.AdminServiceClient) ([]string, error) {
		res, err := client.ListProxies(ctx, connect.NewRequest(&adminv1.ListProxiesRequest{}))
		if err != nil {
			return nil, err
		}
		var names []string
		for _, p := range res.Msg.GetProxies() {
			names = append(names, p.GetNode().GetId())
		}
		return names, nil
	})
}

func (a *App) completeNamespaces(cmd *cobra.Command, _ []string, _ string) ([]string, cobra.ShellCompDirective) {
	return a.completer(cmd, func(ctx context.Context, client adminv1connect.AdminServiceClient) ([]string, error) {
		res, err := client.ListServices(ctx, connect.NewRequest(&adminv1.ListServicesRequest{}))
		if err != nil {
			return nil, err
		}
		names := []string{"default"}
		for _, s := range res.Msg.GetServices() {
			ns, _, _ := strings.Cut(s.GetService().GetName(), "/")
			names = append(names, ns)
		}
		return names, nil
	})
}

// namespaceOf is the namespace the command line has so far; "" for all.
func namespaceOf(cmd *cobra.Command) string {
	if all, err := cmd.Flags().GetBool("all-namespaces"); err == nil && all {
		return ""
	}
	ns, err := cmd.Flags().GetString("namespace")
	if err != nil {
		return "default" // a command without the flag
	}
	return ns
}
