package gateway

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// keyCA is the key of a ConfigMap that has a CA's certificates (Gateway API, caCertificateRefs).
const keyCA = "ca.crt"

// coreConfigMap is what is read of a core/v1 ConfigMap.
type coreConfigMap struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata"`
	Immutable         any            `json:"immutable"`
	Data              map[string]any `json:"data"`
	BinaryData        any            `json:"binaryData"`
}

// ConfigMap is a checked core ConfigMap. Only its CA certificates are kept, and the lists of those that the CA has revoked.
type ConfigMap struct {
	CA      string // PEM; "" when it has none
	Revoked string // PEM
	At      Position
}

// ParseConfigMap checks a core/v1 ConfigMap. What it has under other keys than ca.crt and ca.crl is not looked at.
func ParseConfigMap(d *document.Document) (*ConfigMap, document.Problems) {
	c := &checker{doc: d}
	var in coreConfigMap
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	out := &ConfigMap{At: c.position(document.Path("metadata", "name"))}
	at := document.Path("data", keyCA)
	switch v := in.Data[keyCA].(type) {
	case nil:
	case string:
		out.CA, out.At = v, c.position(at)
	default:
		c.add(at, "wants a string", "write the certificates as PEM, after a |")
	}
	switch v := in.Data[keyRevoked].(type) {
	case nil:
	case string:
		out.Revoked = v
	default:
		c.add(document.Path("data", keyRevoked), "wants a string", "write the lists as PEM, after a |")
	}
	return out, c.problems
}
