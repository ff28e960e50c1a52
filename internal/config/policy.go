package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/native"
	"github.com/weft-mesh/weft/internal/model"
)

// Conditions of policies (Gateway API, PolicyConditionReason).
const (
	ConditionConflicted = "Conflicted" // True: an older policy of the same target says some of it already

	ReasonTargetNotFound = "TargetNotFound"
	ReasonConflicted     = "Conflicted"
)

// target is what a policy is for.
type target struct{ kind, namespace, name, section string }

// String returns "Service default/reviews", or "HTTPRoute default/reviews rule canary".
func (t target) String() string {
	s := t.kind + " " + t.namespace + "/" + t.name
	switch {
	case t.section == "":
		return s
	case t.kind == native.KindGateway:
		return s + " listener " + t.section
	}
	return s + " rule " + t.section
}

// targeted is what all policies of one target say together.
type targeted struct {
	policy   *model.Policy
	upstream *model.Upstream
	clients  *model.ProxyClients
	owner    map[string]ResourceKey // of each section: the policy it is from
}

// policies are the TrafficPolicies of a compilation by target.
type policies struct {
	of     map[target]*targeted
	routes map[ResourceKey]*gateway.Route
	rules  map[ruleKey]*model.Policy // what ofRule found

	entries map[model.ServiceName]target // the ServiceEntry that a service is of
}

type ruleKey struct {
	route ResourceKey
	rule  int
}

// policyPlace is where policies are attached.
type policyPlace struct {
	routes map[ResourceKey]*gateway.Route
	other  func(t target) (*failure, string) // why a target that is no route is not found, and a remedy
	warn   func(r *Resource, at gateway.Position, message, remedy string)
	status map[ResourceKey][]Condition

	asked func(from ResourceKey, name model.ServiceName, port uint16, grpc bool) (*failure, string) // why a service cannot be asked, and a remedy
}

// collectPolicies finds what policies say of each target. They come in the order of precedence: of two policies
// of one target the older holds, section by section, and the younger one's condition says so (GEP-713, conflict
// resolution). It returns nil when there are no policies.
func collectPolicies(resources []Resource, place *policyPlace) *policies {
	var out *policies
	for i := range resources {
		r := &resources[i]
		p, ok := r.body.(*native.Policy)
		if !ok {
			continue
		}
		if out == nil {
			out = &policies{of: map[target]*targeted{}, routes: routesByKey(resources), rules: map[ruleKey]*model.Policy{}, entries: entryTargets(resources)}
			place.routes = out.routes
		}
		out.add(r, p, place)
	}
	return out
}

func routesByKey(resources []Resource) map[ResourceKey]*gateway.Route {
	out := map[ResourceKey]*gateway.Route{}
	for i := range resources {
		if route, ok := resources[i].Route(); ok {
			out[resources[i].Key] = route
		}
	}
	return out
}

// add attaches one policy to its targets and says in its status what became of it.
func (ps *policies) add(r *Resource, p *native.Policy, place *policyPlace) {
	p, resolved := place.resolveAsked(r, p)
	fields := p.Fields()
	var missing, conflicts []failure
	holds := len(fields) == 0
	for _, at := range p.Targets {
		t := target{at.Kind, p.Namespace, at.Name, at.Section}
		f, remedy := place.find(t)
		if f == nil && t.kind == native.KindServiceEntry {
			f, remedy = ps.noEntry(t)
		}
		if f != nil {
			missing = append(missing, *f)
			place.warn(r, at.At, f.message, remedy)
			continue
		}
		taken := ps.of[t].take(fields, r.Key)
		holds = holds || len(taken) < len(fields)
		if len(taken) > 0 {
			f := failure{ReasonConflicted, conflictMessage(t, taken, ps.of[t])}
			conflicts = append(conflicts, f)
			place.warn(r, at.At, f.message, "an older policy of the same target stands before a younger one; remove it from one of them")
		}
		ps.of[t] = ps.of[t].with(t, p, fields, r.Key)
	}
	bad := missing
	if !holds && len(missing) == 0 {
		bad = conflicts
	}
	conditions := []Condition{newCondition(ConditionAccepted, ReasonAccepted, bad)}
	if len(conflicts) > 0 {
		c := newCondition(ConditionConflicted, "", conflicts)
		c.Status = "True"
		conditions = append(conditions, c)
	}
	place.status[r.Key] = append(conditions, resolved...)
}

// take returns those of the fields that another policy has. The nil targeted has none.
func (x *targeted) take(fields []string, by ResourceKey) []string {
	if x == nil {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(fields), func(f string) bool {
		owner, ok := x.owner[f]
		return !ok || owner == by
	})
}

