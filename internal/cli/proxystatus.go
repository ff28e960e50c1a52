package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
)

func (a *App) proxyStatusCommand() *cobra.Command {
	var q query
	var output choice
	cmd := &cobra.Command{
		Use:   "proxy-status [PROXY...]",
		Short: "Show which revision each proxy runs, and since when",
		Long: text(`
			Proxy-status lists the connected proxies. REVISION is what the proxy acknowledged and what it was
			sent; SINCE is the time since it acknowledged; STATE is current, behind, or refused with the reason,
			in which case the proxy keeps what it had. By default it lists all namespaces; -n restricts it.`),
		Example:           "  weft proxy-status\n  weft proxy-status -n default -o json",
		ValidArgsFunction: a.completeProxies,
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			q.kind, q.names, q.format = kindProxy, args, output.value
			q.scope.all = q.scope.namespace == ""
			client, err := a.client()
			if err != nil {
				return err
			}
			return a.getProxies(cmd.Context(), client, &q)
		}),
	}
	cmd.Flags().StringVarP(&q.scope.namespace, "namespace", "n", "", "only proxies of this `NAMESPACE`")
	_ = cmd.RegisterFlagCompletionFunc("namespace", a.completeNamespaces)
	addOutput(cmd, &output, "table", "wide", "json", "yaml", "name")
	return cmd
}

func (a *App) proxyTable(found []*adminv1.ProxyInfo, q *query) *table {
	columns := []string{"NAME", "SERVICE", "INSTANCE", ">REVISION", ">SINCE", "STATE", "VERSION"}
	if q.format == "wide" {
		columns = append(columns, "IDENTITY", ">RSS", ">CONNS")
	}
	t := newTable(columns...)
	for _, p := range found {
		t.add(p.GetNode().GetId(), orDash(proxyService(p, q.scope)), orDash(p.GetInstance()),
			fmt.Sprintf("%d/%d", p.GetAckedRevision(), p.GetSentRevision()), a.age(p.GetAcked()), proxyState(p),
			orDash(p.GetNode().GetVersion()), orDash(p.GetIdentity()), byteSize(p.GetStats().GetResidentBytes()),
			fmt.Sprint(p.GetStats().GetOpenConnections()))
	}
	return t
}

func proxyService(p *adminv1.ProxyInfo, s scope) string {
	if s.all || p.GetNode().GetService() == "" {
		return p.GetNode().GetService()
	}
	return s.short(p.GetNode().GetService())
}

// proxyState is where a proxy stands: "current", "behind", or "refused: why".
func proxyState(p *adminv1.ProxyInfo) string {
	switch {
	case p.GetNack() != "":
		return "refused: " + p.GetNack()
	case p.GetAckedRevision() < p.GetSentRevision():
		return "behind"
	}
	return "current"
}
