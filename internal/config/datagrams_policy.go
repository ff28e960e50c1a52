package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/native"
	"github.com/weft-mesh/weft/internal/model"
)

// holdsForDatagrams are the sections of a TrafficPolicy that mean something for sessions of datagrams.
func holdsForDatagrams() []string {
	return []string{"timeouts.idle", "limits.connections", "ejection", "healthCheck", "loadBalancing"}
}

// warnDatagrams tells of what TrafficPolicies say in vain, because their Services take datagrams alone or none at all.
// ports returns those of a service; none when they are not known.
func warnDatagrams(resources []Resource, ports func(model.ServiceName) []model.Port, warn func(r *Resource, at gateway.Position, message, remedy string)) {
	entries := entryTargets(resources)
	for i := range resources {
		r := &resources[i]
		p, ok := r.body.(*native.Policy)
		if !ok {
			continue
		}
		for _, t := range p.Targets {
			for _, n := range servicesOf(p.Namespace, t, entries) {
				if message, remedy := inVain(p, n, ports(n)); message != "" {
					warn(r, t.At, message, remedy)
				}
			}
		}
	}
}

// servicesOf returns the services that a policy's target stands for, in the order of their names.
func servicesOf(namespace string, t native.Target, entries map[model.ServiceName]target) (out []model.ServiceName) {
	switch t.Kind {
	case native.KindService:
		return []model.ServiceName{{Namespace: namespace, Name: t.Name}}
	case native.KindServiceEntry:
		for n, entry := range entries {
			if entry.namespace == namespace && entry.name == t.Name {
				out = append(out, n)
			}
		}
		slices.SortFunc(out, func(a, b model.ServiceName) int { return strings.Compare(a.String(), b.String()) })
	}
	return out
}

// inVain says what of a policy has no effect on a service with these ports, "" when all may have.
func inVain(p *native.Policy, n model.ServiceName, ports []model.Port) (message, remedy string) {
	if len(ports) == 0 {
		return "", ""
	}
	datagrams := func(p model.Port) bool { return p.Protocol == model.UDP }
	up := p.Upstream
	if !slices.ContainsFunc(ports, datagrams) {
		if up != nil && up.Health != nil && up.Health.Type == model.HealthUDP {
			return fmt.Sprintf("healthCheck.udp has no effect on service %s, no port of which takes datagrams", n), "write http, grpc or tcp"
		}
		return "", ""
	}
	if slices.ContainsFunc(ports, func(p model.Port) bool { return !datagrams(p) }) {
		return "", ""
	}
	fields := slices.DeleteFunc(p.Fields(), func(f string) bool { return slices.Contains(holdsForDatagrams(), f) })
	if up != nil && len(up.Balance.Hash) > 0 && !slices.ContainsFunc(up.Balance.Hash, func(k model.HashKey) bool { return k.Source }) {
		fields = append(fields, "loadBalancing.hash other than source")
	}
	if len(fields) == 0 {
		return "", ""
	}
	verb := "has"
	if len(fields) > 1 {
		verb = "have"
	}
	return fmt.Sprintf("%s %s no effect on service %s, which takes datagrams alone", strings.Join(fields, ", "), verb, n), "of datagrams are " + strings.Join(holdsForDatagrams(), ", ")
}
