package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"syscall"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/platform/acme"
	"github.com/weft-mesh/weft/internal/platform/local"
)

// runGateway runs a gateway from files. What is wrong with them has been reported when it ends for it, so
// that only the exit status is left to say.
func runGateway(ctx context.Context, o cli.GatewayOptions) error {
	if o.Join != nil {
		return joinMesh(ctx, o)
	}
	reload := make(chan os.Signal, 1)
	signal.Notify(reload, syscall.SIGHUP)
	defer signal.Stop(reload)
	err := local.Gateway(ctx, local.GatewayOptions{
		Paths: o.Paths,
		Read: func() ([]document.Source, error) {
			docs, err := o.Read()
			sources := make([]document.Source, len(docs))
			for i, d := range docs {
				sources[i] = document.Source{File: d.GetFile(), Data: []byte(d.GetText())}
			}
			return sources, err
		},
		Bind:      o.Bind,
		Labels:    o.Labels,
		Loops:     o.Loops,
		Admin:     o.Admin,
		AccessLog: o.AccessLog,
		LogLevel:  o.LogLevel,
		Proxy:     o.Proxy,
		Check:     o.Check,
		Report: func(problems document.Problems) {
			for _, p := range problems {
				tell := o.Fault
				if p.Warning {
					tell = o.Warn
				}
				tell(&adminv1.Problem{
					File: p.File, Line: int32(p.Line), Column: int32(p.Column), Field: p.Field, Message: p.Message, Remedy: p.Remedy,
				})
			}
		},
		ACME:    acmeOptions(o),
		Serving: o.Serving,
		Reload:  reload,
		Logger:  o.Logger,
		Stdout:  o.Stdout,
		Stderr:  o.Stderr,
	})
	if errors.Is(err, local.ErrDocuments) {
		return &cli.Error{Code: cli.ExitData}
	}
	return err
}

// joinMesh runs a gateway of a mesh.
func joinMesh(ctx context.Context, o cli.GatewayOptions) error {
	var egress cli.GatewayEgress
	if o.Join.Egress != nil {
		egress = *o.Join.Egress
	}
	return local.JoinedGateway(ctx, local.JoinedOptions{
		As:           o.Join.As,
		Gateway:      o.Join.Gateway,
		Labels:       o.Join.Labels,
		Inbound:      egress.Inbound,
		Advertise:    egress.Advertise,
		Control:      o.Join.Control,
		TokenFile:    o.Join.TokenFile,
		Admin:        o.Join.Client,
		Bind:         o.Bind,
		Certificates: o.Join.Certificates,
		Loops:        o.Loops,
		ProxyAdmin:   o.Admin,
		AccessLog:    o.AccessLog,
		LogLevel:     o.LogLevel,
		Proxy:        o.Proxy,
		ACME:         acmeOptions(o),
		Serving:      o.Join.Listening,
		Logger:       o.Logger,
		Stdout:       o.Stdout,
		Stderr:       o.Stderr,
	})
}

// acmeOptions are those of the command line; nil is none.
func acmeOptions(o cli.GatewayOptions) *acme.Options {
	if o.ACME == nil {
		return nil
	}
	return &acme.Options{
		Email: o.ACME.Email, Directory: o.ACME.Directory, RootFile: o.ACME.RootFile, Storage: o.ACME.Storage, Logger: o.Logger,
	}
}
