package config

import (
	"fmt"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// credential has a service reached with the Secret that a DestinationRule names: its CA goes to whoever reaches the
// service, its certificate by name alone, for who may have it depends on the proxy (xds.Mesh.Secret). It is looked for in
// the rule's namespace, then in Istio's own. What is missing is warned of, and nothing is sent without it.
func (c *istioCompiler) credential(r *Resource, files *istio.TLSFiles, out *model.UpstreamTLS) {
	if files.Secret == "" {
		return
	}
	name := gateway.ObjectName{Namespace: r.Key.Namespace, Name: files.Secret}
	if c.secrets[name] == nil && c.secrets[gateway.ObjectName{Namespace: istioRoot, Name: files.Secret}] != nil {
		name.Namespace = istioRoot
	}
	fail := func(message, remedy string) {
		out.Invalid = message
		if c.warnOnce(r, files.At, message, remedy) {
			c.refs[r.Key] = append(c.refs[r.Key], failure{ReasonInvalidCertificateRef, message})
		}
	}
	for _, n := range []string{name.Name, name.Name + "-cacert"} {
		if s := c.secrets[gateway.ObjectName{Namespace: name.Namespace, Name: n}]; s != nil && s.CA != "" {
			out.CA, out.Revoked = s.CA, s.Revoked
			break
		}
	}
	secret := c.secrets[name]
	switch {
	case !files.Mutual && out.CA == "":
		fail(fmt.Sprintf("there is no Secret %s with ca.crt", name), "write it, or leave credentialName out: the system's CAs are believed")
	case !files.Mutual:
	case secret == nil:
		fail("there is no Secret "+name.String(), "apply it: a Secret of type kubernetes.io/tls, with ca.crt beside, unless the system's CAs are believed")
	case !secret.TLS:
		fail(fmt.Sprintf("the Secret %s is not of type kubernetes.io/tls", name), "write tls.crt and tls.key, and the type")
	default:
		out.Secret = name.String()
		if c.mesh.secrets == nil {
			c.mesh.secrets = map[string]*model.Certificate{}
		}
		c.mesh.secrets[out.Secret] = &secret.Certificate
	}
}

// Secret is the certificate of a Secret, "namespace/name", that a DestinationRule has services reached with; nil if there
// is none. Who may have it is for the caller to say.
func (m *Mesh) Secret(name string) *model.Certificate { return m.secrets[name] }
