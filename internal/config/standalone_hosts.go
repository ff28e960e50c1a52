package config

import (
	"slices"
	"strings"
)

// holders are the host names of an HTTP listener that routes of a kind have taken. HTTPRoutes and GRPCRoutes share
// none: of two that would, the one of higher precedence is accepted (Gateway API, GRPCRouteSpec.hostnames).
type holders struct {
	byHost map[string]map[string]ResourceKey // kind -> host ("" is every one) -> the first that took it
	wild   map[string][]string               // kind -> hosts with a wildcard
}

// hold notes the hosts that a route has taken.
func (c *standalone) hold(g *gate, key ResourceKey, hosts []string) {
	if !g.spec.Kind.HTTP() {
		return
	}
	h := c.held[g]
	if h == nil {
		h = &holders{byHost: map[string]map[string]ResourceKey{}, wild: map[string][]string{}}
		c.held[g] = h
	}
	taken := h.byHost[key.Kind]
	if taken == nil {
		taken = map[string]ResourceKey{}
		h.byHost[key.Kind] = taken
	}
	for _, host := range orEvery(hosts) {
		if _, ok := taken[host]; ok {
			continue
		}
		taken[host] = key
		if strings.HasPrefix(host, "*") {
			h.wild[key.Kind] = append(h.wild[key.Kind], host)
		}
	}
}

// holder returns the route of another kind that has taken one of the hosts already, and the host.
func (c *standalone) holder(g *gate, key ResourceKey, hosts []string) (*ResourceKey, string) {
	h := c.held[g]
	if h == nil || !g.spec.Kind.HTTP() {
		return nil, ""
	}
	other := "GRPCRoute"
	if key.Kind == other {
		other = "HTTPRoute"
	}
	taken := h.byHost[other]
	if len(taken) == 0 {
		return nil, ""
	}
	for _, host := range orEvery(hosts) {
		if by, ok := taken[host]; ok {
			return &by, host
		}
		if by, ok := taken[""]; ok {
			return &by, host
		}
		for _, w := range h.wild[other] {
			if covers(w, host) {
				by := taken[w]
				return &by, host
			}
		}
		if by, ok := heldBelow(taken, host); ok {
			return &by, host
		}
	}
	return nil, ""
}

// heldBelow looks for a host that a wildcard, or "", covers. The first by name is returned.
func heldBelow(taken map[string]ResourceKey, host string) (ResourceKey, bool) {
	if host != "" && !strings.HasPrefix(host, "*") {
		return ResourceKey{}, false
	}
	var found []string
	for t := range taken {
		if host == "" || covers(host, t) {
			found = append(found, t)
		}
	}
	if len(found) == 0 {
		return ResourceKey{}, false
	}
	return taken[slices.Min(found)], true
}

// orEvery writes out that no host means every one.
func orEvery(hosts []string) []string {
	if len(hosts) == 0 {
		return []string{""}
	}
	return hosts
}

func hostText(host string) string {
	if host == "" {
		return "every host"
	}
	return host
}
