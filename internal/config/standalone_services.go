package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// compileServices makes the services that rules name, with the endpoints of their slices.
func (c *standalone) compileServices() {
	byName := func(a, b model.ServiceName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	}
	for _, name := range slices.SortedFunc(maps.Keys(c.slices), byName) {
		if c.services[name] != nil {
			continue
		}
		for _, r := range c.slices[name] {
			c.warn(r, r.body.(*gateway.EndpointSlice).ServiceAt, "there is no Service "+name.String(), c.nearest(name))
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(c.used), byName) {
		c.out.Snapshot.Services = append(c.out.Snapshot.Services, c.service(name))
	}
}

// service makes one service.
func (c *standalone) service(name model.ServiceName) model.Service {
	r := c.services[name]
	decl := r.body.(*gateway.Service)
	out := model.Service{Name: name, Upstream: c.serviceUpstream(name)}
	found, places := endpoints{}, c.localities(name)
	for _, p := range decl.Ports {
		p.Protocol = c.portProtocol(name, p)
		out.Ports = append(out.Ports, p.Port)
		c.portEndpoints(name, p, found)
	}
	c.warnUnused(name, decl)
	for i, key := range slices.SortedFunc(maps.Keys(found), compareEndpoints) {
		id := key.at.String()
		if key.tls != "" {
			id += "/" + key.tls
		}
		if key.protocol == model.UDP || i > 0 && out.Endpoints[i-1].Address == key.at {
			id += "/" + string(key.protocol) // one address that speaks several
		}
		out.Endpoints = append(out.Endpoints, model.Endpoint{ID: id, Address: key.at, Plain: true, Protocol: key.protocol, Ports: found[key], Locality: places[key.at.Addr()]})
	}
	if len(out.Endpoints) == 0 {
		message, remedy := fmt.Sprintf("service %s has no endpoint that is ready; its requests are answered 503", name), ""
		if len(c.slices[name]) == 0 {
			remedy = "write an EndpointSlice with the label kubernetes.io/service-name: " + name.Name
		}
		at := gateway.Position{Line: r.Line}
		c.warn(r, at, message, remedy)
	}
	return out
}

// localities are where the addresses of a service are, as far as its slices say so: "region/zone". An address that is meant
// for the clients of other zones counts as theirs. The region, which slices do not tell, is taken to be the gateway's.
func (c *standalone) localities(name model.ServiceName) map[netip.Addr]string {
	out := map[netip.Addr]string{}
	region, own := c.in.Labels["topology.kubernetes.io/region"], c.in.Labels["topology.kubernetes.io/zone"]
	for _, r := range c.slices[name] {
		for _, e := range r.body.(*gateway.EndpointSlice).Endpoints {
			zone := e.Zone
			if len(e.Hints) > 0 {
				if zone = e.Hints[0]; slices.Contains(e.Hints, own) {
					zone = own
				}
			}
			if zone != "" && out[e.Address] == "" {
				out[e.Address] = region + "/" + zone
			}
		}
	}
	return out
}

// portProtocol returns what a port speaks: as the Service declares, else as its slices do, else gRPC where a
// GRPCRoute leads to it.
func (c *standalone) portProtocol(name model.ServiceName, p gateway.ServicePort) model.Protocol {
	if p.Protocol != model.Auto {
		return p.Protocol
	}
	for _, r := range c.slices[name] {
		for _, sp := range r.body.(*gateway.EndpointSlice).Ports {
			if sp.Name == p.Name && sp.Protocol != model.Auto {
				return sp.Protocol
			}
		}
	}
	if c.grpc[servicePort{name, p.Number}] {
		return model.GRPC
	}
	return model.Auto
}

// endpoints are the service ports that each endpoint serves.
type endpoints map[endpointKey][]uint16

// endpointKey tells endpoints apart: service ports with the same target share one, unless a port has TLS of its own.
type endpointKey struct {
	at       netip.AddrPort
	protocol model.Protocol
	tls      string // the port
}

func compareEndpoints(a, b endpointKey) int {
	return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.protocol, b.protocol), cmp.Compare(a.tls, b.tls))
}

// portEndpoints adds the endpoints of a port: the ready ones; if there is none, those that still serve though
// they terminate (KEP-1669).
func (c *standalone) portEndpoints(name model.ServiceName, p gateway.ServicePort, into endpoints) {
	var ready, leaving []netip.AddrPort
	for _, r := range c.slices[name] {
		slice := r.body.(*gateway.EndpointSlice)
		for _, sp := range slice.Ports {
			if sp.Name != p.Name {
				continue
			}
			for _, e := range slice.Endpoints {
				at := netip.AddrPortFrom(e.Address, sp.Port)
				switch {
				case e.Ready:
					ready = append(ready, at)
				case e.Leaving:
					leaving = append(leaving, at)
				}
			}
		}
	}
	if len(ready) == 0 {
		ready = leaving
	}
	own := ""
	if p.Name != "" && p.Protocol != model.UDP && c.tls[tlsPort{name, p.Name}] != nil {
		own = p.Name
	}
	for _, at := range ready {
		key := endpointKey{at, p.Protocol, own}
		if !slices.Contains(into[key], p.Number) {
			into[key] = append(into[key], p.Number)
		}
	}
}

// warnUnused tells of ports of slices that no port of the Service has the name of: nothing leads there.
func (c *standalone) warnUnused(name model.ServiceName, decl *gateway.Service) {
	var names []string
	for _, p := range decl.Ports {
		names = append(names, fmt.Sprintf("%q", p.Name))
	}
	for _, r := range c.slices[name] {
		for _, sp := range r.body.(*gateway.EndpointSlice).Ports {
			if !slices.Contains(names, fmt.Sprintf("%q", sp.Name)) {
				c.warn(r, sp.At, fmt.Sprintf("service %s has no port named %q", name, clip(sp.Name)), "its ports are named "+some(names))
			}
		}
	}
}
