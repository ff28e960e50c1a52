package config

import (
	"fmt"
	"slices"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// Input is everything the mesh is compiled from.
type Input struct {
	TrustDomain string
	Resources   []Resource // of ParseSet, at most one of each key
	Registry    Registry
	Now         time.Time // certificates that do not hold then are warned of; zero: none is
}

// Registry is what workloads registered.
type Registry struct {
	Services []model.Service // with endpoints and VIP, without rules
	// Versions that services have had, by service: a name like reviews-v2 goes on to resolve when its last
	// endpoint has left, and is answered 503 instead of 500.
	Versions map[model.ServiceName][]string
}

// Compile builds the mesh. References that do not resolve are warnings: the mesh is complete all the same,
// and the share of such a backend is answered 500. What is no warning is not to be stored; a mesh that has it goes
// without what it is about. Neither the order of the resources nor that of the
// services and endpoints matters.
func Compile(in Input) (*Mesh, document.Problems) {
	c := &compiler{
		mesh: &Mesh{
			TrustDomain: in.TrustDomain,
			Services:    make(map[model.ServiceName]*model.Service, len(in.Registry.Services)),
			Status:      make(map[ResourceKey][]Condition, len(in.Resources)),
			Parents:     map[ResourceKey][]ParentStatus{},
			consumer:    map[consumerKey][]model.Rule{},
			istio:       map[consumerKey]clientView{},
			chosen:      map[consumerKey][]map[string]string{},
		},
		known:    in.Registry.Versions,
		now:      in.Now,
		grants:   map[string][]*gateway.Grant{},
		attached: map[consumerKey][]*attachment{},
	}
	resources := slices.SortedFunc(slices.Values(in.Resources), compareResources)
	c.register(in.Registry.Services)
	c.declare(resources)
	c.collectGrants(resources)
	c.indexVersions()
	dialect := newIstioCompiler(c)
	dialect.declareEntries(resources)
	dialect.addressEntries(resources)
	c.secrets(resources, in.Now)
	c.backendTLS(resources)
	for i := range resources {
		if route, ok := resources[i].Route(); ok {
			c.route(&resources[i], route)
		}
	}
	c.attachRoutes(resources)
	c.settle()
	c.attachPolicies(resources)
	dialect.apply(resources) // what a TrafficPolicy says goes before what a DestinationRule does
	if c.edge != nil {
		c.edge.istio(dialect, resources)
		c.edge.finish()
	} else {
		dialect.ungated(resources)
	}
	dialect.finish()
	c.mesh.indexEgress()
	c.finishTLS()
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
	grants     map[string][]*gateway.Grant          // by namespace

	pending  []*pending // routes, in order of precedence
	attached map[consumerKey][]*attachment
	audience []consumerKey // keys of attached, as they came
	edge     *meshEdge     // the Gateways; nil: there are none
	now      time.Time     // Input.Now
	tls      *standalone   // the BackendTLSPolicies; nil: there are none
}

func (c *compiler) warn(r *Resource, at gateway.Position, message, remedy string) {
	c.warnings = append(c.warnings, document.Problem{
		File: r.File, Line: at.Line, Column: at.Column, Field: at.Field, Message: message, Remedy: remedy, Warning: true,
	})
}

// refuse reports what a change of the resources must not bring about. A mesh that has it all the same goes without.
func (c *compiler) refuse(r *Resource, at gateway.Position, message, remedy string) {
	c.warn(r, at, message, remedy)
	c.warnings[len(c.warnings)-1].Warning = false
}

// route resolves a route's references and notes which services it is for; settle does the rest.
func (c *compiler) route(r *Resource, route *gateway.Route) {
	p := &pending{resource: r, rules: make([]model.Rule, len(route.Rules))}
	fail := func(at gateway.Position, f *failure, remedy string) string {
		p.refs = append(p.refs, *f)
		c.warn(r, at, f.message, remedy)
		return f.reason + ": " + f.message
	}
	refs := filterRefs{route: r.Key, backend: c.backend, tls: c.tls, asked: c.asked, fail: fail}
	for i := range route.Rules {
		p.rules[i] = route.Rules[i].Rule
		backends := slices.Clone(p.rules[i].Backends)
		for j := range backends {
			if f, remedy := c.backend(r.Key, backends[j].Service, backends[j].Port); f != nil {
				backends[j].Invalid = fail(route.Rules[i].BackendAt[j], f, remedy)
				continue
			}
			backends[j].Invalid = c.tls.withoutTLS(backends[j].Service, backends[j].Port)
		}
		p.rules[i].Backends = backends
		refs.resolveRule(&p.rules[i], &route.Rules[i])
	}
	p.parents = make([]parentState, len(route.Parents))
	for i, parent := range route.Parents {
		p.parents[i].ParentRef = serviceParent(parent)
		if f, remedy := c.attach(p, parent, i); f != nil {
			p.parents[i].failures = append(p.parents[i].failures, *f)
			c.warn(r, parent.At, f.message, remedy)
		}
	}
	c.pending = append(c.pending, p)
}

// backend reports why a reference does not resolve. One to another namespace needs a ReferenceGrant there (GEP-709).
func (c *compiler) backend(from ResourceKey, name model.ServiceName, port uint16) (f *failure, remedy string) {
	if !c.granted(from, name) {
		what, _ := referrer(from)
		return &failure{ReasonRefNotPermitted, fmt.Sprintf("service %s is in another namespace than the %s", name, what)},
			"allow it with a ReferenceGrant in namespace " + name.Namespace
	}
	s := c.resolve(name)
	if s == nil {
		return &failure{ReasonBackendNotFound, "no service " + name.String() + " is registered or declared"}, c.nearest(name)
	}
	if from.Kind == kindUDPRoute {
		return datagramBackend(s, port)
	}
	if port != 0 && len(s.Ports) > 0 {
		return servesPort(from.Kind, s, port)
	}
	return nil, ""
}

// granted reports whether a route may send requests to a service, or a policy have it asked.
func (c *compiler) granted(from ResourceKey, to model.ServiceName) bool {
	if from.Namespace == to.Namespace {
		return true
	}
	_, group := referrer(from)
	by := gateway.GrantFrom{Group: group, Kind: from.Kind, Namespace: from.Namespace}
	return slices.ContainsFunc(c.grants[to.Namespace], func(g *gateway.Grant) bool {
		return g.Allows(by, gateway.GrantTo{Kind: "Service", Name: to.Name})
	})
}

func portRemedy(s *model.Service) string {
	remedy := "it has"
	for i, p := range s.Ports {
		if i > 0 {
			remedy += ","
		}
		remedy += fmt.Sprintf(" %d", p.Number)
		if p.Protocol == model.UDP {
			remedy += "/udp"
		}
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
