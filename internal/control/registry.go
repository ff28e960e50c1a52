package control

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"connectrpc.com/connect"
	"go.etcd.io/etcd/api/v3/v3rpc/rpctypes"
	clientv3 "go.etcd.io/etcd/client/v3"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/xds"
)

// vipPrefix is where virtual addresses are taken from: class E, which no network routes (docs/adr/0003).
var vipPrefix = netip.MustParsePrefix("240.240.0.0/16")

const (
	minTTL, maxTTL = 5, 3600 // seconds
	maxLabels      = 64
	maxPorts       = 64
	maxRetries     = 8 // of a transaction that others keep overtaking
)

// register puts an endpoint of the caller in, or keeps its lease alive. Who it is comes from its SVID.
func (s *Server) register(ctx context.Context, id model.Identity, req *discoveryv1.RegisterRequest) (int64, error) {
	rec, err := endpointOf(id, req)
	if err != nil {
		return 0, connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := s.ensureService(ctx, rec.Service, req.GetPorts(), rec.Endpoint.Labels[model.LabelVersion]); err != nil {
		return 0, err
	}
	value, err := encode(rec)
	if err != nil {
		return 0, err
	}
	client, key := s.store.Client(), s.store.Prefix()+dirEndpoints+rec.Endpoint.ID
	got, err := client.Get(ctx, key)
	if err != nil {
		return 0, unavailable(err)
	}
	if len(got.Kvs) > 0 {
		old, err := decode[endpointRecord](key, got.Kvs[0].Value)
		if err == nil && old.Endpoint.Identity != id {
			return 0, connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("workload ID %q belongs to %s", req.GetId(), old.Endpoint.Identity))
		}
		if lease := clientv3.LeaseID(got.Kvs[0].Lease); lease != 0 && string(got.Kvs[0].Value) == value {
			// Nothing new: the lease goes on, and no revision is made.
			if _, err := client.KeepAliveOnce(ctx, lease); err == nil {
				return got.Kvs[0].ModRevision, nil
			} else if !errors.Is(err, rpctypes.ErrLeaseNotFound) {
				return 0, unavailable(err)
			}
		}
	}
	lease, err := client.Grant(ctx, int64(req.GetTtlSeconds()))
	if err != nil {
		return 0, unavailable(err)
	}
	put, err := client.Put(ctx, key, value, clientv3.WithLease(lease.ID))
	if err != nil {
		return 0, unavailable(err)
	}
	return put.Header.Revision, nil
}

// endpointOf checks a registration.
func endpointOf(id model.Identity, req *discoveryv1.RegisterRequest) (endpointRecord, error) {
	var rec endpointRecord
	if why := document.CheckLabel(req.GetService()); why != "" {
		return rec, fmt.Errorf("service %q: %s", req.GetService(), why)
	}
	if why := document.CheckSubdomain(req.GetId()); why != "" {
		return rec, fmt.Errorf("id %q: %s", req.GetId(), why)
	}
	if req.GetTtlSeconds() < minTTL || req.GetTtlSeconds() > maxTTL {
		return rec, fmt.Errorf("ttl_seconds is %d; it must be %d to %d", req.GetTtlSeconds(), minTTL, maxTTL)
	}
	if len(req.GetLabels()) > maxLabels || len(req.GetPorts()) > maxPorts {
		return rec, fmt.Errorf("at most %d labels and %d ports", maxLabels, maxPorts)
	}
	at, err := netip.ParseAddrPort(req.GetAddress())
	if err != nil || !at.IsValid() || at.Port() == 0 || at.Addr().IsUnspecified() {
		return rec, fmt.Errorf("address %q is not IP:port that others can reach", req.GetAddress())
	}
	rec.Service = model.ServiceName{Namespace: id.Namespace, Name: req.GetService()}
	rec.Endpoint = model.Endpoint{
		ID: req.GetId(), Address: at, Identity: id, Labels: map[string]string{"app": req.GetService()}, Draining: req.GetDraining(),
	}
	for k, v := range req.GetLabels() {
		rec.Endpoint.Labels[k] = v
	}
	for _, p := range req.GetPorts() {
		port, err := xds.PortFromWire(p)
		if err != nil {
			return rec, err
		}
		rec.Endpoint.Ports = append(rec.Endpoint.Ports, port.Number)
	}
	return rec, nil
}

// maxVersions bounds the versions remembered of a service; the oldest go first.
const maxVersions = 64

