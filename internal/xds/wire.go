package xds

import (
	"encoding/hex"
	"fmt"
	"net/netip"

	"github.com/cespare/xxhash/v2"
	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// seal names a resource and gives it its version, a hash of its deterministic encoding: two resources of
// equal content have equal versions on whichever control plane they were made.
func seal(name string, r *discoveryv1.Resource) *discoveryv1.Resource {
	r.Name, r.Version = "", ""
	b, err := proto.MarshalOptions{Deterministic: true}.Marshal(r)
	if err != nil {
		// Only invalid UTF-8 can fail here; the version then still tells this content from others.
		b = fmt.Append(nil, r.String())
	}
	var sum [8]byte
	h := xxhash.Sum64(b)
	for i := range sum {
		sum[i] = byte(h >> (56 - 8*i))
	}
	r.Name, r.Version = name, hex.EncodeToString(sum[:])
	return r
}

// ServiceToWire converts a service without its endpoints, which are a resource of their own.
func ServiceToWire(s *model.Service) *discoveryv1.Service {
	w := &discoveryv1.Service{
		Name: nameText(s.Name), Policy: jsonToWire(s.Policy, s.Policy == nil), Upstream: jsonToWire(s.Upstream, s.Upstream == nil),
		Ordered: s.Ordered,
	}
	if s.VIP.IsValid() {
		w.Vip = s.VIP.AsSlice()
	}
	for _, p := range s.Ports {
		w.Ports = append(w.Ports, &discoveryv1.Port{Number: uint32(p.Number), Protocol: string(p.Protocol)})
	}
	for i := range s.Rules {
		w.Rules = append(w.Rules, ruleToWire(&s.Rules[i]))
	}
	return w
}

// ServiceFromWire is the inverse of ServiceToWire. Its errors name the field that is bad.
func ServiceFromWire(w *discoveryv1.Service) (model.Service, error) {
	s := model.Service{Ordered: w.GetOrdered()}
	if err := s.Name.UnmarshalText([]byte(w.GetName())); err != nil {
		return s, err
	}
	if len(w.GetVip()) > 0 {
		vip, ok := netip.AddrFromSlice(w.GetVip())
		if !ok {
			return s, fmt.Errorf("service %s: vip has %d bytes; 4 or 16 are expected", s.Name, len(w.GetVip()))
		}
		s.VIP = vip
	}
	for _, p := range w.GetPorts() {
		port, err := PortFromWire(p)
		if err != nil {
			return s, fmt.Errorf("service %s: %w", s.Name, err)
		}
		s.Ports = append(s.Ports, port)
	}
	for i, r := range w.GetRules() {
		rule, err := ruleFromWire(r)
		if err != nil {
			return s, fmt.Errorf("service %s: rule %d: %w", s.Name, i, err)
		}
		s.Rules = append(s.Rules, rule)
	}
	var err error
	if s.Policy, err = optionalFromWire[model.Policy](w.GetPolicy(), "policy"); err != nil {
		return s, fmt.Errorf("service %s: %w", s.Name, err)
	}
	if s.Upstream, err = optionalFromWire[model.Upstream](w.GetUpstream(), "upstream"); err != nil {
		return s, fmt.Errorf("service %s: %w", s.Name, err)
	}
	return s, nil
}

// PortFromWire converts a service port; its number must be 1 to 65535 and its protocol a known one.
func PortFromWire(p *discoveryv1.Port) (model.Port, error) {
	n, err := port16(p.GetNumber())
	if err != nil {
		return model.Port{}, err
	}
	proto, err := protocolFromWire(p.GetProtocol())
	if err != nil {
		return model.Port{}, fmt.Errorf("port %d: %w", n, err)
	}
	return model.Port{Number: n, Protocol: proto}, nil
}

// protocolFromWire reads a protocol: those that users write for connections, and UDP.
func protocolFromWire(s string) (model.Protocol, error) {
	if s == string(model.UDP) {
		return model.UDP, nil
	}
	return model.ParseProtocol(s)
}

// EndpointsToWire converts the endpoints of a service.
func EndpointsToWire(s *model.Service) *discoveryv1.Endpoints {
	w := &discoveryv1.Endpoints{Service: nameText(s.Name)}
	for i := range s.Endpoints {
		e := &s.Endpoints[i]
		we := &discoveryv1.Endpoint{
			Id: e.ID, Identity: e.Identity.String(), Plain: e.Plain, Labels: e.Labels, Draining: e.Draining,
			Protocol: string(e.Protocol), Locality: e.Locality, Weight: e.Weight, Host: e.Host, OneHost: e.OneHost,
		}
		if e.Address.IsValid() {
			we.Address = e.Address.String()
		}
		for _, p := range e.Ports {
			we.Ports = append(we.Ports, uint32(p))
		}
		w.Endpoints = append(w.Endpoints, we)
	}
	return w
}

// EndpointsFromWire is the inverse of EndpointsToWire.
func EndpointsFromWire(w *discoveryv1.Endpoints) ([]model.Endpoint, error) {
	var out []model.Endpoint
	for _, we := range w.GetEndpoints() {
		e, err := endpointFromWire(we)
		if err != nil {
			return nil, fmt.Errorf("service %s: endpoint %q: %w", w.GetService(), we.GetId(), err)
		}
		out = append(out, e)
	}
	return out, nil
}

func endpointFromWire(w *discoveryv1.Endpoint) (model.Endpoint, error) {
	e := model.Endpoint{
		ID: w.GetId(), Plain: w.GetPlain(), Draining: w.GetDraining(), Labels: labels(w.GetLabels()),
		Locality: w.GetLocality(), Weight: w.GetWeight(), Host: w.GetHost(), OneHost: w.GetOneHost(),
	}
	var err error
	if e.Protocol, err = protocolFromWire(w.GetProtocol()); err != nil {
		return e, err
	}
	if w.GetAddress() != "" {
		if e.Address, err = netip.ParseAddrPort(w.GetAddress()); err != nil {
			return e, fmt.Errorf("address: %w", err)
		}
	}
	if e.Identity, err = identityFromWire(w.GetIdentity()); err != nil {
		return e, err
	}
	for _, p := range w.GetPorts() {
		n, err := port16(p)
		if err != nil {
			return e, err
		}
		e.Ports = append(e.Ports, n)
	}
	return e, nil
}

func nameText(n model.ServiceName) string {
	if n.IsZero() {
		return ""
	}
	return n.String()
}

func identityFromWire(s string) (model.Identity, error) {
	if s == "" {
		return model.Identity{}, nil
	}
	return model.ParseIdentity(s)
}

// labels makes no labels nil, so that equal values compare equal after a round trip.
func labels(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func port16(n uint32) (uint16, error) {
	if n > 65535 {
		return 0, fmt.Errorf("port %d is not 0 to 65535", n)
	}
	return uint16(n), nil
}
