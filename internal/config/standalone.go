package config

import (
	"maps"
	"net/netip"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/labels"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// StandaloneInput is everything a gateway without a control plane is compiled from.
type StandaloneInput struct {
	Resources []Resource   // of ParseStandalone, at most one of each key
	Bind      []netip.Addr // where a Gateway listens that names no addresses; default 127.0.0.1, and ::1 where there is one
	Now       time.Time    // against which certificates expire; zero: expiry is not looked at

	// Labels are the gateway's, for the selectors of Istio's Gateways; nil means istio: ingressgateway there. Those of
	// topology.kubernetes.io say where it is, for policies that prefer near endpoints.
	Labels map[string]string

	// ReadFile reads the certificates and keys that listeners name by file. Nil: such a file is a problem.
	ReadFile func(name string) ([]byte, error)
}

// Standalone is what a gateway without a control plane runs, and what became of every resource.
type Standalone struct {
	Snapshot *model.Snapshot // its revision is left to the caller
	Files    []string        // certificate and key files that were read or are missing, sorted: to be watched
	Status   map[ResourceKey][]Condition

	// Problems are warnings of references that do not resolve. More than a warning are a certificate that cannot
	// be read or does not fit its key, and listeners in conflict: then the snapshot lacks these listeners.
	Problems document.Problems
}

// classWeft is the class of the Gateways that are served. It needs no GatewayClass.
const classWeft = "weft"

// CompileStandalone builds what a gateway without a control plane runs. References that do not resolve are
// warnings, answered 500 at run time (503 where a service has no endpoint), as in Kubernetes. The order of the
// resources does not matter.
func CompileStandalone(in StandaloneInput) *Standalone {
	c := newStandalone(in, &Standalone{
		Snapshot: &model.Snapshot{Workload: model.Workload{ID: "gateway", Labels: in.Labels}}, Status: make(map[ResourceKey][]Condition, len(in.Resources)),
	})
	resources := slices.SortedFunc(slices.Values(in.Resources), compareResources)
	c.index(resources)
	c.backendTLS(resources)
	c.listenerSets(resources)
	c.conflicts()
	for i := range resources {
		if route, ok := resources[i].Route(); ok {
			c.route(&resources[i], route)
		}
	}
	dialect := newIstioEdge(c, resources)
	if dialect != nil {
		dialect.apply(resources)
	}
	c.useAsked(resources)
	c.compileServices()
	c.attachPolicies(resources)
	c.sockets()
	c.gatewayStatus()
	if dialect != nil {
		dialect.finish()
	}
	c.out.Files = slices.Sorted(maps.Keys(c.files))
	slices.SortStableFunc(c.problems, func(a, b document.Problem) int { return compareBool(a.Warning, b.Warning) })
	c.out.Problems = c.problems.Distinct().Bound(document.Limits{}.WithDefaults().Problems)
	return c.out
}

func newStandalone(in StandaloneInput, out *Standalone) *standalone {
	return &standalone{
		in:    in,
		out:   out,
		names: map[string][]string{},
		used:  map[model.ServiceName]bool{},
		grpc:  map[servicePort]bool{},
		files: map[string]fileContent{},
		full:  map[*gate]ResourceKey{},
		held:  map[*gate]*holders{},
		tls:   map[tlsPort]*backendTLS{},
	}
}

// standalone is a compilation under way.
type standalone struct {
	in       StandaloneInput
	out      *Standalone
	problems document.Problems

	// joined means Gateways of a mesh: each is run by proxies of its own, which read the files it names.
	joined bool
	// named are the ports of the services of a mesh, which has others beside those declared.
	named map[model.ServiceName][]gateway.ServicePort

	services   map[model.ServiceName]*Resource
	slices     map[model.ServiceName][]*Resource
	secrets    map[gateway.ObjectName]*Resource
	configs    map[gateway.ObjectName]*Resource // ConfigMaps
	namespaces map[string]labels.Set
	grants     map[string][]*gateway.Grant // by namespace
	gateways   map[gateway.ObjectName]*edge
	sets       map[gateway.ObjectName]*edge // ListenerSets
	order      []*edge                      // those that are ours, by precedence
	names      map[string][]string          // namespace -> names of services, for remedies

	used  map[model.ServiceName]bool // services that rules name
	grpc  map[servicePort]bool       // ports that GRPCRoutes name
	files map[string]fileContent
	full  map[*gate]ResourceKey // the route that takes a TCP listener's connections
	held  map[*gate]*holders    // the routes that take an HTTP listener's hosts
	tls   map[tlsPort]*backendTLS
}

type servicePort struct {
	service model.ServiceName
	port    uint16
}

// index files the resources by what they are referred to as. They come in the order of precedence.
func (c *standalone) index(resources []Resource) {
	for _, r := range c.collect(resources) {
		c.gateway(r, r.body.(*gateway.Gateway)) // Secrets and grants are known now
	}
}

// collect is index without opening the listeners of the Gateways, which it returns.
func (c *standalone) collect(resources []Resource) (own []*Resource) {
	c.services, c.slices = map[model.ServiceName]*Resource{}, map[model.ServiceName][]*Resource{}
	c.secrets, c.grants = map[gateway.ObjectName]*Resource{}, map[string][]*gateway.Grant{}
	c.gateways, c.sets = map[gateway.ObjectName]*edge{}, map[gateway.ObjectName]*edge{}
	c.configs, c.namespaces = map[gateway.ObjectName]*Resource{}, map[string]labels.Set{}
	for i := range resources {
		r := &resources[i]
		service := model.ServiceName{Namespace: r.Key.Namespace, Name: r.Key.Name}
		switch body := r.body.(type) {
		case *gateway.Service:
			c.services[service] = r
		case *gateway.EndpointSlice:
			service.Name = body.Service
			c.slices[service] = append(c.slices[service], r)
		case *gateway.Secret:
			c.secrets[gateway.ObjectName(service)] = r
		case *gateway.ConfigMap:
			c.configs[gateway.ObjectName(service)] = r
		case *gateway.Namespace:
			c.namespaces[r.Key.Name] = body.Labels
		case *gateway.Grant:
			c.grants[r.Key.Namespace] = append(c.grants[r.Key.Namespace], body)
		case *gateway.Gateway:
			own = append(own, r)
		}
	}
	return own
}

// warn reports something that does not stop the gateway.
func (c *standalone) warn(r *Resource, at gateway.Position, message, remedy string) {
	c.report(r, at, message, remedy, true)
}

func (c *standalone) report(r *Resource, at gateway.Position, message, remedy string, warning bool) {
	c.problems = append(c.problems, document.Problem{
		File: r.File, Line: at.Line, Column: at.Column, Field: at.Field, Message: message, Remedy: remedy, Warning: warning,
	})
}

// granted reports whether an object of one namespace may refer to one of another (GEP-709).
func (c *standalone) granted(from gateway.GrantFrom, namespace string, to gateway.GrantTo) bool {
	if from.Namespace == namespace {
		return true
	}
	return slices.ContainsFunc(c.grants[namespace], func(g *gateway.Grant) bool { return g.Allows(from, to) })
}

func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case b:
		return -1
	}
	return 1
}
