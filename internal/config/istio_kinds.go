package config

import (
	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/istio"
)

// istioGroup is the group of Istio's resources for traffic.
const istioGroup = "networking.istio.io"

// istioKinds returns the kinds of Istio's dialect that the mesh takes.
func istioKinds() []Kind {
	versions := []string{"v1", "v1beta1", "v1alpha3"}
	return []Kind{
		{
			Name: "DestinationRule", Group: istioGroup, Versions: versions, Plural: "destinationrules", Short: []string{"dr"},
			parse: func(d *document.Document) (any, document.Problems) { return istio.ParseDestinationRule(d) },
		},
		istioGateway(),
		{
			Name: "ServiceEntry", Group: istioGroup, Versions: versions, Plural: "serviceentries", Short: []string{"se"},
			parse: func(d *document.Document) (any, document.Problems) { return istio.ParseServiceEntry(d) },
		},
		{
			Name: "Sidecar", Group: istioGroup, Versions: versions, Plural: "sidecars",
			parse: func(d *document.Document) (any, document.Problems) { return istio.ParseSidecar(d) },
		},
		{
			Name: "VirtualService", Group: istioGroup, Versions: versions, Plural: "virtualservices", Short: []string{"vs"},
			parse: func(d *document.Document) (any, document.Problems) { return istio.ParseVirtualService(d) },
		},
		{
			Name: "WorkloadEntry", Group: istioGroup, Versions: versions, Plural: "workloadentries", Short: []string{"we"},
			parse: func(d *document.Document) (any, document.Problems) { return istio.ParseWorkloadEntry(d) },
		},
	}
}

// istioGateway is the kind of Istio's that only gateways act by. The Gateway API has one of the same name.
func istioGateway() Kind {
	return Kind{
		Name: "Gateway", key: "Gateway." + istioGroup, Group: istioGroup, Versions: []string{"v1", "v1beta1", "v1alpha3"},
		Plural: "gateways." + istioGroup, Short: []string{"igw"},
		parse: func(d *document.Document) (any, document.Problems) { return istio.ParseGateway(d) },
	}
}