func conflictMessage(t target, taken []string, x *targeted) string {
	verb := "is"
	if len(taken) > 1 {
		verb = "are"
	}
	return fmt.Sprintf("%s of %s %s given by %s", strings.Join(taken, ", "), t, verb, x.owner[taken[0]])
}

// with returns x with what p says besides.
func (x *targeted) with(t target, p *native.Policy, fields []string, key ResourceKey) *targeted {
	if x == nil {
		x = &targeted{owner: map[string]ResourceKey{}}
	}
	x.policy = model.MergePolicy(x.policy, ofTarget(p.Policy, t, key))
	x.upstream = model.MergeUpstream(x.upstream, p.Upstream)
	x.clients = cmp.Or(x.clients, p.Clients)
	for _, f := range fields {
		if _, ok := x.owner[f]; !ok {
			x.owner[f] = key
		}
	}
	return x
}

// ofTarget returns the policy with counters of its own for the target: a limit of a policy of two services is one
// for each of them, and stays one however the target's policy is merged with others.
func ofTarget(p *model.Policy, t target, key ResourceKey) *model.Policy {
	if p == nil || len(p.Limits) == 0 {
		return p
	}
	out := *p
	out.Limits = slices.Clone(p.Limits)
	for i := range out.Limits {
		out.Limits[i].Domain = key.String() + " on " + t.String()
	}
	return &out
}

// find reports why a target is not there.
func (place *policyPlace) find(t target) (f *failure, remedy string) {
	if t.kind != native.KindHTTPRoute && t.kind != native.KindGRPCRoute {
		return place.other(t)
	}
	route, ok := place.routes[ResourceKey{t.kind, t.namespace, t.name}]
	if !ok {
		var names []string
		for k := range place.routes {
			if k.Kind == t.kind && k.Namespace == t.namespace {
				names = append(names, k.Name)
			}
		}
		return &failure{ReasonTargetNotFound, fmt.Sprintf("there is no %s %s/%s", t.kind, t.namespace, t.name)}, document.DidYouMean(t.name, bounded(names))
	}
	if t.section == "" {
		return nil, ""
	}
	var names []string
	for i := range route.Rules {
		if route.Rules[i].Name == t.section {
			return nil, ""
		}
		if route.Rules[i].Name != "" {
			names = append(names, route.Rules[i].Name)
		}
	}
	remedy = "none of its rules has a name"
	if len(names) > 0 {
		remedy = "its rules are named " + some(names)
	}
	return &failure{ReasonTargetNotFound, fmt.Sprintf("%s %s/%s has no rule named %q", t.kind, t.namespace, t.name, clip(t.section))}, remedy
}

// bounded sorts names that a remedy is looked for in, and cuts them to a number that costs little.
func bounded(names []string) []string {
	slices.Sort(names)
	return names[:min(len(names), 1000)]
}

// ofService returns what is said of a service.
func (ps *policies) ofService(n model.ServiceName) (*model.Policy, *model.Upstream) {
	x, entry := ps.of[target{kind: native.KindService, namespace: n.Namespace, name: n.Name}], ps.of[ps.entries[n]]
	switch {
	case x == nil && entry == nil:
		return nil, nil
	case x == nil:
		x = entry
	case entry != nil:
		return model.MergePolicy(x.policy, entry.policy), model.MergeUpstream(x.upstream, entry.upstream)
	}
	return x.policy, x.upstream
}

// ofRule returns what is said of a rule: of itself, before its route.
func (ps *policies) ofRule(ref model.RuleRef) *model.Policy {
	key := ruleKey{ResourceKey{ref.Kind, ref.Namespace, ref.Name}, ref.Rule}
	if p, ok := ps.rules[key]; ok {
		return p
	}
	t := target{kind: ref.Kind, namespace: ref.Namespace, name: ref.Name}
	p := ps.policyOf(t)
	if route := ps.routes[key.route]; route != nil && ref.Rule < len(route.Rules) && route.Rules[ref.Rule].Name != "" {
		t.section = route.Rules[ref.Rule].Name
		p = model.MergePolicy(ps.policyOf(t), p)
	}
	ps.rules[key] = p
	return p
}

// clientsOf is whose connections begin with a header of the PROXY protocol, as is said of a target.
func (ps *policies) clientsOf(t target) *model.ProxyClients {
	if x := ps.of[t]; x != nil {
		return x.clients
	}
	return nil
}

func (ps *policies) policyOf(t target) *model.Policy {
	if x := ps.of[t]; x != nil {
		return x.policy
	}
	return nil
}

// rulesOf attaches to rules what is said of them, then of the listener they are at, which may be nil. What a route
// says in its own fields stands before.
func (ps *policies) rulesOf(rules []model.Rule, listener *model.Policy) {
	for i := range rules {
		r := &rules[i]
		r.Policy = model.MergePolicy(model.MergePolicy(r.Policy, ps.ofRule(r.Ref)), listener)
	}
}
