package gateway

import (
	"fmt"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/model"
)

// Bounds of the schemas of GatewayTLSConfig and BackendTLSPolicy.
const (
	maxPerPort    = 64
	maxClientCAs  = 16
	maxBackendCAs = 8
)

// ClientValidation is how certificates of clients are verified.
type ClientValidation struct {
	Mode model.ClientMode
	CAs  []ObjectRef // ConfigMaps and Secrets with the key ca.crt
}

// ObjectRef is a reference to an object.
type ObjectRef struct {
	Kind   string // "ConfigMap" or "Secret"
	Object ObjectName
	At     Position
}

// gatewayTLS reads what a Gateway says of TLS for all of its listeners, and of TLS to backends.
func (c *checker) gatewayTLS(in *v1.GatewayTLSConfig, out *Gateway, f *document.Field) {
	if in == nil {
		return
	}
	if in.Backend != nil && in.Backend.ClientCertificateRef != nil {
		out.ClientCertificate = c.secretRef(in.Backend.ClientCertificateRef, f.Key("backend").Key("clientCertificateRef"))
	}
	if in.Frontend == nil {
		return
	}
	front := f.Key("frontend")
	if !c.doc.Has(front.Key("default")) {
		c.add(front.Key("default"), "is missing", "write default: {} for no verification, and what differs under perPort")
	}
	out.Clients = c.validation(in.Frontend.Default.Validation, front.Key("default").Key("validation"))
	ports := front.Key("perPort")
	c.atMost(len(in.Frontend.PerPort), maxPerPort, "ports", ports)
	for i := range in.Frontend.PerPort {
		p, at := &in.Frontend.PerPort[i], ports.Index(i)
		port := c.port(&p.Port, at.Key("port"))
		if _, ok := out.ClientsOn[port]; ok && port != 0 {
			c.add(at.Key("port"), fmt.Sprintf("the port %d is here twice", port), "write each port once")
		}
		if out.ClientsOn == nil {
			out.ClientsOn = map[uint16]*ClientValidation{}
		}
		out.ClientsOn[port] = c.validation(p.TLS.Validation, at.Key("tls").Key("validation"))
	}
}

// validation reads how certificates of clients are verified; nil when they are not.
func (c *checker) validation(in *v1.FrontendTLSValidation, f *document.Field) *ClientValidation {
	if in == nil {
		return nil
	}
	out := &ClientValidation{Mode: model.ClientRequired}
	switch in.Mode {
	case "", v1.AllowValidOnly:
	case v1.AllowInsecureFallback:
		out.Mode = model.ClientOptional
	default:
		c.oneOf(string(in.Mode), []string{string(v1.AllowValidOnly), string(v1.AllowInsecureFallback)}, f.Key("mode"))
	}
	refs := f.Key("caCertificateRefs")
	if len(in.CACertificateRefs) == 0 {
		c.add(refs, "is missing or empty", "name a ConfigMap with the key "+keyCA)
	}
	c.atMost(len(in.CACertificateRefs), maxClientCAs, "certificates", refs)
	for i, ref := range in.CACertificateRefs {
		namespace := deref(ref.Namespace, v1.Namespace(c.doc.Namespace))
		if r := c.caRef(string(ref.Group), string(ref.Kind), string(ref.Name), namespace, refs.Index(i)); r != nil {
			out.CAs = append(out.CAs, *r)
		}
	}
	return out
}

// caRef reads a reference to a ConfigMap or Secret with a CA's certificate; nil when it is to something else.
func (c *checker) caRef(group, kind, name string, namespace v1.Namespace, f *document.Field) *ObjectRef {
	if group != "" || kind != "ConfigMap" && kind != "Secret" {
		c.add(f.Key("kind"), fmt.Sprintf("a CA certificate of kind %q in group %q is not supported in this version of Weft", clip(kind), clip(group)), `name a ConfigMap or a Secret: kind: ConfigMap, group: ""`)
		return nil
	}
	return &ObjectRef{Kind: kind, Object: c.objectName(kind, name, namespace, f), At: c.position(f.Key("name"))}
}

// secretRef reads a reference to a Secret; nil when it is to something else.
func (c *checker) secretRef(ref *v1.SecretObjectReference, f *document.Field) *SecretRef {
	if group, kind := deref(ref.Group, ""), deref(ref.Kind, "Secret"); group != "" || kind != "Secret" {
		c.add(f.Key("kind"), fmt.Sprintf("a certificate of kind %q in group %q is not supported in this version of Weft", kind, group), "name a Secret")
		return nil
	}
	return &SecretRef{
		Secret: c.objectName("Secret", string(ref.Name), deref(ref.Namespace, v1.Namespace(c.doc.Namespace)), f),
		At:     c.position(f.Key("name")),
	}
}
