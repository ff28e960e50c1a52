package demo

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// state is what a control plane must still know after a restart, as sorted lines per kind.
type state struct {
	resources, services, endpoints, proxies []string
}

// state asks the control plane for everything it knows of the demo.
func (l *lab) state(ctx context.Context) (state, error) {
	var s state
	resources, err := l.resources(ctx)
	if err != nil {
		return s, err
	}
	for _, r := range resources {
		ref := r.GetRef()
		spec, _, _ := strings.Cut(r.GetYaml(), "\nstatus:") // is found anew
		s.resources = append(s.resources, fmt.Sprintf("%s %s/%s: %s", ref.GetKind(), ref.GetNamespace(), ref.GetName(), clip(spec, 4096)))
	}
	services, err := l.services(ctx)
	if err != nil {
		return s, err
	}
	for _, info := range services {
		name := info.GetService().GetName()
		vip, _ := netip.AddrFromSlice(info.GetService().GetVip()) // the invalid address is a line of its own
		s.services = append(s.services, fmt.Sprintf("service %s at %s", name, vip))
		for _, e := range info.GetEndpoints().GetEndpoints() {
			s.endpoints = append(s.endpoints, fmt.Sprintf("endpoint %s %s at %s as %s", name, e.GetId(), e.GetAddress(), e.GetIdentity()))
		}
	}
	proxies, err := l.proxies(ctx)
	if err != nil {
		return s, err
	}
	for _, p := range proxies {
		s.proxies = append(s.proxies, fmt.Sprintf("proxy %s as %s", p.GetNode().GetId(), p.GetIdentity()))
	}
	for _, lines := range [][]string{s.resources, s.services, s.endpoints, s.proxies} {
		slices.Sort(lines)
	}
	return s, nil
}

// String counts what there is.
func (s state) String() string {
	return fmt.Sprintf("%d resources, %d services, %d endpoints, %d proxies and their identities",
		len(s.resources), len(s.services), len(s.endpoints), len(s.proxies))
}

// differs returns the first difference, or "".
func (s state) differs(now state) string {
	for _, pair := range [][2][]string{
		{s.resources, now.resources}, {s.services, now.services}, {s.endpoints, now.endpoints}, {s.proxies, now.proxies},
	} {
		for _, line := range pair[0] {
			if !slices.Contains(pair[1], line) {
				return "missing: " + clip(line, 300)
			}
		}
		for _, line := range pair[1] {
			if !slices.Contains(pair[0], line) {
				return "new: " + clip(line, 300)
			}
		}
	}
	return ""
}
