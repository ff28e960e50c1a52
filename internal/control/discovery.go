package control

import (
	"context"
	"errors"
	"fmt"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/control/ca"
	"github.com/weft-mesh/weft/internal/identity"
	"github.com/weft-mesh/weft/internal/model"
)

// discovery answers proxies.
type discovery struct{ s *Server }

var (
	_ discoveryv1connect.IdentityServiceHandler  = (*discovery)(nil)
	_ discoveryv1connect.DiscoveryServiceHandler = (*discovery)(nil)
)

// SignCertificate issues an SVID: by join token, or to who has one already.
func (d *discovery) SignCertificate(ctx context.Context, req *connect.Request[discoveryv1.SignCertificateRequest]) (*connect.Response[discoveryv1.SignCertificateResponse], error) {
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	id, err := identify(ctx)
	if token := req.Msg.GetJoinToken(); token != "" {
		id, err = d.s.ca.RedeemToken(ctx, token)
	}
	if err != nil {
		return nil, tokenError(err)
	}
	chain, notAfter, err := d.s.ca.Sign(ctx, req.Msg.GetCsr(), id, 0)
	switch {
	case errors.Is(err, ca.ErrRequest):
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	case err != nil:
		return nil, unavailable(err)
	}
	d.s.o.Logger.Debug("certificate issued", "identity", id.String(), "notAfter", notAfter)
	return connect.NewResponse(&discoveryv1.SignCertificateResponse{
		Chain: chain, Bundle: d.s.ca.Bundle(), NotAfter: timestamppb.New(notAfter),
	}), nil
}

// tokenError tells refusals that are for good from those that may pass.
func tokenError(err error) error {
	switch {
	case errors.Is(err, identity.ErrTokenMalformed):
		return connect.NewError(connect.CodeInvalidArgument, err)
	case errors.Is(err, ca.ErrTokenForeign), errors.Is(err, ca.ErrTokenUnknown), errors.Is(err, ca.ErrTokenSpent):
		return connect.NewError(connect.CodePermissionDenied, err)
	case errors.Is(err, errNoIdentity):
		return connect.NewError(connect.CodeUnauthenticated, errors.New("a certificate needs a join token, or the certificate it renews"))
	}
	return unavailable(err)
}

// Delta streams configuration; see xds.Server.
func (d *discovery) Delta(ctx context.Context, bidi *connect.BidiStream[discoveryv1.DeltaRequest, discoveryv1.DeltaResponse]) error {
	return d.s.xds.Delta(ctx, bidi)
}

// Register adds or refreshes the caller's endpoint.
func (d *discovery) Register(ctx context.Context, req *connect.Request[discoveryv1.RegisterRequest]) (*connect.Response[discoveryv1.RegisterResponse], error) {
	id, err := identify(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	revision, err := d.s.register(ctx, id, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&discoveryv1.RegisterResponse{Revision: revision}), nil
}

// Deregister takes the caller's endpoint out.
func (d *discovery) Deregister(ctx context.Context, req *connect.Request[discoveryv1.DeregisterRequest]) (*connect.Response[discoveryv1.DeregisterResponse], error) {
	id, err := identify(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	revision, err := d.s.deregister(ctx, id, req.Msg.GetId())
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(&discoveryv1.DeregisterResponse{Revision: revision}), nil
}

// Quota leases parts of rate limits that are counted for all proxies; see quotas.
func (d *discovery) Quota(ctx context.Context, req *connect.Request[discoveryv1.QuotaRequest]) (*connect.Response[discoveryv1.QuotaResponse], error) {
	b := quotaBatch{node: req.Msg.GetNodeId(), asks: req.Msg.GetAsks()}
	var err error
	if b.caller, err = identify(ctx); err != nil {
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	}
	if b.caller == d.s.ca.ControlIdentity() {
		b.passedOn = true
		if b.caller, err = model.ParseIdentity(req.Msg.GetCaller()); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("caller: %w", err))
		}
	}
	if err := b.check(); err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	return connect.NewResponse(&discoveryv1.QuotaResponse{Quotas: d.s.quotas.answer(ctx, &b)}), nil
}

// Report takes telemetry until the proxy ends the stream.
func (d *discovery) Report(ctx context.Context, stream *connect.ClientStream[discoveryv1.ReportRequest]) (*connect.Response[discoveryv1.ReportResponse], error) {
	id, err := identify(ctx)
	if err != nil {
		return nil, connect.NewError(connect.CodeUnauthenticated, err)
	}
	for stream.Receive() {
		m := stream.Msg()
		// A proxy speaks for itself: the identity is part of its name here, and so is the process.
		var started time.Time
		if m.GetStarted() != nil {
			started = m.GetStarted().AsTime()
		}
		node := fmt.Sprintf("%s %s %d", id, m.GetNodeId(), started.UnixMilli())
		if err := d.s.metrics.Report(node, started, m.GetSeries(), time.Now()); err != nil {
			return nil, connect.NewError(connect.CodeInvalidArgument, err)
		}
		d.s.taps.events(m.GetEvents())
		if m.GetProxy() != nil {
			d.s.stats.proxy(m.GetNodeId(), m.GetProxy())
		}
	}
	return connect.NewResponse(&discoveryv1.ReportResponse{}), stream.Err()
}
