package cli

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"

	"connectrpc.com/connect"
	"github.com/spf13/pflag"

	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

const (
	maxAnswer    = 64 << 20 // bytes of one answer
	maxTokenFile = 16 << 10
	maxCAFile    = 1 << 20
)

// DefaultSocket returns where the control plane of this user listens: $WEFT_SOCKET, else
// $XDG_RUNTIME_DIR/weft/weft.sock, else /run/weft/weft.sock for root and ~/.weft/weft.sock for others.
func DefaultSocket(getenv func(string) string, uid int) string {
	if s := getenv("WEFT_SOCKET"); s != "" {
		return s
	}
	if dir := getenv("XDG_RUNTIME_DIR"); dir != "" {
		return filepath.Join(dir, "weft", "weft.sock")
	}
	if uid == 0 {
		return "/run/weft/weft.sock"
	}
	return filepath.Join(getenv("HOME"), ".weft", "weft.sock")
}

// connection says where the control plane is.
type connection struct {
	socket    string
	server    string
	tokenFile string
	ca        string
	timeout   time.Duration
}

func (c *connection) addFlags(f *pflag.FlagSet, getenv func(string) string) {
	f.StringVar(&c.socket, "socket", "", "unix `SOCKET` of the control plane (default $WEFT_SOCKET, or found as 'weft help' says)")
	f.StringVar(&c.server, "server", getenv("WEFT_SERVER"), "control plane over TLS instead of the socket: `https://HOST:PORT` ($WEFT_SERVER)")
	f.StringVar(&c.tokenFile, "token-file", getenv("WEFT_TOKEN_FILE"), "`FILE` with the bearer token for --server ($WEFT_TOKEN_FILE)")
	f.StringVar(&c.ca, "ca", getenv("WEFT_CA"), "PEM `FILE` with the roots to trust for --server; default the system's ($WEFT_CA)")
	f.DurationVar(&c.timeout, "request-timeout", 10*time.Second, "how long one request to the control plane may take")
	f.Lookup("socket").DefValue = "" // found at run time: the machine's own path must not get into the docs
	for _, name := range []string{"server", "token-file", "ca"} {
		f.Lookup(name).DefValue = ""
	}
}

// path returns the socket in use.
func (c *connection) path(getenv func(string) string) string {
	if c.socket == "" {
		c.socket = DefaultSocket(getenv, os.Geteuid())
	}
	return c.socket
}

// target names the control plane in messages.
func (c *connection) target() string {
	if c.server != "" {
		return c.server
	}
	return c.socket
}

// client returns a client of the control plane. It does not connect yet.
func (a *App) client() (adminv1connect.AdminServiceClient, error) {
	opts := []connect.ClientOption{connect.WithReadMaxBytes(maxAnswer)}
	if a.conn.server == "" {
		path := a.conn.path(a.o.Getenv)
		dialer := &net.Dialer{Timeout: 5 * time.Second}
		h := &http.Client{Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return dialer.DialContext(ctx, "unix", path)
			},
			// One command, few requests: connections need not outlive it.
			DisableKeepAlives: true,
		}}
		return adminv1connect.NewAdminServiceClient(h, "http://weft", opts...), nil
	}
	u, err := url.Parse(a.conn.server)
	if err != nil || u.Scheme != "https" || u.Host == "" || u.User != nil || strings.Trim(u.Path, "/") != "" {
		return nil, fail(ExitUsage, "--server %q is not https://HOST:PORT", clean(a.conn.server))
	}
	config, err := a.conn.tlsConfig()
	if err != nil {
		return nil, err
	}
	h := &http.Client{Transport: &http.Transport{TLSClientConfig: config, ForceAttemptHTTP2: true, Proxy: http.ProxyFromEnvironment, DisableKeepAlives: true}}
	if a.conn.tokenFile != "" {
		token, err := readSmall(a.conn.tokenFile, maxTokenFile)
		if err != nil {
			return nil, fail(ExitIO, "--token-file: %w", err)
		}
		opts = append(opts, connect.WithInterceptors(bearer(strings.TrimSpace(string(token)))))
	}
	return adminv1connect.NewAdminServiceClient(h, "https://"+u.Host, opts...), nil
}

func (c *connection) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS13}
	if c.ca == "" {
		return config, nil
	}
	pem, err := readSmall(c.ca, maxCAFile)
	if err != nil {
		return nil, fail(ExitIO, "--ca: %w", err)
	}
	config.RootCAs = x509.NewCertPool()
	if !config.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fail(ExitUsage, "--ca %s has no PEM certificate", c.ca)
	}
	return config, nil
}

// readSmall reads a file of at most limit bytes; devices and pipes without end are cut off there.
func readSmall(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(b)) > limit {
		return nil, fail(ExitData, "%s is larger than %d bytes", path, limit)
	}
	return b, nil
}

// bearer adds a token to every request (RFC 6750, section 2.1).
type bearer string

func (t bearer) WrapUnary(next connect.UnaryFunc) connect.UnaryFunc {
	return func(ctx context.Context, r connect.AnyRequest) (connect.AnyResponse, error) {
		r.Header().Set("Authorization", "Bearer "+string(t))
		return next(ctx, r)
	}
}

func (t bearer) WrapStreamingClient(next connect.StreamingClientFunc) connect.StreamingClientFunc {
	return func(ctx context.Context, s connect.Spec) connect.StreamingClientConn {
		conn := next(ctx, s)
		conn.RequestHeader().Set("Authorization", "Bearer "+string(t))
		return conn
	}
}

func (t bearer) WrapStreamingHandler(next connect.StreamingHandlerFunc) connect.StreamingHandlerFunc {
	return next
}

// call makes one request to the control plane within --request-timeout.
func call[Req, Res any](ctx context.Context, a *App, do func(context.Context, *connect.Request[Req]) (*connect.Response[Res], error), req *Req) (*Res, error) {
	ctx, cancel := context.WithTimeout(ctx, a.conn.timeout)
	defer cancel()
	res, err := do(ctx, connect.NewRequest(req))
	if err != nil {
		return nil, err
	}
	return res.Msg, nil
}