// ensureService makes the service's record, with an address of its own that it keeps for ever, or adds to its
// ports and versions what is new.
func (s *Server) ensureService(ctx context.Context, name model.ServiceName, wire []*discoveryv1.Port, version string) error {
	var ports []model.Port
	for _, p := range wire {
		port, err := xds.PortFromWire(p)
		if err != nil {
			return connect.NewError(connect.CodeInvalidArgument, err)
		}
		ports = append(ports, port)
	}
	client, key := s.store.Client(), s.store.Prefix()+dirServices+name.String()
	for range maxRetries {
		got, err := client.Get(ctx, key)
		if err != nil {
			return unavailable(err)
		}
		var rec serviceRecord
		var seen int64
		if len(got.Kvs) > 0 {
			seen = got.Kvs[0].ModRevision
			if rec, err = decode[serviceRecord](key, got.Kvs[0].Value); err != nil {
				return connect.NewError(connect.CodeDataLoss, err)
			}
		}
		merged := mergePorts(rec.Ports, ports)
		if seen > 0 && slices.Equal(merged, rec.Ports) && (version == "" || slices.Contains(rec.Versions, version)) {
			return nil
		}
		rec.Ports = merged
		if version != "" && !slices.Contains(rec.Versions, version) {
			rec.Versions = append(rec.Versions, version)
			rec.Versions = rec.Versions[max(0, len(rec.Versions)-maxVersions):]
		}
		if done, err := s.putService(ctx, name, key, rec, seen); err != nil || done {
			return err
		}
	}
	return connect.NewError(connect.CodeAborted, fmt.Errorf("service %s is changed by too many at once; try again", name))
}

// putService writes a service's record if nobody else has meanwhile. A new one gets an address.
func (s *Server) putService(ctx context.Context, name model.ServiceName, key string, rec serviceRecord, seen int64) (bool, error) {
	txn := []clientv3.Cmp{clientv3.Compare(clientv3.ModRevision(key), "=", seen)}
	var then []clientv3.Op
	if !rec.VIP.IsValid() {
		vip, vipKey, err := s.freeVIP(ctx, name)
		if err != nil {
			return false, err
		}
		rec.VIP = vip
		txn = append(txn, clientv3.Compare(clientv3.CreateRevision(vipKey), "=", 0))
		then = append(then, clientv3.OpPut(vipKey, name.String()))
	}
	value, err := encode(rec)
	if err != nil {
		return false, err
	}
	resp, err := s.store.Client().Txn(ctx).If(txn...).Then(append(then, clientv3.OpPut(key, value))...).Commit()
	if err != nil {
		return false, unavailable(err)
	}
	return resp.Succeeded, nil
}

// mergePorts adds to the known ports those that are new; a declared protocol replaces an unknown one.
func mergePorts(known, more []model.Port) []model.Port {
	out := slices.Clone(known)
	for _, p := range more {
		i := slices.IndexFunc(out, func(q model.Port) bool { return q.Number == p.Number })
		switch {
		case i < 0:
			out = append(out, p)
		case p.Protocol != model.Auto:
			out[i].Protocol = p.Protocol
		}
	}
	slices.SortFunc(out, func(a, b model.Port) int { return int(a.Number) - int(b.Number) })
	return out
}

// freeVIP finds an address that nobody has. Which one is tried first depends on the name, so that a service
// lost with its store tends to come back with the same.
func (s *Server) freeVIP(ctx context.Context, name model.ServiceName) (netip.Addr, string, error) {
	base := vipPrefix.Addr().As4()
	const size = 1 << 16
	start := hashName(name)
	for i := range uint32(size) {
		n := (start + i) % size
		if n < 10 || n >= size-10 {
			continue // room for addresses with a meaning of their own
		}
		vip := netip.AddrFrom4([4]byte{base[0], base[1], byte(n >> 8), byte(n)})
		key := s.store.Prefix() + dirVIPs + vip.String()
		got, err := s.store.Client().Get(ctx, key, clientv3.WithKeysOnly())
		if err != nil {
			return netip.Addr{}, "", unavailable(err)
		}
		if len(got.Kvs) == 0 {
			return vip, key, nil
		}
	}
	return netip.Addr{}, "", connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("all addresses of %s are taken", vipPrefix))
}

// deregister takes the caller's endpoint out.
func (s *Server) deregister(ctx context.Context, id model.Identity, workload string) (int64, error) {
	client, key := s.store.Client(), s.store.Prefix()+dirEndpoints+workload
	got, err := client.Get(ctx, key)
	if err != nil {
		return 0, unavailable(err)
	}
	if len(got.Kvs) == 0 {
		return got.Header.Revision, nil
	}
	if old, err := decode[endpointRecord](key, got.Kvs[0].Value); err == nil && old.Endpoint.Identity != id {
		return 0, connect.NewError(connect.CodePermissionDenied, fmt.Errorf("workload ID %q belongs to %s", workload, old.Endpoint.Identity))
	}
	resp, err := client.Delete(ctx, key)
	if err != nil {
		return 0, unavailable(err)
	}
	return resp.Header.Revision, nil
}

// unavailable marks an error of the store as one that may pass.
func unavailable(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return connect.NewError(connect.CodeUnavailable, fmt.Errorf("store: %w", err))
}

// storeTimeout bounds one call to the store on behalf of a request.
const storeTimeout = 5 * time.Second
