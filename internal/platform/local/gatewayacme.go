package local

import (
	"context"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// managedChanged is sent to when there are certificates or challenges to apply; nil without ACME.
func (e *edge) managedChanged() <-chan struct{} {
	if e.acme == nil {
		return nil
	}
	return e.acme.Changed()
}

// withManaged returns a snapshot with the certificates that came by ACME, and their version.
func (e *edge) withManaged(s *model.Snapshot) (*model.Snapshot, uint64) {
	if e.acme == nil {
		return s, 0
	}
	managed, version := e.acme.Managed(s.ManagedHosts())
	return s.WithManaged(managed), version
}

// manage has certificates kept for the hosts of a snapshot that runs.
func (e *edge) manage(s *model.Snapshot, version uint64) error {
	hosts := s.ManagedHosts()
	if e.acme == nil {
		if len(hosts) > 0 {
			e.o.Logger.Warn("listeners ask for certificates by ACME and get none: start with --acme EMAIL", "hosts", strings.Join(hosts, " "))
		}
		return nil
	}
	e.acme.Applied(version)
	return e.acme.Manage(hosts)
}

// renew applies what came by ACME.
func (e *edge) renew(ctx context.Context) {
	if err := e.apply(ctx, e.current); err != nil && ctx.Err() == nil {
		e.o.Logger.Error("certificates by ACME are not applied", "error", err)
	}
}
