package config

import (
	"fmt"
	"slices"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// Input is everything the mesh is compiled from.
type Input struct {
	TrustDomain string
	Resources   []Resource // of ParseSet, at most one of each key
	Registry    Registry
}

// Registry is what workloads registered.
type Registry struct {
	Services []model.Service // with endpoints and VIP, without rules
	// Versions that services have had, by service: a name like reviews-v2 goes on to resolve when its last
	// endpoint has left, and is answered 503 instead of 500.
	Versions map[model.ServiceName][]string
}

// Compile builds the mesh. References that do not resolve are warnings: the mesh is complete all the same,
// and the share of such a backend is answered 500. Neither the order of the resources nor that of the
// services and endpoints matters.
func Compile(in Input) (*Mesh, []document.Problem) {
	c := &compiler{
		mesh: &Mesh{
			TrustDomain: in.TrustDomain,
			Services:    make(map[model.ServiceName]*model.Service, len(in.Registry.Services)),
			Status:      make(map[ResourceKey][]Condition, len(in.Resources)),
			consumer:    map[consumerKey][]model.Rule{},
		},
		known: in.Registry.Versions,
	}
	resources := slices.SortedFunc(slices.Values(in.Resources), compareResources)
	c.register(in.Registry.Services)
	c.declare(resources)
	c.indexVersions()
	for i := range resources {
		if route, ok := resources[i].Route(); ok {
			c.route(&resources[i], route)
		}
	}
	return c.mesh, c.warnings
}

// maxRemedies bounds the warnings for which the nearest name is looked for: that costs more than all the rest
// of a compilation, and nobody reads more of them.
const maxRemedies = 100

type compiler struct {
	mesh     *Mesh
	warnings []document.Problem

	registered map[model.ServiceName]*model.Service // as registered, before declarations narrow them
	versions   map[model.ServiceName]subset         // what a name like reviews-v2 stands for
	known      map[model.ServiceName][]string       // versions there have been
	names      map[string][]string                  // namespace -> names that resolve, for remedies
}

func (c *compiler) warn(r *Resource, at gateway.Position, message, remedy string) {
	c.warnings = append(c.warnings, document.Problem{
		File: r.File, Line: at.Line, Column: at.Column, Field: at.Field, Message: message, Remedy: remedy, Warning: true,
	})
}

// route resolves a route's references and attaches its rules to its parents.
func (c *compiler) route(r *Resource, route *gateway.Route) {
	var refs []failure
	rules := make([]model.Rule, len(route.Rules))
	for i := range route.Rules {
		rules[i] = route.Rules[i].Rule
		rules[i].Backends = slices.Clone(rules[i].Backends)
		for j := range rules[i].Backends {
			b := &rules[i].Backends[j]
			if f, remedy := c.backend(route.Namespace, b); f != nil {
				b.Invalid = f.reason + ": " + f.message
				refs = append(refs, *f)
				c.warn(r, route.Rules[i].BackendAt[j], f.message, remedy)
			}
		}
	}
	var parents []failure
	for _, p := range route.Parents {
		if f, remedy := c.attach(route, p, rules); f != nil {
			parents = append(parents, *f)
			c.warn(r, p.At, f.message, remedy)
		}
	}
	c.mesh.Status[r.Key] = []Condition{
		newCondition(ConditionAccepted, ReasonAccepted, parents),
		newCondition(ConditionResolvedRefs, ReasonResolvedRefs, refs),
	}
}

// attach gives the rules to a parent: to all of its clients when the route is of its namespace, else to
// those of the route's namespace.
func (c *compiler) attach(route *gateway.Route, p gateway.Parent, rules []model.Rule) (*failure, string) {
	s := c.resolve(p.Service)
	if s == nil {
		return &failure{ReasonNoMatchingParent, "no service " + p.Service.String() + " is registered or declared"}, c.nearest(p.Service)
	}
	if p.Port != 0 && len(s.Ports) > 0 {
		if _, ok := s.Port(p.Port); !ok {
			return &failure{ReasonNoMatchingParent, fmt.Sprintf("service %s has no port %d", p.Service, p.Port)}, portRemedy(s)
		}
	}
	for _, rule := range rules {
		rule.Port = p.Port
		if route.Namespace == p.Service.Namespace {
			s.Rules = append(s.Rules, rule)
			continue
		}
		key := consumerKey{p.Service, route.Namespace}
		c.mesh.consumer[key] = append(c.mesh.consumer[key], rule)
	}
	return nil, ""
}

// backend reports why a reference does not resolve.
func (c *compiler) backend(from string, b *model.Backend) (f *failure, remedy string) {
	if b.Service.Namespace != from {
		return &failure{
			ReasonRefNotPermitted,
			fmt.Sprintf("service %s is in another namespace than the route", b.Service),
		}, "references between namespaces need a ReferenceGrant, which is not supported in this version of Weft"
	}
	s := c.resolve(b.Service)
	if s == nil {
		return &failure{ReasonBackendNotFound, "no service " + b.Service.String() + " is registered or declared"}, c.nearest(b.Service)
	}
	if b.Port != 0 && len(s.Ports) > 0 {
		if _, ok := s.Port(b.Port); !ok {
			return &failure{ReasonBackendNotFound, fmt.Sprintf("service %s has no port %d", b.Service, b.Port)}, portRemedy(s)
		}
	}
	return nil, ""
}

func portRemedy(s *model.Service) string {
	remedy := "it has"
	for i, p := range s.Ports {
		if i > 0 {
			remedy += ","
		}
		remedy += fmt.Sprintf(" %d", p.Number)
	}
	return remedy
}

// nearest names a service of the namespace that may have been meant.
func (c *compiler) nearest(n model.ServiceName) string {
	if len(c.warnings) >= maxRemedies {
		return ""
	}
	names := c.knownNames(n.Namespace)
	if len(names) == 0 {
		return "there is no service in namespace " + n.Namespace + " yet"
	}
	return document.DidYouMean(n.Name, names)
}
