package config

import (
	"cmp"
	"fmt"
	"maps"
	"net/netip"
	"reflect"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// istioRoot is the namespace whose DestinationRules hold for all that have none of their own (MeshConfig,
// rootNamespace).
const istioRoot = "istio-system"

// istioCompiler compiles what was written in Istio's dialect. What a client sees depends on its namespace: the
// VirtualServices that are exported to it, and the DestinationRules of its own namespace before those of the service's.
type istioCompiler struct {
	*compiler
	resources map[istio.ObjectName]*Resource // VirtualServices by name
	entries   map[string]model.ServiceName   // services of ServiceEntries by host
	declared  map[model.ServiceName]bool     // the same services
	certified map[model.ServiceName][]string // whom the certificates of their endpoints name
	exported  map[model.ServiceName][]string // namespaces whose resources may name them; nil is all
	vips      map[netip.Addr]model.ServiceName
	virtual   map[model.ServiceName][]*Resource
	rules     map[model.ServiceName][]*Resource // DestinationRules by service
	wild      []*Resource                       // DestinationRules of wildcards, and of hosts nobody has
	refs      map[ResourceKey][]failure
	taken     map[*Resource]bool // VirtualServices that clients of the service at hand are routed by
	secrets   map[gateway.ObjectName]*gateway.Secret
	holding   []map[string]string // selectors of DestinationRules that hold for the clients whose view is made
	alone     bool                // at a standalone gateway, which reads files and Secrets by itself: see istioEdge.upstream
	told      map[string]bool     // warnings, each given once however many clients it is found for
}

// clientView is what clients of a namespace see of a service where it is not what all others see.
type clientView struct {
	rules    []model.Rule
	ordered  bool
	policy   *model.Policy
	upstream *model.Upstream
}

// istio applies VirtualServices and DestinationRules. Everything that they name is there already.
func (c *istioCompiler) apply(resources []Resource) {
	for i := range resources {
		r := &resources[i]
		switch body := r.body.(type) {
		case *istio.VirtualService:
			c.resources[istio.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = r
			c.virtualService(r, body)
		case *gateway.Secret:
			c.secrets[gateway.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = body
		case *istio.DestinationRule:
			c.destinationRule(r, body)
		case *istio.Sidecar:
			c.sidecar(r, body)
		}
	}
	c.resolveSidecars()
	names := map[model.ServiceName]bool{}
	for n := range c.virtual {
		names[n] = true
	}
	for n := range c.rules {
		names[n] = true
	}
	if len(c.wild) > 0 {
		for n := range c.mesh.Services {
			names[n] = true
		}
	}
	for _, n := range sortedNames(names) {
		c.service(n)
	}
}

// finish says which references of Istio's resources resolve, when all that they are used for is compiled.
func (c *istioCompiler) finish() {
	for key, failures := range c.refs {
		accepted := c.mesh.Status[key]
		c.mesh.Status[key] = append(accepted, newCondition(ConditionResolvedRefs, ReasonResolvedRefs, failures))
	}
}

func sortedNames(in map[model.ServiceName]bool) []model.ServiceName {
	out := make([]model.ServiceName, 0, len(in))
	for n := range in {
		out = append(out, n)
	}
	slices.SortFunc(out, func(a, b model.ServiceName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
	return out
}

// virtualService finds the services that a VirtualService routes.
func (c *istioCompiler) virtualService(r *Resource, v *istio.VirtualService) {
	var failures []failure
	c.refs[r.Key] = nil
	if !c.inMesh(v) {
		c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, nil)}
		return
	}
	for _, h := range v.Hosts {
		names := c.matching(h.Name, v.Namespace)
		if len(names) == 0 {
			message, remedy := c.unknownHost(h.Name, v.Namespace)
			failures = append(failures, failure{ReasonNoMatchingParent, message})
			c.warnOnce(r, h.At, message, remedy)
		}
		for _, n := range names {
			if !slices.Contains(c.virtual[n], r) {
				c.virtual[n] = append(c.virtual[n], r)
			}
		}
	}
	c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, failures)}
}

// inMesh reports whether any rule of the VirtualService is for sidecars.
func (c *istioCompiler) inMesh(v *istio.VirtualService) bool {
	if slices.Contains(v.Gateways, istio.Mesh) {
		return true
	}
	for i := range v.HTTP {
		for _, g := range v.HTTP[i].Gateways {
			if slices.Contains(g, istio.Mesh) {
				return true
			}
		}
	}
	return slices.ContainsFunc(v.Streams, func(s istio.StreamRoute) bool { return slices.Contains(s.Gateways, istio.Mesh) })
}

// destinationRule finds the services that a DestinationRule is for.
func (c *istioCompiler) destinationRule(r *Resource, d *istio.DestinationRule) {
	c.refs[r.Key] = nil
	var failures []failure
	names := c.matching(d.Host.Name, d.Namespace)
	switch {
	case strings.HasPrefix(d.Host.Name, "*"):
		c.wild = append(c.wild, r)
	case len(names) == 0:
		message, remedy := c.unknownHost(d.Host.Name, d.Namespace)
		failures = append(failures, failure{ReasonNoMatchingParent, message})
		c.warnOnce(r, d.Host.At, message, remedy)
	default:
		c.addRule(names[0], r, d)
	}
	c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, failures)}
}

