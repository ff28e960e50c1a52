package cli

import (
	"log/slog"

	"github.com/spf13/cobra"
)

func (a *App) runCommand() *cobra.Command {
	var o RunOptions
	var capture choice
	cmd := &cobra.Command{
		Use:   "run --service NAME [--port [SERVICE_PORT:]PORT[/PROTOCOL]]... -- COMMAND [ARG...]",
		Short: "Run a program in the mesh",
		Long: text(`
			Run joins one program to the mesh: it gets an identity, starts the sidecar first and the program
			next, and registers the endpoint when the program's port accepts (or --health answers). On SIGINT or
			SIGTERM it leaves in the right order: other proxies stop sending, the program ends, the sidecar
			drains. Without --port the program is a client only.

			Traffic is captured by eBPF where that is permitted, else explicitly: HTTP_PROXY is set and each
			--upstream has a local port in NAME_SERVICE_HOST and NAME_SERVICE_PORT. One line on standard error
			says which and why.

			The exit status is the program's own, 128+N when signal N ended it; 127 when the command does not
			exist; 64 and more, as for other commands, when the program could not be started.`),
		Example: "  weft run --service web --port 80:8080 -- nginx -g 'daemon off;'\n  weft run --service reviews --version v2 --port 9080/http --health /health -- ./reviews\n  weft run --service load -- wrk -c32 http://web/",
		Args:    cobra.MinimumNArgs(1),
		RunE: a.action(func(cmd *cobra.Command, args []string) error {
			if cmd.ArgsLenAtDash() != 0 {
				return fail(ExitUsage, "write -- before the command: weft run --service NAME -- COMMAND")
			}
			if o.Service == "" {
				return fail(ExitUsage, "--service is missing: the name other programs call, or that tells this one apart")
			}
			if a.o.Run == nil {
				return fail(ExitUnavailable, "this build cannot run programs")
			}
			client, err := a.client()
			if err != nil {
				return err
			}
			o.Capture, o.Command, o.Admin, o.Target = capture.value, args, client, a.conn.target()
			o.Logger = a.logger(slog.LevelWarn)
			o.Stdin, o.Stdout, o.Stderr = a.o.Stdin, a.o.Stdout, a.o.Stderr
			exit, err := a.o.Run(cmd.Context(), o)
			if err != nil {
				return err
			}
			if exit != 0 {
				return &Error{Code: exit}
			}
			return nil
		}),
	}
	fl := cmd.Flags()
	// What follows the first argument belongs to the program.
	fl.SetInterspersed(false)
	fl.StringVar(&o.Service, "service", "", "`NAME` of the service the program is an instance of")
	fl.StringVar(&o.Version, "version", "", "version `LABEL`, as v2")
	fl.StringVarP(&o.Namespace, "namespace", "n", "default", "`NAMESPACE` of the service")
	fl.StringVar(&o.Account, "account", "", "service `ACCOUNT`, the name in the identity (default the service's name)")
	fl.StringArrayVar(&o.Ports, "port", nil, "`[SERVICE_PORT:]PORT[/PROTOCOL]`: what others call, what the program listens on, and http, http2, grpc, tcp or auto; may be repeated")
	fl.StringVar(&o.Health, "health", "", "`PATH` that answers 200 when the program is ready (default: its port accepts)")
	addChoice(cmd, &capture, "capture", "", "how outgoing traffic gets to the sidecar", "auto", "ebpf", "explicit")
	fl.StringArrayVar(&o.Upstreams, "upstream", nil, "`SERVICE[.NAMESPACE][:PORT][=LOCALPORT]` to reach by a local port; may be repeated")
	fl.StringArrayVarP(&o.Labels, "label", "l", nil, "`KEY=VALUE` label of the endpoint; may be repeated")
	fl.StringVar(&o.AccessLog, "access-log", "", "`FILE` for a line of JSON per request, - for standard error (default none)")
	fl.StringVar(&o.Certificates, "certificates", "", "`DIR` of the files that DestinationRules name for TLS to services outside the mesh (default none: the system's CAs)")
	fl.StringVar(&o.Proxy, "proxy", "", "`PATH` of weft-proxy (default beside this program, else in PATH)")
	return cmd
}
