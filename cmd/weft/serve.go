package main

import (
	"errors"
	"syscall"

	"github.com/weft-mesh/weft/internal/cli"
	"github.com/weft-mesh/weft/internal/control/ca"
	"github.com/weft-mesh/weft/internal/control/store"
)

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
