package gateway

import (
	"maps"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// Class is a checked GatewayClass. Nothing is read of it: Gateways of class weft are served without.
type Class struct{}

// ParseGatewayClass checks a GatewayClass.
func ParseGatewayClass(d *document.Document) (*Class, document.Problems) {
	c := &checker{doc: d}
	var in v1.GatewayClass
	c.problems = d.Decode(&in)
	if in.Spec.ParametersRef != nil {
		c.unsupported(document.Path("spec", "parametersRef"))
	}
	return &Class{}, c.problems
}

// Namespace is a checked core Namespace.
type Namespace struct {
	Labels map[string]string // with that of its name (KEP-2161)
}

// LabelNamespace is the label that every namespace has, with its name (KEP-2161).
const LabelNamespace = "kubernetes.io/metadata.name"

// coreNamespace is what is known of a core/v1 Namespace.
type coreNamespace struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Spec              any `json:"spec"`
}

// ParseNamespace checks a core Namespace.
func ParseNamespace(d *document.Document) (*Namespace, document.Problems) {
	var in coreNamespace
	problems := d.Decode(&in)
	out := &Namespace{Labels: maps.Clone(in.Labels)}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	out.Labels[LabelNamespace] = d.Name
	return out, problems
}
