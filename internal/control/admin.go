package control

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"connectrpc.com/connect"
	"google.golang.org/protobuf/types/known/timestamppb"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/config"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

// admin answers the command line and other control planes.
type admin struct{ s *Server }

var _ adminv1connect.AdminServiceHandler = (*admin)(nil)

// Version says who this is.
func (a *admin) Version(context.Context, *connect.Request[adminv1.VersionRequest]) (*connect.Response[adminv1.VersionResponse], error) {
	v, _ := a.s.state.read(false)
	return connect.NewResponse(&adminv1.VersionResponse{
		Version: a.s.o.Version, TrustDomain: a.s.ca.TrustDomain(), Instance: a.s.o.Instance, Revision: v.revision,
		Started: timestamppb.New(a.s.started), ProxyAddress: a.s.proxyAt,
	}), nil
}

// Apply stores documents.
func (a *admin) Apply(ctx context.Context, req *connect.Request[adminv1.ApplyRequest]) (*connect.Response[adminv1.ApplyResponse], error) {
	resp, err := a.s.apply(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(resp), nil
}

// Delete removes resources.
func (a *admin) Delete(ctx context.Context, req *connect.Request[adminv1.DeleteRequest]) (*connect.Response[adminv1.DeleteResponse], error) {
	resp, err := a.s.remove(ctx, req.Msg)
	if err != nil {
		return nil, err
	}
	return connect.NewResponse(resp), nil
}

// List returns stored resources with their conditions.
func (a *admin) List(_ context.Context, req *connect.Request[adminv1.ListRequest]) (*connect.Response[adminv1.ListResponse], error) {
	var kind string
	if req.Msg.GetKind() != "" {
		k, ok := config.LookupKind(req.Msg.GetKind())
		if !ok {
			return nil, unknownKind(req.Msg.GetKind())
		}
		kind = k.Key()
	}
	v, _ := a.s.state.read(false)
	mesh := a.s.mesh.Load()
	resp := &adminv1.ListResponse{Revision: v.revision}
	for k, r := range v.resources {
		if kind != "" && k.Kind != kind || req.Msg.GetNamespace() != "" && k.Namespace != req.Msg.GetNamespace() ||
			req.Msg.GetName() != "" && k.Name != req.Msg.GetName() {
			continue
		}
		resp.Resources = append(resp.Resources, storedProto(r, mesh, k))
	}
	slices.SortFunc(resp.Resources, func(a, b *adminv1.StoredResource) int {
		return cmp.Or(cmp.Compare(a.Ref.Kind, b.Ref.Kind), cmp.Compare(a.Ref.Namespace, b.Ref.Namespace), cmp.Compare(a.Ref.Name, b.Ref.Name))
	})
	return connect.NewResponse(resp), nil
}

func storedProto(r stored, mesh *config.Mesh, k config.ResourceKey) *adminv1.StoredResource {
	out := &adminv1.StoredResource{
		Ref:  &adminv1.ResourceRef{ApiVersion: r.APIVersion, Kind: r.Key.Kind, Namespace: r.Key.Namespace, Name: r.Key.Name},
		Yaml: r.YAML, File: r.File, Line: int32(r.Line), Revision: r.ModRevision, Created: timestamppb.New(r.Created),
	}
	out.Conditions = conditionsProto(mesh.Status[k])
	for _, l := range mesh.Listeners[k] {
		out.Listeners = append(out.Listeners, &adminv1.ListenerStatus{Name: l.Name, AttachedRoutes: uint32(l.Attached), Conditions: conditionsProto(l.Conditions)})
	}
	for _, p := range mesh.Parents[k] {
		out.Parents = append(out.Parents, &adminv1.ParentStatus{
			Kind: p.Kind, Name: p.Name, Section: p.Section, Port: uint32(p.Port), Conditions: conditionsProto(p.Conditions),
		})
	}
	return out
}

func conditionsProto(in []config.Condition) (out []*adminv1.Condition) {
	for _, c := range in {
		out = append(out, &adminv1.Condition{Type: c.Type, Status: c.Status, Reason: c.Reason, Message: c.Message})
	}
	return out
}

const (
	defaultWait = 30 * time.Second
	maxWait     = 10 * time.Minute
)

// Wait returns when the proxies of all control planes run a revision.
func (a *admin) Wait(ctx context.Context, req *connect.Request[adminv1.WaitRequest]) (*connect.Response[adminv1.WaitResponse], error) {
	timeout := req.Msg.GetTimeout().AsDuration()
	if timeout <= 0 {
		timeout = defaultWait
	}
	within, cancel := context.WithTimeout(ctx, min(timeout, maxWait))
	defer cancel()
	own := make(chan *adminv1.WaitResponse, 1)
	go func() { own <- a.s.wait(within, req.Msg.GetRevision()) }()
	others := fanOut(ctx, a.s, func(ctx context.Context, c adminv1connect.AdminServiceClient) (*adminv1.WaitResponse, error) {
		resp, err := c.Wait(ctx, connect.NewRequest(req.Msg))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	})
	sum := <-own
	for _, r := range others {
		sum.Proxies += r.GetProxies()
		sum.Refusals = append(sum.Refusals, r.GetRefusals()...)
		sum.Pending = append(sum.Pending, r.GetPending()...)
	}
	return connect.NewResponse(sum), nil
}

func (s *Server) wait(ctx context.Context, revision int64) *adminv1.WaitResponse {
	r, behind := s.xds.Wait(ctx, revision)
	out := &adminv1.WaitResponse{Proxies: int32(r.Current), Pending: r.Pending}
	for id, why := range r.Refused {
		out.Refusals = append(out.Refusals, &adminv1.Refusal{Proxy: id, Reason: why})
	}
	if behind {
		out.Pending = append(out.Pending, "control plane "+s.o.Instance)
	}
	return out
}

// CreateJoinToken makes a token that admits a workload.
func (a *admin) CreateJoinToken(ctx context.Context, req *connect.Request[adminv1.CreateJoinTokenRequest]) (*connect.Response[adminv1.CreateJoinTokenResponse], error) {
	id := model.Identity{TrustDomain: a.s.ca.TrustDomain(), Namespace: req.Msg.GetNamespace(), Account: req.Msg.GetAccount()}
	for what, name := range map[string]string{"namespace": id.Namespace, "account": id.Account} {
		if why := document.CheckLabel(name); why != "" {
			return nil, connect.NewError(connect.CodeInvalidArgument, fmt.Errorf("%s %q: %s", what, name, why))
		}
	}
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	ttl := req.Msg.GetTtl().AsDuration()
	token, err := a.s.ca.CreateToken(ctx, id, ttl, int(req.Msg.GetUses()))
	if err != nil {
		return nil, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if ttl == 0 {
		ttl = defaultTokenTTL
	}
	return connect.NewResponse(&adminv1.CreateJoinTokenResponse{Token: token, Expires: timestamppb.New(time.Now().Add(ttl))}), nil
}

// ListServices returns the services of the compiled mesh.
func (a *admin) ListServices(_ context.Context, req *connect.Request[adminv1.ListServicesRequest]) (*connect.Response[adminv1.ListServicesResponse], error) {
	resp := &adminv1.ListServicesResponse{}
	for n, svc := range a.s.mesh.Load().Services {
		if ns := req.Msg.GetNamespace(); ns != "" && n.Namespace != ns {
			continue
		}
		resp.Services = append(resp.Services, &adminv1.ServiceInfo{Service: xds.ServiceToWire(svc), Endpoints: xds.EndpointsToWire(svc)})
	}
	slices.SortFunc(resp.Services, func(a, b *adminv1.ServiceInfo) int { return cmp.Compare(a.Service.Name, b.Service.Name) })
	return connect.NewResponse(resp), nil
}

// ListProxies returns the proxies of all control planes.
func (a *admin) ListProxies(ctx context.Context, req *connect.Request[adminv1.ListProxiesRequest]) (*connect.Response[adminv1.ListProxiesResponse], error) {
	resp := &adminv1.ListProxiesResponse{}
	for _, p := range a.s.xds.Proxies() {
		resp.Proxies = append(resp.Proxies, a.s.proxyProto(p))
	}
	for _, r := range fanOut(ctx, a.s, func(ctx context.Context, c adminv1connect.AdminServiceClient) (*adminv1.ListProxiesResponse, error) {
		resp, err := c.ListProxies(ctx, connect.NewRequest(req.Msg))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}) {
		resp.Proxies = append(resp.Proxies, r.GetProxies()...)
	}
	return connect.NewResponse(resp), nil
}

func (s *Server) proxyProto(p xds.ProxyState) *adminv1.ProxyInfo {
	out := &adminv1.ProxyInfo{
		Node: p.Node, Identity: p.Identity.String(), Namespace: p.Identity.Namespace, Connected: timestamppb.New(p.Connected),
		// A revision that changed nothing for the proxy counts as acknowledged though it was not sent.
		SentRevision: max(p.SentRevision, p.AckedRevision), AckedRevision: p.AckedRevision, Nack: p.Nack, Instance: s.o.Instance,
		Stats: s.stats.lastOf(p.Node.GetId()),
	}
	switch {
	case !p.Acked.IsZero():
		out.Acked = timestamppb.New(p.Acked)
	case p.AckedRevision > 0: // it came back with what is current
		out.Acked = out.GetConnected()
	}
	for _, n := range p.Subscriptions {
		out.Subscriptions = append(out.Subscriptions, "service/"+n)
	}
	return out
}

// GetSnapshot returns what a proxy acknowledged.
func (a *admin) GetSnapshot(ctx context.Context, req *connect.Request[adminv1.GetSnapshotRequest]) (*connect.Response[adminv1.GetSnapshotResponse], error) {
	snap, ok, err := a.s.xds.Snapshot(req.Msg.GetProxy())
	if err != nil {
		return nil, err
	}
	if ok {
		b, err := json.Marshal(snap.Redacted())
		if err != nil {
			return nil, err
		}
		return connect.NewResponse(&adminv1.GetSnapshotResponse{Json: string(b)}), nil
	}
	for _, r := range fanOut(ctx, a.s, func(ctx context.Context, c adminv1connect.AdminServiceClient) (*adminv1.GetSnapshotResponse, error) {
		resp, err := c.GetSnapshot(ctx, connect.NewRequest(req.Msg))
		if err != nil {
			return nil, err
		}
		return resp.Msg, nil
	}) {
		return connect.NewResponse(r), nil
	}
	return nil, connect.NewError(connect.CodeNotFound, fmt.Errorf("no proxy %q is connected", req.Msg.GetProxy()))
}

// Check runs the control plane's own checks.
func (a *admin) Check(ctx context.Context, _ *connect.Request[adminv1.CheckRequest]) (*connect.Response[adminv1.CheckResponse], error) {
	s := a.s
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	resp := &adminv1.CheckResponse{}
	add := func(anchor, description string, err error) {
		r := &adminv1.CheckResult{Category: "weft-control-plane", Description: description, Anchor: anchor, Status: adminv1.CheckResult_STATUS_OK}
		if err != nil {
			r.Status, r.Detail = adminv1.CheckResult_STATUS_ERROR, err.Error()
		}
		resp.Results = append(resp.Results, r)
	}
	add("control-plane-store", "the store answers", s.store.Healthy(ctx))
	_, _, err := s.ca.Sign(ctx, nil, s.ca.ControlIdentity(), 0)
	if err != nil && !isRequestError(err) {
		add("control-plane-ca", "the CA signs certificates", err)
	} else {
		add("control-plane-ca", "the CA signs certificates", nil)
	}
	add("control-plane-root", "the root certificate is valid for another 30 days", s.rootLife())
	var behind error
	if v, _ := s.state.read(false); s.mesh.Load().Revision < v.revision-1000 {
		behind = errors.New("the compiled mesh is far behind the store")
	}
	add("control-plane-compile", "the compiled mesh is that of the store", behind)
	add("control-plane-instances", fmt.Sprintf("all control planes answer (%d)", 1+len(s.others())), s.peersAnswer(ctx))
	return connect.NewResponse(resp), nil
}

// proxyStats are what a proxy last said of itself.
type proxyStats = discoveryv1.ProxyStats
