package cli

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/model"
)

func (a *App) gatewayCommand() *cobra.Command {
	var o GatewayOptions
	var in input
	var join joinFlags
	var acme GatewayACME
	var bind, labels []string
	var level choice
	cmd := &cobra.Command{
		Use:   "gateway -f FILE | --gateway NAMESPACE/NAME | --labels NAME=VALUE | --egress --as NAMESPACE/NAME",
		Short: "Run a gateway, from files or in a mesh",
		Long: text(`
			Gateway serves what Gateway API documents say: Gateway, HTTPRoute, GRPCRoute, TLSRoute, TCPRoute and
			UDPRoute. A Gateway is served when its gatewayClassName is weft; no GatewayClass is needed. Its listeners
			bind 127.0.0.1 and [::1] unless spec.addresses or --bind says otherwise.

			With -f the documents are files: beside those above the Service, EndpointSlice, Secret and
			ReferenceGrant documents they refer to. No control plane is needed.

			With --gateway it joins a mesh and serves the Gateway of that name. Its documents are the control
			plane's ('weft apply'), its backends the mesh's services, which it reaches by mTLS as any client does.
			Its identity is NAMESPACE/NAME. Who runs it needs either the control plane's API, as for 'weft run', or
			--control and a join token for that identity.

			With --labels and without -f it joins a mesh and serves the Gateways of Istio's dialect that select the
			labels. Its identity is istio-system/istio- and the value of the label istio, or what --as says.

			With --egress its clients are the programs of the mesh, which leave the mesh by it: their proxies reach
			it by mTLS at --inbound, as an endpoint of the service of its identity, and no other port is opened. It
			serves listeners of its Gateways that end no TLS of clients, and the services for which a TrafficPolicy
			says egress.gateway.

			A certificate comes from a Secret of type kubernetes.io/tls, which in a mesh is given to 'weft apply',
			kept encrypted and sent to that identity alone; or from files that the listener's tls.options
			weft.dev/certificate-file and weft.dev/key-file name, which in a mesh are below --certificates and
			followed. With --acme, listeners with the option weft.dev/acme: "true" get theirs from a CA, which has
			to reach an HTTP listener at port 80 of the host, or the listener itself at port 443.

			The files of -f are watched, every half a second; SIGHUP reads them at once. A change is applied without
			losing a connection. One that is not right is reported with file, line and field, and what ran before
			goes on. A reference that does not resolve is a warning, and its share of requests is answered 500.

			On SIGINT or SIGTERM connections drain. The exit status is 64 when an address cannot be bound or
			there is nothing to serve, 65 when the documents are not right, 69 when weft-proxy is missing.`),
		Example: "  weft gateway -f edge.yaml\n  weft gateway -f conf/ --bind 0.0.0.0 --loops 2 --admin 127.0.0.1:9901\n  weft gateway -f edge.yaml --check\n  weft gateway --gateway default/edge --certificates /etc/weft/tls\n  weft gateway --gateway default/edge --control 10.0.0.1:15010 --token edge.token\n  weft gateway --labels istio=ingressgateway --bind 0.0.0.0\n  weft gateway --egress --as infra/egress --inbound 10.0.0.7:15443",
		Args:    cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			if a.o.Gateway == nil {
				return fail(ExitUnavailable, "this build cannot run a gateway")
			}
			if slices.Contains(in.files, "-") {
				return fail(ExitUsage, "standard input cannot be watched: name a file or directory by -f")
			}
			for _, s := range bind {
				ip, err := netip.ParseAddr(strings.Trim(s, "[]"))
				if err != nil {
					return fail(ExitUsage, "--bind %q is no IP address", s)
				}
				o.Bind = append(o.Bind, ip)
			}
			for _, s := range labels {
				name, value, ok := strings.Cut(s, "=")
				if !ok || name == "" {
					return fail(ExitUsage, "--labels %q is not NAME=VALUE", s)
				}
				if o.Labels == nil {
					o.Labels = map[string]string{}
				}
				o.Labels[name] = value
			}
			if err := a.joinGateway(&o, &in, &join); err != nil {
				return err
			}
			if err := a.acmeOfGateway(&o, &acme); err != nil {
				return err
			}
			o.Paths = in.paths
			o.Read = func() ([]*adminv1.Document, error) { return in.read(a.o.Stdin) }
			o.Warn = func(p *adminv1.Problem) { a.note("warning: %s", problemLine(p)) }
			o.Fault = func(p *adminv1.Problem) { fmt.Fprintln(a.o.Stderr, problemLine(p)) }
			o.Serving = func(s *model.Snapshot) { a.printSockets(s) }
			o.Logger, o.LogLevel = a.serverLogger(level.value, "text"), level.value
			o.Stdout, o.Stderr = a.o.Stdout, a.o.Stderr
			return a.o.Gateway(cmd.Context(), o)
		}),
	}
	fl := cmd.Flags()
	in.addFlags(cmd)
	join.add(cmd)
	fl.StringArrayVar(&bind, "bind", nil, "`IP` that listeners bind where the Gateway names no address; may be repeated (default 127.0.0.1 and ::1)")
	fl.StringSliceVar(&labels, "labels", nil, "the gateway's labels, `NAME=VALUE`, which the selectors of Istio's Gateways are compared with (default istio=ingressgateway); without -f it joins a mesh")
	fl.StringVar(&acme.Email, "acme", "", "`EMAIL` of an ACME account: listeners with the TLS option weft.dev/acme get certificates by it (this agrees to the terms of the CA)")
	fl.StringVar(&acme.Directory, "acme-directory", "", "`URL` of the CA's ACME directory (default Let's Encrypt)")
	fl.StringVar(&acme.RootFile, "acme-root", "", "PEM `FILE` with the roots to trust for --acme-directory (default the system's)")
	fl.StringVar(&acme.Storage, "acme-storage", "", "`DIR` of the account's key and the certificates (default ~/.weft/acme, for root /var/lib/weft/acme)")
	fl.IntVar(&o.Loops, "loops", 1, "event loops: each uses up to one core")
	fl.StringVar(&o.Admin, "admin", "", "the proxy's endpoint for metrics and its state, IP:PORT or unix:///PATH (default none)")
	fl.StringVar(&o.AccessLog, "access-log", "", "`FILE` for a line of JSON per request, - for standard output (default none)")
	fl.StringVar(&o.Proxy, "proxy", "", "`PATH` of weft-proxy (default beside this program, else in PATH)")
	fl.BoolVar(&o.Check, "check", false, "report what is wrong with the documents and end")
	addChoice(cmd, &level, "log-level", "", "least level of the log on stderr", "info", "debug", "warn", "error")
	return cmd
}

// printSockets tells what is served where.
func (a *App) printSockets(s *model.Snapshot) {
	for _, socket := range s.Sockets {
		for _, ln := range socket.Listeners {
			host := ln.Hostname
			switch {
			case socket.Kind.Datagrams():
				host = "any datagram"
			case host == "":
				host = "any host"
			}
			a.printf("%s\n", fmt.Sprintf("listening on %s: %s (%s), %s, %s", socket.Address, ln.Name, socket.KindOf(&ln), host, plural(len(ln.Rules), "rule")))
		}
	}
}

// acmeOfGateway checks the flags of ACME.
func (a *App) acmeOfGateway(o *GatewayOptions, acme *GatewayACME) error {
	if acme.Email == "" {
		if acme.Directory+acme.RootFile+acme.Storage != "" {
			return fail(ExitUsage, "--acme-directory, --acme-root and --acme-storage want --acme EMAIL")
		}
		return nil
	}
	if acme.Storage == "" {
		acme.Storage = "/var/lib/weft/acme"
		if os.Geteuid() != 0 {
			acme.Storage = filepath.Join(a.o.Getenv("HOME"), ".weft", "acme")
		}
	}
	o.ACME = acme
	return nil
}
