package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// fillDefault gives a listener the rule for what no VirtualService takes (Istio, Server.defaultEndpoint): that of the
// first server that has an endpoint for it. Of each host for which there are rules it is the last, and those of all others.
func (e *istioEdge) fillDefault(ln *istioListener) {
	i := slices.IndexFunc(ln.servers, func(s istioServer) bool { return s.server.Default.IsValid() })
	if i < 0 {
		return
	}
	s := ln.servers[i]
	name := e.defaultService(ln, s)
	rule := model.Rule{
		Ref: model.RuleRef{
			Kind: "Gateway", Namespace: s.resource.Key.Namespace, Name: s.resource.Key.Name, File: s.resource.File, Line: s.server.At.Line,
		},
		Backends: []model.Backend{{Service: name, Port: s.server.Default.Port(), Weight: 1}},
	}
	var hosts []string
	for _, r := range ln.Rules {
		for _, h := range r.Hosts {
			if !slices.Contains(hosts, h) {
				hosts = append(hosts, h)
			}
		}
	}
	if len(hosts) > 0 {
		own := rule
		own.Hosts = hosts
		ln.Rules = append(ln.Rules, own)
	}
	ln.Rules = append(ln.Rules, rule)
	e.outside[name] = true
}

// defaultService is the service that an endpoint of the loopback is the only one of. No document can name it, for it has
// a colon.
func (e *istioEdge) defaultService(ln *istioListener, s istioServer) model.ServiceName {
	protocol := model.TCP
	switch {
	case ln.kind().HTTP() && s.server.HTTP2:
		protocol = model.HTTP2
	case ln.kind().HTTP():
		protocol = model.HTTP
	}
	at := s.server.Default
	name := model.ServiceName{Namespace: s.resource.Key.Namespace, Name: fmt.Sprintf("default-endpoint:%s:%s", at, protocol)}
	e.rules.mesh.Services[name] = &model.Service{
		Name: name, Ports: []model.Port{{Number: at.Port(), Protocol: protocol}},
		Endpoints: []model.Endpoint{{ID: name.String(), Address: at, Plain: true, Protocol: protocol, Ports: []uint16{at.Port()}}},
	}
	return name
}