// addRule keeps a DestinationRule for a service. One of the same namespace that comes later adds its subsets to the
// first (Istio, DestinationRule merging); its trafficPolicy has no effect.
func (c *istioCompiler) addRule(n model.ServiceName, r *Resource, d *istio.DestinationRule) {
	for i, old := range c.rules[n] {
		first := old.body.(*istio.DestinationRule)
		if first.Namespace != d.Namespace || !slices.Equal(first.ExportTo, d.ExportTo) || !sameSelector(first, d) {
			continue
		}
		merged := *first
		merged.Subsets = maps.Clone(first.Subsets)
		for _, name := range slices.Sorted(maps.Keys(d.Subsets)) {
			s := d.Subsets[name]
			if _, ok := merged.Subsets[name]; ok {
				c.warnOnce(r, s.At, fmt.Sprintf("%s has a subset %s already", old.Key, clip(name)), "give it another name")
				continue
			}
			merged.Subsets[name] = s
		}
		if d.Traffic.Upstream != nil || len(d.Traffic.Ports) > 0 {
			c.warnOnce(r, d.Host.At, fmt.Sprintf("trafficPolicy has no effect: %s is for the same host, and was first", old.Key), "write it there")
		}
		both := *old
		both.body = &merged
		c.rules[n][i] = &both
		return
	}
	c.rules[n] = append(c.rules[n], r)
}

// service makes what its clients see.
func (c *istioCompiler) service(n model.ServiceName) {
	s := c.mesh.Services[n]
	if s == nil {
		return
	}
	c.taken = map[*Resource]bool{}
	everyone := c.view(s, "")
	for _, client := range c.clients(n) {
		if own := c.view(s, client); !reflect.DeepEqual(own, everyone) {
			c.mesh.istio[consumerKey{n, client}] = own
		}
		c.chosenViews(s, client, c.leadsTo(n))
	}
	for _, r := range c.virtual[n] {
		if !c.taken[r] {
			c.conflict(r, s)
		}
	}
	s.Rules, s.Ordered, s.Policy, s.Upstream = everyone.rules, everyone.ordered, everyone.policy, everyone.upstream
}

// clients returns the namespaces whose clients may see a service in another way than everybody else.
func (c *istioCompiler) clients(n model.ServiceName) []string {
	out := map[string]bool{}
	see := func(exportTo []string) {
		for _, ns := range exportTo {
			out[ns] = true
		}
	}
	for _, r := range c.virtual[n] {
		see(r.body.(*istio.VirtualService).ExportTo)
	}
	for name := range c.leadsTo(n) {
		for _, r := range append(slices.Clip(c.rules[name]), c.wild...) {
			d := r.body.(*istio.DestinationRule)
			see(d.ExportTo)
			if d.Selector != nil || d.Namespace != name.Namespace && d.Namespace != istioRoot {
				out[d.Namespace] = true
			}
		}
	}
	var names []string
	for ns := range out {
		names = append(names, ns)
	}
	slices.Sort(names)
	return names
}

