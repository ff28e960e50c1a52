package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// labelApp is the label that selects a service's workloads: every endpoint has it, with the name of the
// service it registered with.
const labelApp = "app"

// subset is the endpoints of a service that carry a version.
type subset struct {
	base    model.ServiceName
	version string
}

// register takes the services as registered, in an order that does not depend on the input's.
func (c *compiler) register(services []model.Service) {
	c.registered = make(map[model.ServiceName]*model.Service, len(services))
	c.names = map[string][]string{}
	for _, s := range services {
		s.Rules = nil
		s.Ports = slices.SortedFunc(slices.Values(s.Ports), func(a, b model.Port) int {
			return cmp.Or(cmp.Compare(a.Number, b.Number), cmp.Compare(a.Protocol, b.Protocol))
		})
		s.Endpoints = slices.SortedFunc(slices.Values(s.Endpoints), func(a, b model.Endpoint) int {
			return cmp.Or(cmp.Compare(a.ID, b.ID), a.Address.Compare(b.Address))
		})
		own := s
		c.registered[s.Name] = &s
		c.mesh.Services[s.Name] = &own
	}
}

// declare applies the Service resources: each names the endpoints that its selector picks.
func (c *compiler) declare(resources []Resource) {
	for i := range resources {
		r := &resources[i]
		decl, ok := r.Service()
		if !ok {
			continue
		}
		name := model.ServiceName{Namespace: r.Key.Namespace, Name: r.Key.Name}
		s := c.mesh.Services[name]
		if s == nil {
			s = &model.Service{Name: name}
			c.mesh.Services[name] = s
		}
		var bases []*model.Service
		if len(decl.Selector) > 0 {
			s.Endpoints, bases = c.selectEndpoints(name.Namespace, decl.Selector)
		}
		c.declarePorts(r, s, decl, bases)
		accepted := newCondition(ConditionAccepted, ReasonAccepted, nil)
		if len(decl.Selector) > 0 {
			accepted.Message = fmt.Sprintf("%d endpoints", len(s.Endpoints))
		}
		c.mesh.Status[r.Key] = []Condition{accepted}
	}
}

// declarePorts takes the declared ports, or those of the services selected when there are none. A port
// that no selected service has is a warning: nothing would answer on it.
func (c *compiler) declarePorts(r *Resource, s *model.Service, decl *gateway.Service, bases []*model.Service) {
	if len(decl.Ports) == 0 {
		for _, b := range bases {
			for _, p := range b.Ports {
				if _, ok := s.Port(p.Number); !ok {
					s.Ports = append(slices.Clip(s.Ports), p)
				}
			}
		}
		return
	}
	old := model.Service{Ports: s.Ports}
	s.Ports = nil
	for _, p := range decl.Ports {
		served := len(bases) == 0
		for _, b := range bases {
			base, ok := b.Port(p.Number)
			served = served || ok || len(b.Ports) == 0
			if ok && p.Protocol == model.Auto {
				p.Protocol = base.Protocol
			}
		}
		if before, ok := old.Port(p.Number); ok && p.Protocol == model.Auto {
			p.Protocol = before.Protocol
		}
		if !served {
			c.warn(r, p.At, fmt.Sprintf("no workload that %s selects serves port %d", s.Name, p.Number), portRemedy(bases[0]))
		}
		s.Ports = append(s.Ports, p.Port)
	}
}

// selectEndpoints returns the endpoints of the namespace with all labels of the selector, and the services
// they registered with. A selector of app alone also finds a service without endpoints.
func (c *compiler) selectEndpoints(namespace string, selector map[string]string) (out []model.Endpoint, bases []*model.Service) {
	var candidates []*model.Service
	if app, ok := selector[labelApp]; ok {
		if s := c.registered[model.ServiceName{Namespace: namespace, Name: app}]; s != nil {
			candidates = append(candidates, s)
		}
	} else {
		for _, s := range c.registered {
			if s.Name.Namespace == namespace {
				candidates = append(candidates, s)
			}
		}
		slices.SortFunc(candidates, func(a, b *model.Service) int { return cmp.Compare(a.Name.Name, b.Name.Name) })
	}
	for _, s := range candidates {
		n := len(out)
		for _, e := range s.Endpoints {
			if selects(selector, e.Labels) {
				out = append(out, e)
			}
		}
		if len(out) > n || len(candidates) == 1 {
			bases = append(bases, s)
		}
	}
	return out, bases
}

// selects reports whether the labels have all of the selector's but app, which the caller decided.
func selects(selector, labels map[string]string) bool {
	for k, v := range selector {
		if have, ok := labels[k]; k != labelApp && (!ok || have != v) {
			return false
		}
	}
	return true
}

// indexVersions finds the names that stand for a version of a registered service: reviews-v2 for the
// endpoints of reviews with label version=v2. Should several services make the same name, the longest
// wins.
func (c *compiler) indexVersions() {
	c.versions = map[model.ServiceName]subset{}
	for name, s := range c.registered {
		for _, v := range c.known[name] {
			c.indexVersion(name, v)
		}
		for _, e := range s.Endpoints {
			c.indexVersion(name, e.Labels[model.LabelVersion])
		}
	}
}

func (c *compiler) indexVersion(name model.ServiceName, v string) {
	if v == "" {
		return
	}
	alias := model.ServiceName{Namespace: name.Namespace, Name: name.Name + "-" + v}
	if old, ok := c.versions[alias]; !ok || len(old.base.Name) < len(name.Name) {
		c.versions[alias] = subset{base: name, version: v}
	}
}

// resolve returns the service of that name: registered, declared, or a version of a registered one, which
// becomes a service of its own at its first use. It returns nil when there is none.
func (c *compiler) resolve(n model.ServiceName) *model.Service {
	if s := c.mesh.Services[n]; s != nil {
		return s
	}
	sub, ok := c.versions[n]
	if !ok {
		return nil
	}
	base := c.registered[sub.base]
	s := &model.Service{Name: n, Ports: base.Ports}
	for _, e := range base.Endpoints {
		if e.Labels[model.LabelVersion] == sub.version {
			s.Endpoints = append(s.Endpoints, e)
		}
	}
	c.mesh.Services[n] = s
	return s
}

// knownNames returns, sorted, at most 1,000 names of a namespace that resolve.
func (c *compiler) knownNames(namespace string) []string {
	if names, ok := c.names[namespace]; ok {
		return names
	}
	var names []string
	for n := range c.mesh.Services {
		if n.Namespace == namespace {
			names = append(names, n.Name)
		}
	}
	for n := range c.versions {
		if n.Namespace == namespace {
			names = append(names, n.Name)
		}
	}
	slices.SortFunc(names, strings.Compare)
	names = slices.Compact(names)
	names = slices.Clip(names[:min(len(names), 1000)])
	c.names[namespace] = names
	return names
}
