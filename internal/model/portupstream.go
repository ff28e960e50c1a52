package model

import (
	"cmp"
	"slices"
)

// PortUpstream is what holds for one port of a service, in place of what its Upstream says of all of them. What it
// leaves out is as for all ports; with Only it has its default (Istio, PortTrafficPolicy).
type PortUpstream struct {
	Port        uint16      `json:"port"`
	Only        bool        `json:"only,omitempty"`
	Balance     Balance     `json:"balance,omitzero"`
	Ejection    *Ejection   `json:"ejection,omitempty"`
	Connections Connections `json:"connections,omitzero"`
}

// OfPort returns what holds for a port: u itself where nothing is said of the port alone. u may be nil.
func (u *Upstream) OfPort(port uint16) *Upstream {
	p := u.port(port)
	if p == nil {
		return u
	}
	out := *u
	out.Ports = nil
	if p.Only {
		out.Balance, out.Ejection, out.Connections = p.Balance, p.Ejection, p.Connections
		return &out
	}
	return MergeUpstream(&Upstream{Ref: u.Ref, Balance: p.Balance, Ejection: p.Ejection, Connections: p.Connections}, &out)
}

// port returns what is said of a port alone; nil if nothing.
func (u *Upstream) port(port uint16) *PortUpstream {
	if u == nil {
		return nil
	}
	for i := range u.Ports {
		if u.Ports[i].Port == port {
			return &u.Ports[i]
		}
	}
	return nil
}

// mergePorts returns what two upstreams come to for single ports. Whatever the more specific one says, of a port or of
// all of them, stands before what the more general one says of a port.
func mergePorts(specific, general *Upstream) []PortUpstream {
	if len(general.Ports) == 0 {
		return specific.Ports
	}
	out := slices.Clone(specific.Ports)
	for i := range out {
		if p := general.port(out[i].Port); p != nil && !out[i].Only {
			out[i] = mergedPort(specific, general, p)
		}
	}
	for i := range general.Ports {
		if p := &general.Ports[i]; specific.port(p.Port) == nil {
			out = append(out, mergedPort(specific, general, p))
		}
	}
	slices.SortFunc(out, func(a, b PortUpstream) int { return cmp.Compare(a.Port, b.Port) })
	return out
}

func mergedPort(specific, general *Upstream, p *PortUpstream) PortUpstream {
	of := func(u *Upstream) *Upstream {
		one := *u.OfPort(p.Port)
		one.Ports = nil
		return &one
	}
	both := MergeUpstream(of(specific), of(general))
	return PortUpstream{Port: p.Port, Only: p.Only, Balance: both.Balance, Ejection: both.Ejection, Connections: both.Connections}
}
