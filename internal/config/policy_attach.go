package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/native"
	"github.com/weft-mesh/weft/internal/model"
)

// attachPolicies gives services and rules what the TrafficPolicies say of them, when all rules are in their places.
// What is said in Weft's own dialect stands before what Istio's says of the same.
func (c *compiler) attachPolicies(resources []Resource) {
	place := &policyPlace{other: c.findTarget, warn: c.warn, status: c.mesh.Status, asked: c.asked}
	ps := collectPolicies(resources, place)
	if ps == nil {
		return
	}
	c.missingEgress(resources)
	warnDatagrams(resources, func(n model.ServiceName) []model.Port {
		if s := c.mesh.Services[n]; s != nil {
			return s.Ports
		}
		return nil
	}, c.warn)
	declared := map[model.ServiceName]bool{}
	for i := range resources {
		if _, ok := resources[i].Service(); ok {
			declared[model.ServiceName{Namespace: resources[i].Key.Namespace, Name: resources[i].Key.Name}] = true
		}
	}
	for n, s := range c.mesh.Services {
		policy, upstream := ps.ofService(n)
		if sub, ok := c.versions[n]; ok && !declared[n] && c.registered[n] == nil {
			// The endpoints of reviews-v2 are endpoints of reviews.
			p, u := ps.ofService(sub.base)
			policy, upstream = model.MergePolicy(policy, p), model.MergeUpstream(upstream, u)
		}
		s.Policy, s.Upstream = model.MergePolicy(policy, s.Policy), model.MergeUpstream(upstream, s.Upstream)
		ps.rulesOf(s.Rules, nil)
	}
	for _, rules := range c.mesh.consumer {
		ps.rulesOf(rules, nil)
	}
	for key, view := range c.mesh.istio {
		policy, upstream := ps.ofService(key.service)
		view.policy, view.upstream = model.MergePolicy(policy, view.policy), model.MergeUpstream(upstream, view.upstream)
		c.mesh.istio[key] = view
	}
	if c.edge != nil {
		c.edge.attachListenerPolicies(ps)
	}
}

// findTarget reports why a Service or Gateway is not there.
func (c *compiler) findTarget(t target) (f *failure, remedy string) {
	if t.kind == native.KindGateway {
		if c.edge != nil {
			return c.edge.findTarget(t)
		}
		return &failure{ReasonTargetNotFound, fmt.Sprintf("there is no Gateway %s/%s", t.namespace, t.name)}, ""
	}
	if t.kind == native.KindServiceEntry {
		return nil, "" // looked for among the resources
	}
	n := model.ServiceName{Namespace: t.namespace, Name: t.name}
	if c.resolve(n) == nil {
		return &failure{ReasonTargetNotFound, "no service " + n.String() + " is registered or declared"}, c.nearest(n)
	}
	return nil, ""
}

// InboundPolicy is what of a service's policy the proxies of its own workloads see to: rate limits, because they see
// the requests of all clients. It is nil when that is nothing.
func (m *Mesh) InboundPolicy(n model.ServiceName) *model.Policy {
	s := m.Services[n]
	if s == nil || s.Policy == nil || len(s.Policy.Limits) == 0 {
		return nil
	}
	return &model.Policy{Ref: s.Policy.Ref, Limits: s.Policy.Limits}
}

// attachPolicies gives services and rules what the TrafficPolicies say of them, between compiling services and
// opening sockets.
func (c *standalone) attachPolicies(resources []Resource) {
	place := &policyPlace{other: c.findTarget, warn: c.warn, status: c.out.Status, asked: c.asked}
	ps := collectPolicies(resources, place)
	if ps == nil {
		return
	}
	c.refuseGlobalLimits(resources)
	warnDatagrams(resources, c.modelPorts, c.warn)
	c.refuseEgress(resources)
	for i := range c.out.Snapshot.Services {
		s := &c.out.Snapshot.Services[i]
		policy, upstream := ps.ofService(s.Name)
		s.Policy, s.Upstream = model.MergePolicy(policy, s.Policy), model.MergeUpstream(upstream, s.Upstream)
	}
	c.attachListenerPolicies(ps)
}

// modelPorts returns the ports of a service, none when there is no such service.
func (c *standalone) modelPorts(n model.ServiceName) (out []model.Port) {
	if r := c.services[n]; r != nil {
		for _, p := range r.body.(*gateway.Service).Ports {
			out = append(out, p.Port)
		}
	}
	return out
}

// refuseGlobalLimits reports rate limits that would need somebody to count for all proxies.
func (c *standalone) refuseGlobalLimits(resources []Resource) {
	for i := range resources {
		p, ok := resources[i].body.(*native.Policy)
		if !ok {
			continue
		}
		for _, at := range p.Global {
			c.report(&resources[i], at, "global needs a control plane, which counts for all proxies; this gateway runs without one",
				"write local: this gateway counts for itself; or give the policy to the control plane of a mesh (weft apply)", false)
		}
	}
}

// findTarget reports why a Service or Gateway is not there.
func (c *standalone) findTarget(t target) (f *failure, remedy string) {
	if t.kind == native.KindServiceEntry {
		return &failure{ReasonTargetNotFound, "policies of a ServiceEntry are for a mesh, and this gateway is in none"}, "give the policy to the control plane of a mesh (weft apply)"
	}
	if t.kind == native.KindService {
		n := model.ServiceName{Namespace: t.namespace, Name: t.name}
		if c.services[n] == nil {
			return &failure{ReasonTargetNotFound, "there is no Service " + n.String()}, c.nearest(n)
		}
		return nil, ""
	}
	n := gateway.ObjectName{Namespace: t.namespace, Name: t.name}
	e := c.gateways[n]
	switch {
	case e == nil:
		return &failure{ReasonTargetNotFound, "there is no Gateway " + n.String()}, c.nearestGateway(n)
	case !e.ours:
		return &failure{ReasonTargetNotFound, fmt.Sprintf("the Gateway %s is of class %q, which is not served", n, clip(e.spec.Class))},
			"write gatewayClassName: " + classWeft
	case t.section != "" && !slices.ContainsFunc(e.gates, func(g *gate) bool { return g.spec.Name == t.section }):
		return &failure{ReasonTargetNotFound, fmt.Sprintf("the Gateway %s has no listener %q", n, clip(t.section))}, "it has " + listenerNames(e)
	}
	return nil, ""
}

// policyKind is the kind of TrafficPolicies, in the mesh and at a standalone gateway.
func policyKind() Kind {
	return Kind{
		Name: "TrafficPolicy", Group: native.Group, Versions: []string{"v1alpha1"}, Plural: "trafficpolicies", Short: []string{"tp"},
		parse: func(d *document.Document) (any, document.Problems) { return native.Parse(d) },
	}
}
