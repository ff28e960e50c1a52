package config

import (
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// Mesh is the compiled whole: every service with its rules, and what became of every resource.
type Mesh struct {
	Revision    int64 // set by who compiles from a store; Scope copies it
	TrustDomain string
	Services    map[model.ServiceName]*model.Service // also declared ones and version subsets, which have no VIP
	Status      map[ResourceKey][]Condition          // of all parents of a route together: one that fails makes it False
	Listeners   map[ResourceKey][]ListenerStatus     // of a Gateway or ListenerSet that is served, in the order of its listeners
	Parents     map[ResourceKey][]ParentStatus       // of a route, for each parent, in the order of its parentRefs

	// consumer holds the rules of routes from other namespaces than the service's: they are for clients of
	// their own namespace alone, and stand in place of the service's own rules (GEP-1426).
	consumer map[consumerKey][]model.Rule

	istio  map[consumerKey]clientView          // what was written in Istio's dialect for clients of some namespaces
	chosen map[consumerKey][]map[string]string // selectors of DestinationRules that tell clients of a namespace apart

	sidecars  *sidecars        // nil: there are none
	addressed []addressedEntry // services of ServiceEntries with addresses of their own, as they were written

	gateways           map[gateway.ObjectName][]model.Socket     // with no address where the Gateway names none: see Gateway
	egress             map[model.ServiceName][]model.ServiceName // gateway -> services that leave the mesh by it
	selectors          map[gateway.ObjectName]map[string]string  // of Istio's Gateways
	selected           []selectedSockets                         // of Istio's Gateways
	clientCertificates map[gateway.ObjectName]*model.Certificate // of Gateways, for backends outside the mesh
	secrets            map[string]*model.Certificate             // "namespace/name" -> what endpoints outside the mesh are shown
}

type consumerKey struct {
	service   model.ServiceName
	namespace string // of the clients, or a client as Mesh.ClientOf has it
}

// ParentStatus is what became of a route at one of its parents (Gateway API, RouteParentStatus).
type ParentStatus struct {
	ParentRef
	Conditions []Condition
}

// ParentRef names a parent of a route.
type ParentRef struct {
	Kind    string // "Service", "Gateway" or "ListenerSet"
	Name    string // namespace/name
	Section string // a listener's name; "": any
	Port    uint16 // 0: every port
}

// Condition is an aspect of a resource's state, as the Gateway API defines conditions.
type Condition struct {
	Type    string // ConditionAccepted, ConditionResolvedRefs or ConditionProgrammed
	Status  string // "True" or "False"
	Reason  string // one CamelCase word
	Message string
}

// Types and reasons of conditions (Gateway API, RouteConditionType, GatewayConditionType and their reasons).
const (
	ConditionAccepted     = "Accepted"
	ConditionResolvedRefs = "ResolvedRefs"
	ConditionProgrammed   = "Programmed" // of a Gateway or ListenerSet

	// ConditionInsecureFrontend is True of a Gateway that serves clients without a valid certificate though it asks
	// for one.
	ConditionInsecureFrontend  = "InsecureFrontendValidationMode"
	ReasonConfigurationChanged = "ConfigurationChanged"

	ReasonAccepted         = "Accepted"
	ReasonNoMatchingParent = "NoMatchingParent"
	ReasonResolvedRefs     = "ResolvedRefs"
	ReasonBackendNotFound  = "BackendNotFound"
	ReasonRefNotPermitted  = "RefNotPermitted"

	ReasonNotAllowedByListeners      = "NotAllowedByListeners"
	ReasonNoMatchingListenerHostname = "NoMatchingListenerHostname"

	ReasonProgrammed            = "Programmed"
	ReasonInvalid               = "Invalid"
	ReasonListenersNotValid     = "ListenersNotValid"
	ReasonInvalidCertificateRef = "InvalidCertificateRef"
)

// failure is a reason a condition is False.
type failure struct{ reason, message string }

func newCondition(kind, good string, failures []failure) Condition {
	if len(failures) == 0 {
		return Condition{Type: kind, Status: "True", Reason: good}
	}
	const most = 5
	var messages []string
	for _, f := range failures[:min(len(failures), most)] {
		messages = append(messages, f.message)
	}
	if n := len(failures) - most; n > 0 {
		messages = append(messages, fmt.Sprintf("and %d more", n))
	}
	return Condition{Type: kind, Status: "False", Reason: failures[0].reason, Message: strings.Join(messages, "; ")}
}
