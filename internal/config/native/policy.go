package native

import (
	"fmt"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Group is the API group of Weft's own kinds.
const Group = "weft.dev"

// Policy is a checked TrafficPolicy.
type Policy struct {
	Namespace string
	Targets   []Target
	Policy    *model.Policy   // nil: nothing is said of requests
	Upstream  *model.Upstream // nil: nothing is said of endpoints; else all targets are Services or ServiceEntries
	EgressAt  Position        `json:",omitzero"` // where Upstream.Egress is written
	Global    []Position      // where rate limits are said to be counted for all proxies
	Asked     []AskedAt       `json:",omitempty"` // the services that rate limits ask

	// Clients is what is said of who connects; nil is nothing; else all targets are Gateways.
	Clients *model.ProxyClients `json:",omitempty"`
}

// AskedAt is where a rate limit names the service that it asks.
type AskedAt struct {
	Limit int // index in Policy.Limits
	At    Position
}

// Target is what a policy is for, in the policy's own namespace.
type Target struct {
	Kind    string // one of the kinds below
	Name    string
	Section string // name of a rule (routes) or listener (Gateway); "" is the whole
	At      Position
}

// The kinds of targets.
const (
	KindService   = "Service"
	KindHTTPRoute = "HTTPRoute"
	KindGRPCRoute = "GRPCRoute"
	KindGateway   = "Gateway"

	// KindServiceEntry is Istio's, of networking.istio.io: the target is the services of its hosts.
	KindServiceEntry = "ServiceEntry"
)

// Bounds of the lists of a document.
const (
	maxTargets    = 16 // GEP-713
	maxFaults     = 16
	maxRateLimits = 16
	maxMatches    = 64 // Gateway API, HTTPRouteRule.matches
	maxItems      = 16 // conditions of a match, hash keys, statuses
	maxLocalities = 64
	maxSources    = 64
)

// Parse checks a TrafficPolicy. When the problems Failed the policy must not be used.
func Parse(d *document.Document) (*Policy, document.Problems) {
	c := &checker{doc: d}
	var in trafficPolicy
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	f := document.Path("spec")
	if !d.Has(f) {
		c.add(f, "is missing", "write spec with targetRefs and what the policy says")
		return nil, c.problems
	}
	out := &Policy{Namespace: d.Namespace, Targets: c.targets(in.Spec.TargetRefs, f.Key("targetRefs"))}
	c.serviceOnly(out.Targets, f)
	ref := model.PolicyRef{Kind: d.Kind, Namespace: d.Namespace, Name: d.Name, File: d.File, Line: d.Line}
	out.Policy = c.policy(&in.Spec, f)
	out.Global = c.global
	if out.Policy != nil {
		out.Asked = c.askedAt(out.Policy.Limits, f.Key("rateLimits"))
	}
	out.Upstream = c.upstream(&in.Spec, f)
	if out.Upstream != nil && out.Upstream.Egress != nil {
		out.EgressAt = c.position(f.Key("egress").Key("gateway"))
	}
	c.gatewayOnly(out.Targets, f)
	out.Clients = c.clients(in.Spec.Clients, f.Key("clients"))
	if out.Policy == nil && out.Upstream == nil && out.Clients == nil && !c.problems.Failed() {
		c.warn(f, "the policy says nothing", "add a section, for example timeouts: {request: 10s}")
	}
	if out.Policy != nil {
		out.Policy.Ref = ref
	}
	if out.Upstream != nil {
		out.Upstream.Ref = ref
	}
	return out, c.problems
}

// serviceOnly refuses what is of endpoints where a target has none. It is reported once for a field.
func (c *checker) serviceOnly(targets []Target, f *document.Field) {
	other := -1
	for i := range targets {
		if targets[i].Kind != KindService && targets[i].Kind != KindServiceEntry {
			other = i
			break
		}
	}
	if other < 0 {
		return
	}
	for _, at := range []*document.Field{
		f.Key("timeouts").Key("connect"), f.Key("retries").Key("budget"), f.Key("limits"),
		f.Key("ejection"), f.Key("retryAfter"), f.Key("healthCheck"), f.Key("loadBalancing"), f.Key("egress"), f.Key("ports"), f.Key("tunnel"),
	} {
		if c.doc.Has(at) {
			c.addKey(at, fmt.Sprintf("is of the endpoints of a Service, and the target %s %s is none", targets[other].Kind, targets[other].Name),
				"write it in a TrafficPolicy whose targetRefs name the Service that answers")
		}
	}
}
