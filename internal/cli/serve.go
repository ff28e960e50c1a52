package cli

import (
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"
)

type serveFlags struct {
	o         ServeOptions
	logLevel  choice
	logFormat choice
}

func (a *App) serveCommand() *cobra.Command {
	var f serveFlags
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Run the control plane",
		Long: text(`
			Serve runs the control plane until SIGINT or SIGTERM: the store, the certificate authority, the
			registry of services, the compiler of the configuration, the stream to the proxies and the API.

			By default everything is kept in an embedded etcd below --data-dir, and the API is on a unix socket
			only its owner can open. With --store it uses an etcd cluster, and any number of control planes may
			serve the same mesh on it. Restarting loses nothing; proxies go on with what they have meanwhile.

			--data-dir defaults to /var/lib/weft for root and to $XDG_DATA_HOME/weft or ~/.local/share/weft for
			others. The exit status is 64 when an address or directory cannot be used, 65 when stored data is
			damaged, 69 when the store cannot be reached.`),
		Example: "  weft serve\n  weft serve --data-dir ./mesh --socket ./mesh/weft.sock\n  weft serve --listen :15010 --proxy-listen :15012\n  weft serve --store etcd://10.0.0.1:2379,10.0.0.2:2379 --store-ca ca.pem --store-cert me.pem --store-key me.key",
		Args:    cobra.NoArgs,
		RunE: a.action(func(cmd *cobra.Command, _ []string) error {
			if a.o.Serve == nil {
				return fail(ExitUnavailable, "this build has no control plane")
			}
			if a.conn.server != "" && cmd.Flags().Changed("server") {
				return fail(ExitUsage, "serve is the server: --server is for its clients; --listen says where it listens")
			}
			o := f.o
			o.Socket = a.conn.path(a.o.Getenv)
			if o.DataDir == "" {
				o.DataDir = defaultDataDir(a.o.Getenv, os.Geteuid())
			}
			o.Version = a.o.Version
			o.TokenFile = a.conn.tokenFile
			o.Logger = a.serverLogger(f.logLevel.value, f.logFormat.value)
			return a.o.Serve(cmd.Context(), o)
		}),
	}
	fl := cmd.Flags()
	fl.StringVar(&f.o.DataDir, "data-dir", "", "`DIR` of the embedded store and of secrets, made with mode 0700")
	fl.StringVar(&f.o.Store, "store", "", "etcd cluster instead of the embedded store: `etcd://HOST:PORT[,HOST:PORT]...[/PREFIX]`, etcds:// for TLS")
	fl.StringVar(&f.o.StoreCA, "store-ca", "", "PEM `FILE` with the roots of --store")
	fl.StringVar(&f.o.StoreCert, "store-cert", "", "PEM `FILE` with the client certificate for --store")
	fl.StringVar(&f.o.StoreKey, "store-key", "", "PEM `FILE` with the key of --store-cert")
	fl.StringVar(&f.o.StoreUser, "store-user", "", "user `NAME` for --store")
	fl.StringVar(&f.o.StorePasswordFile, "store-password-file", "", "`FILE` with the password of --store-user")
	fl.StringVar(&f.o.CAKey, "ca-key", "", "`FILE` of mode 0600 with the key that seals the CA in the store; control planes on one store share it (default ca.key in --data-dir)")
	fl.StringVar(&f.o.TrustDomain, "trust-domain", "mesh.local", "trust `DOMAIN` of the mesh's identities; cannot change later")
	fl.StringVar(&f.o.Instance, "instance", "", "`NAME` of this control plane among those on one store (default made from the host's)")
	fl.DurationVar(&f.o.SVIDTTL, "svid-ttl", 24*time.Hour, "life of a workload's certificate, 1m to 720h, renewed at half of it")
	fl.StringVar(&f.o.Listen, "listen", "", "address of the API over TLS, `HOST:PORT`; clients need the token of --token-file")
	fl.StringVar(&f.o.Cert, "api-cert", "", "PEM `FILE` with the API's certificate (default one of its own, api.crt in the data directory)")
	fl.StringVar(&f.o.Key, "api-key", "", "PEM `FILE` with the key of --api-cert")
	fl.StringVar(&f.o.ProxySocket, "proxy-socket", "", "unix `SOCKET` for proxies of this host (default beside the API's)")
	fl.StringVar(&f.o.ProxyListen, "proxy-listen", "", "address for proxies of other hosts, `HOST:PORT` (default none)")
	cmd.MarkFlagsRequiredTogether("api-cert", "api-key")
	cmd.MarkFlagsRequiredTogether("store-cert", "store-key")
	cmd.MarkFlagsRequiredTogether("store-user", "store-password-file")
	addChoice(cmd, &f.logLevel, "log-level", "", "least level of the log", "info", "debug", "warn", "error")
	addChoice(cmd, &f.logFormat, "log-format", "", "format of the log on stderr", "text", "json")
	return cmd
}

func (a *App) serverLogger(level, format string) *slog.Logger {
	l := slog.LevelInfo
	// The choice allows only names that UnmarshalText knows.
	_ = l.UnmarshalText([]byte(level))
	if a.debug {
		l = slog.LevelDebug
	}
	if format == "json" {
		return slog.New(slog.NewJSONHandler(a.o.Stderr, &slog.HandlerOptions{Level: l}))
	}
	return a.logger(l)
}

// defaultDataDir is where a control plane of this user keeps its data.
func defaultDataDir(getenv func(string) string, uid int) string {
	if dir := getenv("XDG_DATA_HOME"); dir != "" {
		return filepath.Join(dir, "weft")
	}
	if uid == 0 {
		return "/var/lib/weft"
	}
	return filepath.Join(getenv("HOME"), ".local", "share", "weft")
}
