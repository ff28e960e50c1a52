package store

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"
	"go.uber.org/zap"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

// cluster is a parsed store URL.
type cluster struct {
	endpoints []string // host:port
	prefix    string
	tls       bool
}

// maxEndpoints bounds a store URL; clusters of etcd have 3 to 7 members.
const maxEndpoints = 64

// parseURL reads "etcd://host:port[,host:port]...[/prefix]"; etcds:// asks for TLS. Errors do not quote the
// URL whole: somebody may have put a password in it.
func parseURL(s string) (cluster, error) {
	bad := func(format string, a ...any) (cluster, error) {
		return cluster{}, &Error{
			Kind: ErrUsage, Reason: "bad store URL: " + fmt.Sprintf(format, a...), Code: exitUsage,
			Remedy: "write etcd://host:port,host:port/prefix",
		}
	}
	scheme, rest, ok := strings.Cut(s, "://")
	if !ok || scheme != "etcd" && scheme != "etcds" {
		return bad("it does not begin with etcd:// or etcds://")
	}
	hosts, path, _ := strings.Cut(rest, "/")
	if strings.ContainsAny(hosts, "@?#") || strings.ContainsAny(path, "?#") {
		return bad("it has a user, query or fragment; use --store-username and --store-password-file for credentials")
	}
	c := cluster{prefix: defaultPrefix, tls: scheme == "etcds"}
	if p := strings.Trim(path, "/"); p != "" {
		c.prefix = "/" + p + "/"
	}
	c.endpoints = strings.Split(hosts, ",")
	if len(c.endpoints) > maxEndpoints {
		return bad("more than %d endpoints", maxEndpoints)
	}
	for _, e := range c.endpoints {
		host, port, err := net.SplitHostPort(e)
		if err != nil || host == "" || port == "" {
			return bad("endpoint %q is not host:port", e)
		}
	}
	return c, nil
}

func openCluster(ctx context.Context, o Options) (*Store, error) {
	c, err := parseURL(o.URL)
	if err != nil {
		return nil, err
	}
	conf, err := tlsConfig(o, c.tls)
	if err != nil {
		return nil, err
	}
	password, err := readPassword(o)
	if err != nil {
		return nil, err
	}
	began := time.Now()
	reach, cancel := context.WithTimeout(ctx, reachTimeout)
	defer cancel()
	// Probing first tells an unreachable host from a refused certificate; the client calls both a timeout.
	if err := probe(reach, c.endpoints, conf); err != nil {
		return nil, err
	}
	client, err := clientv3.New(clientv3.Config{
		Endpoints: withScheme(c.endpoints, conf != nil), TLS: conf, Username: o.Username, Password: password,
		DialTimeout: dialTimeout, DialKeepAliveTime: keepAliveTime, DialKeepAliveTimeout: keepAliveTimeout, Logger: zap.NewNop(),
	})
	if err != nil {
		return nil, clusterError(c.endpoints, time.Since(began), err)
	}
	s := &Store{client: client, prefix: c.prefix, places: c.endpoints, failed: make(chan struct{})}
	if _, err := client.Get(reach, s.prefix+"health", clientv3.WithCountOnly()); err != nil {
		return nil, errors.Join(clusterError(c.endpoints, time.Since(began), err), s.Close())
	}
	return s, nil
}

func withScheme(endpoints []string, secure bool) []string {
	out := make([]string, len(endpoints))
	for i, e := range endpoints {
		if out[i] = "http://" + e; secure {
			out[i] = "https://" + e
		}
	}
	return out
}

func readPassword(o Options) (string, error) {
	if o.PasswordFile == "" {
		if o.Username != "" {
			return "", &Error{Kind: ErrUsage, Reason: "a user name without a password file", Remedy: "set --store-password-file", Code: exitUsage}
		}
		return "", nil
	}
	b, err := os.ReadFile(o.PasswordFile)
	if err != nil {
		return "", fileError("password file", o.PasswordFile, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

func fileError(what, file string, err error) error {
	return &Error{Kind: ErrCredentials, Place: file, Reason: "cannot use the " + what + ": " + err.Error(), Code: exitNoPerm, Err: err}
}

// tlsConfig returns nil where connections are plain.
func tlsConfig(o Options, secure bool) (*tls.Config, error) {
	if !secure && o.CertFile == "" && o.KeyFile == "" && o.CAFile == "" {
		return nil, nil
	}
	conf := &tls.Config{MinVersion: tls.VersionTLS12}
	if o.CAFile != "" {
		pem, err := os.ReadFile(o.CAFile)
		if err != nil {
			return nil, fileError("CA file", o.CAFile, err)
		}
		conf.RootCAs = x509.NewCertPool()
		if !conf.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fileError("CA file", o.CAFile, errors.New("it holds no PEM certificate"))
		}
	}
	if (o.CertFile == "") != (o.KeyFile == "") {
		return nil, &Error{Kind: ErrUsage, Reason: "a client certificate needs both its file and its key file", Remedy: "give both or neither", Code: exitUsage}
	}
	if o.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(o.CertFile, o.KeyFile)
		if err != nil {
			return nil, fileError("client certificate", o.CertFile, err)
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// clusterError turns an error of etcd's client into an *Error that says what to do. tried is 0 if unknown.
func clusterError(places []string, tried time.Duration, err error) error {
	e := &Error{Kind: ErrUnreachable, Place: strings.Join(places, ", "), Code: exitUnavailable, Err: err}
	switch code := status.Code(err); {
	case errors.Is(err, rpctypes.ErrAuthFailed), code == codes.Unauthenticated, code == codes.PermissionDenied,
		errors.Is(err, rpctypes.ErrPermissionDenied), errors.Is(err, rpctypes.ErrUserEmpty), errors.Is(err, rpctypes.ErrAuthNotEnabled):
		e.Kind, e.Code = ErrCredentials, exitNoPerm
		e.Reason = "the cluster refuses the credentials: " + err.Error()
		e.Remedy = "check --store-username, --store-password-file and the role's permission on the prefix"
	case errors.Is(err, rpctypes.ErrNoSpace):
		e.Kind, e.Code = ErrFailed, exitIO
		e.Reason = "it is over its space quota: " + err.Error()
		e.Remedy = "compact and defragment it"
	default:
		e.Reason = "no answer: " + err.Error()
		if tried > 0 {
			e.Reason = fmt.Sprintf("no answer within %s: %v", tried.Round(100*time.Millisecond), err)
		}
		e.Remedy = "check that the cluster runs, has quorum and can be reached from here"
	}
	return e
}
