package config

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/config/native"
	"github.com/weft-mesh/weft/internal/model"
)

// indexEgress finds which services leave the mesh by which gateway.
func (m *Mesh) indexEgress() {
	m.egress = map[model.ServiceName][]model.ServiceName{}
	add := func(n model.ServiceName, u *model.Upstream) {
		if g := u.EgressGateway(); !g.IsZero() && !slices.Contains(m.egress[g], n) {
			m.egress[g] = append(m.egress[g], n)
		}
	}
	for n, s := range m.Services {
		add(n, s.Upstream)
	}
	for key, view := range m.istio {
		add(key.service, view.upstream)
	}
	for _, names := range m.egress {
		slices.SortFunc(names, func(a, b model.ServiceName) int {
			return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
		})
	}
}

// Egress returns the services whose requests leave the mesh through the proxies of a gateway's service, sorted.
func (m *Mesh) Egress(gateway model.ServiceName) []model.ServiceName { return m.egress[gateway] }

// entryTargets returns the ServiceEntry of each service that one declares, as policies name it.
func entryTargets(resources []Resource) map[model.ServiceName]target {
	out := map[model.ServiceName]target{}
	for i := range resources {
		e, ok := resources[i].body.(*istio.ServiceEntry)
		if !ok {
			continue
		}
		for _, h := range e.Hosts {
			out[entryName(h.Name, e.Namespace)] = target{kind: native.KindServiceEntry, namespace: e.Namespace, name: resources[i].Key.Name}
		}
	}
	return out
}

// noEntry says that the ServiceEntry of a target is not there; nil if it is.
func (ps *policies) noEntry(t target) (*failure, string) {
	var names []string
	for _, e := range ps.entries {
		if e == t {
			return nil, ""
		}
		if e.namespace == t.namespace {
			names = append(names, e.name)
		}
	}
	return &failure{ReasonTargetNotFound, fmt.Sprintf("there is no ServiceEntry %s/%s", t.namespace, t.name)}, document.DidYouMean(t.name, bounded(names))
}

// missingEgress warns of policies whose gateway nobody has started yet.
func (c *compiler) missingEgress(resources []Resource) {
	eachEgress(resources, func(r *Resource, at gateway.Position, g model.ServiceName) {
		if c.resolve(g) == nil {
			c.warn(r, at, fmt.Sprintf("no gateway %s is in the mesh yet: requests are answered 503 until it is", g), "start weft gateway --egress --as "+g.String())
		}
	})
}

// refuseEgress reports policies that send requests through a gateway of a mesh.
func (c *standalone) refuseEgress(resources []Resource) {
	eachEgress(resources, func(r *Resource, at gateway.Position, _ model.ServiceName) {
		c.report(r, at, "requests leave a mesh by an egress gateway, and this gateway is in none", "remove it here; or give the policy to the control plane of a mesh (weft apply)", false)
	})
}

func eachEgress(resources []Resource, f func(r *Resource, at gateway.Position, g model.ServiceName)) {
	for i := range resources {
		if p, ok := resources[i].body.(*native.Policy); ok && p.Upstream != nil && p.Upstream.Egress != nil {
			f(&resources[i], p.EgressAt, p.Upstream.Egress.Gateway)
		}
	}
}
