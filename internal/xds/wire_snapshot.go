package xds

import (
	"cmp"
	"fmt"
	"maps"
	"slices"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// WorkloadToWire converts the workload of a proxy.
func WorkloadToWire(trustDomain string, w model.Workload) *discoveryv1.Workload {
	return &discoveryv1.Workload{
		Id: w.ID, Identity: w.Identity.String(), Service: nameText(w.Service), Labels: w.Labels,
		Inbound: InboundToWire(w.Inbound), TrustDomain: trustDomain, Policy: jsonToWire(w.Policy, w.Policy == nil),
		Outbound: jsonToWire(w.Outbound, w.Outbound == nil),
	}
}

// WorkloadFromWire is the inverse of WorkloadToWire.
func WorkloadFromWire(w *discoveryv1.Workload) (trustDomain string, out model.Workload, err error) {
	out = model.Workload{ID: w.GetId(), Labels: labels(w.GetLabels())}
	if out.Identity, err = identityFromWire(w.GetIdentity()); err != nil {
		return "", out, fmt.Errorf("workload: %w", err)
	}
	if err = out.Service.UnmarshalText([]byte(w.GetService())); err != nil {
		return "", out, fmt.Errorf("workload: %w", err)
	}
	if out.Inbound, err = InboundFromWire(w.GetInbound()); err != nil {
		return "", out, fmt.Errorf("workload: %w", err)
	}
	if out.Policy, err = optionalFromWire[model.Policy](w.GetPolicy(), "policy"); err != nil {
		return "", out, fmt.Errorf("workload: %w", err)
	}
	if out.Outbound, err = optionalFromWire[model.Outbound](w.GetOutbound(), "outbound"); err != nil {
		return "", out, fmt.Errorf("workload: %w", err)
	}
	return w.GetTrustDomain(), out, nil
}

// InboundToWire converts the ports of a program.
func InboundToWire(in []model.Inbound) []*discoveryv1.Inbound {
	var out []*discoveryv1.Inbound
	for _, i := range in {
		out = append(out, &discoveryv1.Inbound{
			ServicePort: uint32(i.ServicePort), Port: uint32(i.Port), Protocol: string(i.Protocol),
			Connections: jsonToWire(i.Connections, i.Connections == nil),
		})
	}
	return out
}

// InboundFromWire is the inverse of InboundToWire.
func InboundFromWire(in []*discoveryv1.Inbound) ([]model.Inbound, error) {
	var out []model.Inbound
	for _, w := range in {
		var (
			i   model.Inbound
			err error
		)
		if i.ServicePort, err = port16(w.GetServicePort()); err != nil {
			return nil, fmt.Errorf("inbound: %w", err)
		}
		if i.Port, err = port16(w.GetPort()); err != nil {
			return nil, fmt.Errorf("inbound: %w", err)
		}
		if i.Protocol, err = model.ParseProtocol(w.GetProtocol()); err != nil {
			return nil, fmt.Errorf("inbound: %w", err)
		}
		if i.Connections, err = optionalFromWire[model.Connections](w.GetConnections(), "connections"); err != nil {
			return nil, fmt.Errorf("inbound: %w", err)
		}
		out = append(out, i)
	}
	return out, nil
}

// SnapshotToResources converts a snapshot into the resources that carry it, each with its version.
func SnapshotToResources(s *model.Snapshot) []*discoveryv1.Resource {
	out := []*discoveryv1.Resource{workloadResource(s.TrustDomain, s.Workload)}
	if len(s.Sockets) > 0 || s.ClientCertificate != nil {
		g := newGatewayResources(s.Workload.Service, &gatewayEdge{sockets: s.Sockets, client: s.ClientCertificate})
		for _, name := range slices.Sorted(maps.Keys(g.byName)) {
			out = append(out, g.byName[name])
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Secrets)) {
		c := s.Secrets[name]
		out = append(out, secretResource(name, &c))
	}
	for i := range s.Services {
		out = append(out, serviceResource(&s.Services[i]), endpointsResource(&s.Services[i]))
	}
	return out
}

func workloadResource(trustDomain string, w model.Workload) *discoveryv1.Resource {
	return seal(nameWorkload, &discoveryv1.Resource{
		Body: &discoveryv1.Resource_Workload{Workload: WorkloadToWire(trustDomain, w)},
	})
}

func serviceResource(s *model.Service) *discoveryv1.Resource {
	return seal(ServiceResource(s.Name), &discoveryv1.Resource{
		Body: &discoveryv1.Resource_Service{Service: ServiceToWire(s)},
	})
}

func endpointsResource(s *model.Service) *discoveryv1.Resource {
	return seal(EndpointsResource(s.Name), &discoveryv1.Resource{
		Body: &discoveryv1.Resource_Endpoints{Endpoints: EndpointsToWire(s)},
	})
}

// SnapshotFromResources is the inverse of SnapshotToResources. Taps are left out, for they are no part of
// what a proxy runs; endpoints without their service are left out too. Services come sorted by name.
func SnapshotFromResources(revision int64, resources []*discoveryv1.Resource) (*model.Snapshot, error) {
	snap := &model.Snapshot{Revision: revision}
	endpoints := map[string][]model.Endpoint{}
	var gateway *discoveryv1.Gateway
	parts := map[string]*discoveryv1.GatewayPart{}
	for _, r := range resources {
		var err error
		switch b := r.GetBody().(type) {
		case *discoveryv1.Resource_Workload:
			snap.TrustDomain, snap.Workload, err = WorkloadFromWire(b.Workload)
		case *discoveryv1.Resource_Service:
			var s model.Service
			if s, err = ServiceFromWire(b.Service); err == nil {
				snap.Services = append(snap.Services, s)
			}
		case *discoveryv1.Resource_Endpoints:
			endpoints[b.Endpoints.GetService()], err = EndpointsFromWire(b.Endpoints)
		case *discoveryv1.Resource_Gateway:
			gateway = b.Gateway
		case *discoveryv1.Resource_GatewayPart:
			parts[r.GetName()] = b.GatewayPart
		case *discoveryv1.Resource_Taps:
		default:
			err = fmt.Errorf("unknown kind %T; the control plane is newer than this proxy", b)
		}
		if err != nil {
			return nil, fmt.Errorf("resource %q: %w", r.GetName(), err)
		}
	}
	var err error
	if snap.Secrets, err = secretsFromWire(parts); err != nil {
		return nil, err
	}
	if gateway != nil {
		edge, err := edgeFromWire(gateway, parts)
		if err != nil {
			return nil, fmt.Errorf("resource %q: %w", nameGateway, err)
		}
		snap.Sockets, snap.ClientCertificate = edge.sockets, edge.client
	}
	slices.SortFunc(snap.Services, func(a, b model.Service) int {
		return cmp.Or(cmp.Compare(a.Name.Namespace, b.Name.Namespace), cmp.Compare(a.Name.Name, b.Name.Name))
	})
	for i := range snap.Services {
		snap.Services[i].Endpoints = endpoints[nameText(snap.Services[i].Name)]
	}
	return snap, nil
}
