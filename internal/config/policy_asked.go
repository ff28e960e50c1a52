package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/native"
	"github.com/weft-mesh/weft/internal/model"
)

// resolveAsked returns the policy with its references to rate-limit services resolved, and why some are not: those say so
// themselves, and the proxies take them for services that do not answer. It appends a condition to the policy's status.
func (place *policyPlace) resolveAsked(r *Resource, p *native.Policy) (*native.Policy, []Condition) {
	if len(p.Asked) == 0 {
		return p, nil
	}
	out, policy := *p, *p.Policy
	policy.Limits = slices.Clone(policy.Limits)
	out.Policy = &policy
	var bad []failure
	for _, a := range p.Asked {
		s := *policy.Limits[a.Limit].Service
		policy.Limits[a.Limit].Service = &s
		f, remedy := asksItself(p, s.Service)
		if f == nil {
			f, remedy = place.asked(r.Key, s.Service, s.Port, true)
		}
		if f != nil {
			s.Invalid = f.reason + ": " + f.message
			bad = append(bad, *f)
			place.warn(r, a.At, f.message, remedy)
		}
	}
	return &out, []Condition{newCondition(ConditionResolvedRefs, ReasonResolvedRefs, bad)}
}

// asksItself refuses a policy of the service that it has asked: each question would lead to another.
func asksItself(p *native.Policy, asked model.ServiceName) (*failure, string) {
	if slices.ContainsFunc(p.Targets, func(t native.Target) bool {
		return t.Kind == native.KindService && asked == (model.ServiceName{Namespace: p.Namespace, Name: t.Name})
	}) {
		return &failure{reasonUnsupported, fmt.Sprintf("service %s would be asked about the requests by which it is asked", asked)},
			"leave the service that is asked out of the targets"
	}
	return nil, ""
}

// reasonUnsupported is the reason of a reference that leads to something, but to nothing that can be used.
const reasonUnsupported = "UnsupportedValue"

// speaks reports why a port cannot be asked, by gRPC or HTTP.
func speaks(name model.ServiceName, port uint16, p model.Protocol, grpc bool) (*failure, string) {
	if p == model.TCP || p == model.HTTP && grpc {
		want := map[bool]string{true: "grpc", false: "http"}[grpc]
		return &failure{"UnsupportedProtocol", fmt.Sprintf("port %d of service %s carries %s, and it is to be asked by %s", port, name, p, want)},
			"write appProtocol: " + want + " at the port of the Service"
	}
	return nil, ""
}

// resolveAuth returns the filter with its reference resolved; tell notes why it is not, and words it. nil stays nil.
func resolveAuth(
	a *model.ExternalAuth, from ResourceKey, asked func(ResourceKey, model.ServiceName, uint16, bool) (*failure, string), tell func(*failure, string) string,
) *model.ExternalAuth {
	if a == nil {
		return nil
	}
	out := *a
	if f, remedy := asked(from, a.Service, a.Port, a.GRPC); f != nil {
		out.Invalid = tell(f, remedy)
	}
	return &out
}

// asked reports why the mesh's proxies cannot ask a service.
func (c *compiler) asked(from ResourceKey, name model.ServiceName, port uint16, grpc bool) (*failure, string) {
	if f, remedy := c.backend(from, name, port); f != nil {
		return f, remedy
	}
	p, _ := c.resolve(name).Port(port)
	if f, remedy := speaks(name, port, p.Protocol, grpc); f != nil {
		return f, remedy
	}
	return c.tls.askedTLS(name, port)
}

// asked reports why the gateway cannot ask a service.
func (c *standalone) asked(from ResourceKey, name model.ServiceName, port uint16, grpc bool) (*failure, string) {
	if f, remedy := c.backend(from, name, port); f != nil {
		return f, remedy
	}
	for _, p := range c.services[name].body.(*gateway.Service).Ports {
		if p.Number == port {
			if f, remedy := speaks(name, port, c.portProtocol(name, p), grpc); f != nil {
				return f, remedy
			}
		}
	}
	return c.askedTLS(name, port)
}

// askedTLS reports why a service cannot be asked over the TLS that policies want. c may be nil.
func (c *standalone) askedTLS(name model.ServiceName, port uint16) (*failure, string) {
	if why := c.withoutTLS(name, port); why != "" {
		return &failure{reasonUnsupported, why}, ""
	}
	return nil, ""
}

// useAsked has the services compiled that policies ask, by gRPC.
func (c *standalone) useAsked(resources []Resource) {
	for i := range resources {
		p, ok := resources[i].body.(*native.Policy)
		if !ok {
			continue
		}
		for _, a := range p.Asked {
			s := p.Policy.Limits[a.Limit].Service
			if f, _ := c.asked(resources[i].Key, s.Service, s.Port, true); f == nil {
				c.useService("GRPCRoute", s.Service, s.Port)
			}
		}
	}
}

// referrer is how messages call what refers to a service, and the group of its kind.
func referrer(key ResourceKey) (what, group string) {
	if key.Kind == "TrafficPolicy" {
		return "policy", native.Group
	}
	return "route", gateway.Group
}
