package cli

import (
	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func (a *App) versionCommand() *cobra.Command {
	var only bool
	var output choice
	cmd := &cobra.Command{
		Use:     "version",
		Short:   "Show the versions of this program and of the control plane",
		Long:    "Version shows both versions. A control plane that does not answer is shown as unavailable and is no error.",
		Example: "  weft version\n  weft version --client\n  weft version -o json",
		Args:    cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			v := struct {
				Client string `json:"client"`
				Server string `json:"server,omitempty"`
				Mesh   string `json:"trustDomain,omitempty"`
				Reason string `json:"unavailable,omitempty"`
			}{Client: a.o.Version}
			if !only {
				client, err := a.client()
				if err != nil {
					return err
				}
				res, err := call(cmd.Context(), a, client.Version, &adminv1.VersionRequest{})
				if err != nil {
					_, v.Reason = a.explainError(cmd.Context(), err)
				}
				v.Server, v.Mesh = res.GetVersion(), res.GetTrustDomain()
			}
			if output.value != "text" {
				return a.printValue(v, output.value)
			}
			a.printf("Client version: %s\n", v.Client)
			switch {
			case only:
			case v.Reason != "":
				a.printf("Server version: unavailable (%s)\n", clean(v.Reason))
			default:
				a.printf("Server version: %s (trust domain %s)\n", clean(v.Server), clean(v.Mesh))
			}
			return nil
		}),
	}
	cmd.Flags().BoolVar(&only, "client", false, "only this program's; do not ask the control plane")
	addOutput(cmd, &output, "text", "json", "yaml")
	return cmd
}