// leadsTo returns a service and those that its VirtualServices send requests and connections to.
func (c *istioCompiler) leadsTo(n model.ServiceName) map[model.ServiceName]bool {
	of := map[model.ServiceName]bool{n: true}
	add := func(to []istio.Destination, namespace string) {
		for _, d := range to {
			if name, ok := c.resolveHost(d.Host, namespace); ok {
				of[name] = true
			}
		}
	}
	for _, r := range c.virtual[n] {
		v := r.body.(*istio.VirtualService)
		for i := range v.HTTP {
			add(v.HTTP[i].Backends, v.Namespace)
		}
		for i := range v.Streams {
			add(v.Streams[i].Backends, v.Namespace)
		}
	}
	return of
}

// sameSelector reports whether two DestinationRules are for the same clients of their namespace.
func sameSelector(a, b *istio.DestinationRule) bool {
	return (a.Selector == nil) == (b.Selector == nil) && maps.Equal(a.Selector, b.Selector)
}

// view is what clients of a namespace see; "" is everybody whose namespace nobody names.
func (c *istioCompiler) view(s *model.Service, client string) clientView {
	out := clientView{rules: s.Rules, policy: s.Policy, upstream: s.Upstream}
	if d, r := c.ruleFor(s.Name, client); d != nil {
		out.upstream = model.MergeUpstream(s.Upstream, c.upstream(r, &d.Traffic, s))
	}
	if len(s.Rules) == 0 {
		for _, r := range c.virtual[s.Name] {
			if v := r.body.(*istio.VirtualService); visible(v.ExportTo, client) {
				out.rules, c.taken[r] = c.meshRules(r, v, s, client), true
				break
			}
		}
		out.ordered = len(out.rules) > 0
	}
	return out
}

// conflict reports a VirtualService that no client of a service is routed by: of several, the oldest goes first, and
// a route of the Gateway API before all (Istio, traffic management best practices: they are merged at gateways only).
func (c *istioCompiler) conflict(r *Resource, s *model.Service) {
	message := "the service " + s.Name.String() + " is routed by "
	if len(s.Rules) > 0 && !s.Ordered {
		message += s.Rules[0].Ref.String()
	} else {
		message += c.virtual[s.Name][0].Key.String()
	}
	message += " already"
	if c.warnOnce(r, r.body.(*istio.VirtualService).Hosts[0].At, message, "write the rules of a service in one resource") {
		c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, []failure{{ReasonConflicted, message}})}
	}
}

func visible(exportTo []string, client string) bool {
	return exportTo == nil || slices.Contains(exportTo, client)
}

// ruleFor returns the DestinationRule of a service for clients of a namespace: of that namespace, else of the
// service's, else of the root's (Istio, DestinationRule lookup). A rule for the very host goes before a wildcard, and in
// the client's namespace before both one that selects the client.
func (c *istioCompiler) ruleFor(n model.ServiceName, client string) (*istio.DestinationRule, *Resource) {
	for i, ns := range []string{client, client, n.Namespace, istioRoot} {
		if ns == "" || i == 0 && len(c.holding) == 0 {
			continue
		}
		selecting := i == 0
		var best *Resource
		for _, r := range append(slices.Clip(c.rules[n]), c.wild...) {
			d := r.body.(*istio.DestinationRule)
			if (d.Selector != nil) != selecting || selecting && !c.holds(d.Selector) {
				continue
			}
			if d.Namespace != ns || !visible(d.ExportTo, client) || !c.hostCovers(d.Host.Name, n) {
				continue
			}
			if best == nil || len(d.Host.Name) > len(best.body.(*istio.DestinationRule).Host.Name) && strings.HasPrefix(best.body.(*istio.DestinationRule).Host.Name, "*") {
				best = r
			}
		}
		if best != nil {
			return best.body.(*istio.DestinationRule), best
		}
	}
	return nil, nil
}
