package gateway

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// Admission says from which namespaces something may attach.
type Admission struct {
	From     v1.FromNamespaces     // Same, All, None or Selector
	Selector *metav1.LabelSelector // of namespaces, when From is Selector; it is valid
}

// admission reads from which namespaces something may attach.
func (c *checker) admission(from *v1.FromNamespaces, selector *metav1.LabelSelector, otherwise v1.FromNamespaces, f *document.Field) Admission {
	out := Admission{From: deref(from, otherwise)}
	at := f.Key("selector")
	switch out.From {
	case v1.NamespacesFromSame, v1.NamespacesFromAll, v1.NamespacesFromNone:
		if selector != nil {
			c.add(at, fmt.Sprintf("is given, but from is %s", out.From), "write from: Selector or remove it")
		}
	case v1.NamespacesFromSelector:
		if selector == nil {
			c.add(at, "is missing, and from is Selector", "write the labels of the namespaces, for example matchLabels: {team: web}")
			break
		}
		if _, err := metav1.LabelSelectorAsSelector(selector); err != nil {
			c.add(at, "is no label selector: "+clipTo(err.Error(), 200), "write matchLabels, or matchExpressions with the operators In, NotIn, Exists and DoesNotExist")
			break
		}
		out.Selector = selector
	default:
		c.oneOf(string(out.From), []string{"Same", "All", "Selector", "None"}, f.Key("from"))
	}
	return out
}
