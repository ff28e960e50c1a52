package cli

import (
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func (a *App) tokenCommand() *cobra.Command {
	return a.family("token", "Manage join tokens",
		"A join token lets one proxy prove, once, which workload it is; it then has a certificate that it renews by itself.",
		"  weft token create --account reviews", a.tokenCreateCommand())
}

func (a *App) tokenCreateCommand() *cobra.Command {
	var s scope
	var account string
	var ttl time.Duration
	var uses int32
	var output choice
	cmd := &cobra.Command{
		Use:   "create --account ACCOUNT",
		Short: "Make a join token for a workload",
		Long: text(`
			Create prints a token on standard output, and when it expires on standard error. Who has the token
			can become the workload NAMESPACE/ACCOUNT: write it to a file of mode 0600 and give the file to
			weft-proxy --token. It is valid for --uses proxies and until --ttl has passed.`),
		Example: "  weft token create --account reviews > reviews.token\n  weft token create -n shop --account cart --ttl 1h --uses 3",
		Args:    cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			switch {
			case account == "":
				return fail(ExitUsage, "--account is missing: the service account of the workload, as reviews")
			case ttl < time.Second || ttl > 24*time.Hour:
				return fail(ExitUsage, "--ttl %s: want 1s to 24h", ttl)
			case uses < 1 || uses > 10_000:
				return fail(ExitUsage, "--uses %d: want 1 to 10000", uses)
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			res, err := call(cmd.Context(), a, client.CreateJoinToken, &adminv1.CreateJoinTokenRequest{
				Namespace: s.namespace, Account: account, Ttl: durationpb.New(ttl), Uses: uses,
			})
			if err != nil {
				return err
			}
			if output.value != "text" {
				return a.printProto(res, output.value)
			}
			a.printf("%s\n", res.GetToken())
			a.note("for %s/%s, %s, until %s", s.namespace, account, plural(int(uses), "use"), res.GetExpires().AsTime().Format(time.RFC3339))
			return nil
		}),
	}
	a.addNamespace(cmd, &s, false)
	cmd.Flags().StringVar(&account, "account", "", "service `ACCOUNT` of the workload")
	cmd.Flags().DurationVar(&ttl, "ttl", 10*time.Minute, "how long the token may be used, 1s to 24h")
	cmd.Flags().Int32Var(&uses, "uses", 1, "how many proxies may use it, 1 to 10000")
	addOutput(cmd, &output, "text", "json", "yaml")
	return cmd
}
