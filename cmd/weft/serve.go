package main

import (
	"context"
	"errors"
	"syscall"

	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/control"
	"github.com/weft-mesh/weft/internal/control/ca"
	"github.com/weft-mesh/weft/internal/control/store"
)

// runServe runs a control plane until ctx ends.
func runServe(ctx context.Context, o cli.ServeOptions) error {
	s, err := control.New(control.Options{
		DataDir: o.DataDir,
		Store: store.Options{
			URL: o.Store, CAFile: o.StoreCA, CertFile: o.StoreCert, KeyFile: o.StoreKey,
			Username: o.StoreUser, PasswordFile: o.StorePasswordFile,
		},
		CAKey: o.CAKey, TrustDomain: o.TrustDomain, SVIDTTL: o.SVIDTTL, Instance: o.Instance,
		APISocket: o.Socket, APIListen: o.Listen, APICert: o.Cert, APIKey: o.Key, TokenFile: o.TokenFile,
		ProxySocket: o.ProxySocket, ProxyListen: o.ProxyListen,
		Version: o.Version, Logger: o.Logger,
	})
	if err != nil {
		return &cli.Error{Code: cli.ExitUsage, Err: err}
	}
	return serveStatus(s.Run(ctx))
}

// serveStatus gives what the user named wrongly (an address in use, a directory or key that may not be
// read) the status of wrong usage; other errors keep the status they carry.
func serveStatus(err error) error {
	var keyFile *ca.Error
	switch {
	case err == nil:
		return nil
	case errors.Is(err, syscall.EADDRINUSE), errors.Is(err, syscall.EADDRNOTAVAIL),
		errors.Is(err, store.ErrAccess), errors.Is(err, store.ErrLocked), errors.Is(err, store.ErrCredentials),
		errors.Is(err, ca.ErrTrustDomain):
		return &cli.Error{Code: cli.ExitUsage, Err: err}
	case errors.As(err, &keyFile) && errors.Is(err, ca.ErrKeyFile) && keyFile.Code != cli.ExitData:
		return &cli.Error{Code: cli.ExitUsage, Err: err}
	}
	return err
}
