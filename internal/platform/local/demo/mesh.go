package demo

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os/exec"
	"strings"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/durationpb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
)

// callWithin bounds a call of the API.
const callWithin = 10 * time.Second

// dialAdmin returns a client of the API on a unix socket. The transport is the caller's to close.
func dialAdmin(socket string) (*http.Transport, adminv1connect.AdminServiceClient) {
	t := &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", socket)
		},
		MaxIdleConnsPerHost: 4,
		IdleConnTimeout:     30 * time.Second,
	}
	return t, adminv1connect.NewAdminServiceClient(&http.Client{Transport: t}, "http://weft")
}

func (l *lab) version(ctx context.Context) (*adminv1.VersionResponse, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	r, err := l.admin.Version(ctx, connect.NewRequest(&adminv1.VersionRequest{}))
	if err != nil {
		return nil, fmt.Errorf("version: %w", err)
	}
	return r.Msg, nil
}

func (l *lab) services(ctx context.Context) ([]*adminv1.ServiceInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	r, err := l.admin.ListServices(ctx, connect.NewRequest(&adminv1.ListServicesRequest{Namespace: l.d.Namespace}))
	if err != nil {
		return nil, fmt.Errorf("list services: %w", err)
	}
	return r.Msg.GetServices(), nil
}

func (l *lab) proxies(ctx context.Context) ([]*adminv1.ProxyInfo, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	r, err := l.admin.ListProxies(ctx, connect.NewRequest(&adminv1.ListProxiesRequest{}))
	if err != nil {
		return nil, fmt.Errorf("list proxies: %w", err)
	}
	return r.Msg.GetProxies(), nil
}

func (l *lab) resources(ctx context.Context) ([]*adminv1.StoredResource, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	r, err := l.admin.List(ctx, connect.NewRequest(&adminv1.ListRequest{}))
	if err != nil {
		return nil, fmt.Errorf("list resources: %w", err)
	}
	return r.Msg.GetResources(), nil
}

// edges are the rows of `weft edges` with what each side saw told apart.
func (l *lab) edges(ctx context.Context) ([]*adminv1.StatRow, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	r, err := l.admin.Stat(ctx, connect.NewRequest(&adminv1.StatRequest{
		Window:  durationpb.New(time.Minute),
		GroupBy: []string{"direction", "source", "destination", "source_id", "destination_id", "tls"},
	}))
	if err != nil {
		return nil, fmt.Errorf("stat: %w", err)
	}
	return r.Msg.GetRows(), nil
}

// applyFile runs the real `weft apply --wait`, as a user would, and says how long it took, process start
// included.
func (l *lab) applyFile(ctx context.Context, file string) (time.Duration, error) {
	return l.weft(ctx, "", "apply", "--wait", "--timeout", "20s", "-f", file)
}

// applyText is applyFile for a text.
func (l *lab) applyText(ctx context.Context, text string) (time.Duration, error) {
	return l.weft(ctx, text, "apply", "--wait", "--timeout", "20s", "-f", "-")
}

// weft runs a command of ours against the demo's control plane; the error has what it printed.
func (l *lab) weft(ctx context.Context, stdin string, args ...string) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, l.o.Executable, append(args, "--socket", l.socket())...)
	cmd.Stdin = strings.NewReader(stdin)
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		return took, fmt.Errorf("weft %s: %s: %s", args[0], exit, clip(string(out), 400))
	case err != nil:
		return took, fmt.Errorf("weft %s: %w", args[0], err)
	}
	return took, nil
}
