package config

import (
	"cmp"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
)

// Kind describes a kind of resource and the names by which users ask for it.
type Kind struct {
	Name     string   // "HTTPRoute"
	Group    string   // "gateway.networking.k8s.io"; "" is the core group
	Versions []string // accepted; the first is the one written
	Plural   string   // "httproutes"
	Short    []string

	parse func(*document.Document) (any, document.Problems)
	key   string // that tells it from another kind of the same name; "" is Name
	seal  bool   // its text is not to be shown, nor to be stored as it is: see Resource.Private
}

// Key is what a ResourceKey calls the kind: its name, with the group where another kind has the name too.
func (k Kind) Key() string { return cmp.Or(k.key, k.Name) }

// APIVersion returns the version in which resources of the kind are written.
func (k Kind) APIVersion() string { return k.apiVersion(k.Versions[0]) }

func (k Kind) apiVersion(version string) string {
	if k.Group == "" {
		return version
	}
	return k.Group + "/" + version
}

// Kinds returns the kinds that can be applied, by name.
func Kinds() []Kind {
	out := append(routeKinds(gateway.InMesh), policyKind(), Kind{
		Name: "ReferenceGrant", Group: gateway.Group, Versions: []string{"v1", "v1beta1"}, Plural: "referencegrants", Short: []string{"refgrant"},
		parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseReferenceGrant(d) },
	}, Kind{
		Name: "Service", Versions: []string{"v1"}, Plural: "services", Short: []string{"svc"},
		parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseService(d, gateway.InMesh) },
	})
	out = append(append(append(out, listenerKinds()...), istioKinds()...), secretKind(), backendTLSKind())
	slices.SortStableFunc(out, func(a, b Kind) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

// routeKinds returns the kinds of the Gateway API's routes.
func routeKinds(place gateway.Place) []Kind {
	const group = gateway.Group
	return []Kind{
		{
			Name: "GRPCRoute", Group: group, Versions: []string{"v1"}, Plural: "grpcroutes",
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseGRPCRoute(d, place) },
		},
		{
			Name: "HTTPRoute", Group: group, Versions: []string{"v1", "v1beta1"}, Plural: "httproutes",
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseHTTPRoute(d, place) },
		},
		{
			Name: "TCPRoute", Group: group, Versions: []string{"v1", "v1alpha2"}, Plural: "tcproutes",
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseTCPRoute(d, place) },
		},
		{
			Name: "TLSRoute", Group: group, Versions: []string{"v1", "v1alpha3", "v1alpha2"}, Plural: "tlsroutes",
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseTLSRoute(d, place) },
		},
		{
			Name: "UDPRoute", Group: group, Versions: []string{"v1", "v1alpha2"}, Plural: "udproutes",
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseUDPRoute(d, place) },
		},
	}
}

// listenerKinds returns the kinds that say what gateways listen on.
func listenerKinds() []Kind {
	const group = gateway.Group
	return []Kind{
		{
			Name: "Gateway", Group: group, Versions: []string{"v1", "v1beta1"}, Plural: "gateways", Short: []string{"gtw"},
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseGateway(d) },
		},
		{
			Name: "GatewayClass", Group: group, Versions: []string{"v1", "v1beta1"}, Plural: "gatewayclasses", Short: []string{"gc"},
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseGatewayClass(d) },
		},
		{
			Name: kindListenerSet, Group: group, Versions: []string{"v1"}, Plural: "listenersets", Short: []string{"lset"},
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseListenerSet(d) },
		},
		{
			Name: "Namespace", Versions: []string{"v1"}, Plural: "namespaces", Short: []string{"ns"},
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseNamespace(d) },
		},
		{
			Name: "ConfigMap", Versions: []string{"v1"}, Plural: "configmaps", Short: []string{"cm"},
			parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseConfigMap(d) },
		},
	}
}

// standaloneKinds returns the kinds of a gateway without a control plane, by name.
func standaloneKinds() []Kind {
	const group = gateway.Group
	return append(append(append(routeKinds(gateway.InStandalone), listenerKinds()...), []Kind{
		backendTLSKind(),
		{Name: "EndpointSlice", Group: "discovery.k8s.io", Versions: []string{"v1"}, parse: func(d *document.Document) (any, document.Problems) {
			return gateway.ParseEndpointSlice(d)
		}},
		{Name: "ReferenceGrant", Group: group, Versions: []string{"v1", "v1beta1"}, parse: func(d *document.Document) (any, document.Problems) {
			return gateway.ParseReferenceGrant(d)
		}},
		{Name: kindSecret, Versions: []string{"v1"}, parse: func(d *document.Document) (any, document.Problems) {
			return gateway.ParseSecret(d)
		}},
		{Name: "Service", Versions: []string{"v1"}, parse: func(d *document.Document) (any, document.Problems) {
			return gateway.ParseService(d, gateway.InStandalone)
		}},
		policyKind(),
	}...), istioKinds()...)
}

// backendTLSKind is the kind of BackendTLSPolicies.
func backendTLSKind() Kind {
	return Kind{
		Name: "BackendTLSPolicy", Group: gateway.Group, Versions: []string{"v1", "v1alpha3"}, Plural: "backendtlspolicies", Short: []string{"btlspolicy"},
		parse: func(d *document.Document) (any, document.Problems) { return gateway.ParseBackendTLSPolicy(d) },
	}
}

// kindSecret is the kind whose text is not kept.
const kindSecret = "Secret"

// LookupKind finds a kind by name, plural or short name in any letter case, with or without its group
// ("httproutes.gateway.networking.k8s.io").
func LookupKind(name string) (Kind, bool) {
	name = strings.ToLower(name)
	for _, k := range Kinds() {
		names := append([]string{strings.ToLower(k.Name), k.Plural}, k.Short...)
		if base, group, ok := strings.Cut(name, "."); ok && group == k.Group {
			if slices.Contains(names, base) || slices.Contains(names, base+"."+group) {
				return k, true
			}
		}
		if slices.Contains(names, name) {
			return k, true
		}
	}
	return Kind{}, false
}

// KindOf finds the kind of a document. ok is false for documents that cannot be applied.
func KindOf(name, apiVersion string) (Kind, bool) {
	for _, k := range Kinds() {
		for _, v := range k.Versions {
			if k.Name == name && k.apiVersion(v) == apiVersion {
				return k, true
			}
		}
	}
	return Kind{}, false
}
