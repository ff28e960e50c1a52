package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// Reasons of what has CA certificates (Gateway API, BackendTLSPolicy and Listener).
const (
	ReasonInvalidCACertificateRef     = "InvalidCACertificateRef"
	ReasonNoValidCACertificate        = "NoValidCACertificate"
	ReasonInvalidClientCertificateRef = "InvalidClientCertificateRef"
)

// tlsPort is a port of a service, by name; "" is all of them.
type tlsPort struct {
	service model.ServiceName
	port    string
}

// backendTLS is what a BackendTLSPolicy comes to.
type backendTLS struct {
	by      ResourceKey
	tls     *model.UpstreamTLS
	invalid string // why nothing may be sent: a CA certificate is missing
}

// trust is what certificates are verified by.
type trust struct {
	ca, revoked string // PEM
}

// authorities returns the certificates of ConfigMaps and Secrets as one PEM text, with the lists of those that they have
// revoked (the key ca.crl, which is Weft's), and why some of them are not there.
func (c *standalone) authorities(r *Resource, kind string, refs []gateway.ObjectRef) (out trust, failures []failure) {
	fail := func(at gateway.Position, reason, message, remedy string) {
		failures = append(failures, failure{reason, message})
		c.warn(r, at, message, remedy)
	}
	from := gateway.GrantFrom{Group: gateway.Group, Kind: kind, Namespace: r.Key.Namespace}
	for _, ref := range refs {
		what := ref.Kind + " " + ref.Object.String()
		t, found := c.authority(ref)
		switch {
		case !c.granted(from, ref.Object.Namespace, gateway.GrantTo{Kind: ref.Kind, Name: ref.Object.Name}):
			fail(ref.At, ReasonRefNotPermitted, fmt.Sprintf("the %s is in another namespace than the %s", what, kind),
				"allow it with a ReferenceGrant in namespace "+ref.Object.Namespace)
			continue
		case !found:
			fail(ref.At, ReasonInvalidCACertificateRef, "there is no "+what, "")
			continue
		}
		if err := gateway.CheckAuthorities(t.ca); err != nil {
			fail(ref.At, ReasonInvalidCACertificateRef, fmt.Sprintf("the %s cannot be used: %v", what, err), "its key ca.crt wants certificates in PEM")
			continue
		}
		if t.revoked != "" {
			lists, err := model.ParseRevocations(t.revoked)
			if err != nil {
				fail(ref.At, ReasonInvalidCACertificateRef, fmt.Sprintf("the %s cannot be used: %v", what, err), "its key ca.crl wants lists of revoked certificates in PEM")
				continue
			}
			if message, remedy := ending(c.in.Now, lists.Expires()); message != "" {
				c.warn(r, ref.At, fmt.Sprintf("a list of revoked certificates of the %s %s", what, message), remedy)
			}
			out.revoked += strings.TrimSpace(t.revoked) + "\n"
		}
		out.ca += strings.TrimSpace(t.ca) + "\n"
	}
	return out, failures
}

// authority returns what a ConfigMap or Secret has, and whether it is there.
func (c *standalone) authority(ref gateway.ObjectRef) (t trust, found bool) {
	if ref.Kind == kindSecret {
		if r := c.secrets[ref.Object]; r != nil {
			s := r.body.(*gateway.Secret)
			return trust{s.CA, s.Revoked}, true
		}
		return t, false
	}
	if r := c.configs[ref.Object]; r != nil {
		m := r.body.(*gateway.ConfigMap)
		return trust{m.CA, m.Revoked}, true
	}
	return t, false
}

// verifyClients finds the CA certificates by which clients of an HTTPS listener are verified. A listener whose CA
// certificates are all missing is closed: to serve without would let everybody in.
func (c *standalone) verifyClients(g *gate) {
	v, ok := g.edge.spec.ClientsOn[g.spec.Port]
	if !ok {
		v = g.edge.spec.Clients
	}
	if v == nil {
		return
	}
	owner := g.edge
	if owner.parent != nil {
		owner = owner.parent // where the references are written
	}
	ca, failures := c.authorities(owner.resource, "Gateway", v.CAs)
	g.refused(failures...)
	if g.clientCA, g.clientMode = ca.ca, v.Mode; ca.revoked != "" && v.Mode.Verifies() {
		g.clientChecks = &model.ClientChecks{Revoked: ca.revoked}
	}
	if ca.ca != "" {
		return
	}
	g.closed = true
	message := fmt.Sprintf("listener %s has no CA certificate to verify its clients by and is not served", g.name())
	f := failure{ReasonListenersNotValid, message}
	g.bad, g.edge.bad = append(g.bad, f), append(g.edge.bad, f)
	c.warn(g.edge.resource, g.spec.At, message, "")
}

// backendTLS reads the BackendTLSPolicies. Of two for one target the first has effect.
func (c *standalone) backendTLS(resources []Resource) {
	var client *model.Certificate
	looked := false
	for i := range resources {
		r := &resources[i]
		policy, ok := r.body.(*gateway.BackendTLS)
		if !ok {
			continue
		}
		if !looked {
			client, looked = c.clientCertificate(), true
		}
		ca, refs := c.authorities(r, r.Key.Kind, policy.CAs)
		b := &backendTLS{by: r.Key, tls: &model.UpstreamTLS{Hostname: policy.Hostname, CA: ca.ca, Revoked: ca.revoked, Names: policy.Names, Certificate: client, OfGateway: c.joined}}
		var failures []failure
		if len(refs) > 0 {
			b.invalid = ReasonInvalidCACertificateRef + ": " + refs[0].message
		}
		if len(policy.CAs) > 0 && ca.ca == "" {
			failures = append(failures, failure{ReasonNoValidCACertificate, "no CA certificate of the policy can be used"})
		}
		for _, t := range policy.Targets {
			if f, remedy := c.secure(t, b); f != nil {
				failures = append(failures, *f)
				c.warn(r, t.At, f.message, remedy)
			}
		}
		c.out.Status[r.Key] = []Condition{
			newCondition(ConditionAccepted, ReasonAccepted, failures),
			newCondition(ConditionResolvedRefs, ReasonResolvedRefs, refs),
		}
	}
}

// secure has a target reached over TLS, or says why not.
func (c *standalone) secure(t gateway.TLSTarget, b *backendTLS) (f *failure, remedy string) {
	ports, ok := c.portsOf(t.Service)
	if !ok {
		return &failure{ReasonTargetNotFound, "there is no Service " + t.Service.String()}, c.nearest(t.Service)
	}
	key := tlsPort{t.Service, t.Port}
	if t.Port != "" && !slices.ContainsFunc(ports, func(p gateway.ServicePort) bool { return p.Name == t.Port }) {
		var names []string
		for _, p := range ports {
			names = append(names, fmt.Sprintf("%q", p.Name))
		}
		return &failure{ReasonTargetNotFound, fmt.Sprintf("service %s has no port named %q", t.Service, clip(t.Port))}, "its ports are named " + some(names)
	}
	if first := c.tls[key]; first != nil {
		return &failure{ReasonConflicted, fmt.Sprintf("%s is of %s already", t.Service, first.by)}, "keep one policy for a target"
	}
	c.tls[key] = b
	return nil, ""
}

// clientCertificate returns the certificate that backends are shown: that of the Gateways, which have to agree
// because they share their connections. Nil is none.
func (c *standalone) clientCertificate() *model.Certificate {
	var out *model.Certificate
	var first *edge
	for _, e := range c.order {
		ref := e.spec.ClientCertificate
		if ref == nil || e.parent != nil {
			continue
		}
		cert := c.clientCertificateOf(e)
		switch {
		case cert == nil:
		case out == nil:
			out, first = cert, e
		case *out != *cert:
			c.report(e.resource, ref.At, fmt.Sprintf("backends are shown the certificate of Gateway %s already", first.resource.Key.Name),
				"Gateways of one process show one: write the same, or run them apart", false)
		}
	}
	return out
}

// clientCertificateOf returns the certificate of the Secret that a Gateway names for its backends; nil when it cannot
// be used.
func (c *standalone) clientCertificateOf(e *edge) *model.Certificate {
	ref := e.spec.ClientCertificate
	g := &gate{edge: e, spec: &gateway.Listener{Name: "(client certificate)"}}
	refs := len(e.refs)
	if cert, ok := c.secretOf(g, *ref); ok {
		c.accept(g, ref.At, "the Secret "+ref.Secret.String(), cert)
	}
	for i := refs; i < len(e.refs); i++ {
		if e.refs[i].reason == ReasonInvalidCertificateRef {
			e.refs[i].reason = ReasonInvalidClientCertificateRef
		}
	}
	if len(g.certificates) == 0 {
		return nil
	}
	return &g.certificates[0]
}

// portsOf returns the ports of a service, and whether there is one.
func (c *standalone) portsOf(n model.ServiceName) ([]gateway.ServicePort, bool) {
	if c.joined {
		ports, ok := c.named[n]
		return ports, ok
	}
	r := c.services[n]
	if r == nil {
		return nil, false
	}
	return r.body.(*gateway.Service).Ports, true
}

// serviceUpstream is how a service is reached, nil when nothing is said. What cannot be used says so, and nothing is sent.
func (c *standalone) serviceUpstream(name model.ServiceName) *model.Upstream {
	var out model.Upstream
	found := false
	use := func(b *backendTLS) model.UpstreamTLS {
		if !found {
			out.Ref, found = b.ref(), true
		}
		tls := *b.tls
		tls.Invalid = b.invalid
		return tls
	}
	if b := c.tls[tlsPort{service: name}]; b != nil {
		tls := use(b)
		out.TLS = &tls
	}
	ports, _ := c.portsOf(name)
	for _, p := range ports {
		if b := c.tls[tlsPort{name, p.Name}]; b != nil && p.Name != "" && p.Protocol != model.UDP {
			tls := use(b)
			tls.Ports = []uint16{p.Number}
			out.PortTLS = append(out.PortTLS, tls)
		}
	}
	if !found {
		return nil
	}
	return &out
}

func (b *backendTLS) ref() model.PolicyRef {
	return model.PolicyRef{Kind: b.by.Kind, Namespace: b.by.Namespace, Name: b.by.Name}
}

// portTLS returns the policy of a port alone, and that of its whole service when the port has none.
func (c *standalone) portTLS(name model.ServiceName, port uint16) (own, whole *backendTLS) {
	ports, _ := c.portsOf(name)
	for _, p := range ports {
		if p.Number == port && p.Name != "" {
			own = c.tls[tlsPort{name, p.Name}]
		}
	}
	return own, c.tls[tlsPort{service: name}]
}

// withoutTLS says why nothing may be sent to a port: its policy wants TLS that cannot be. c may be nil.
func (c *standalone) withoutTLS(name model.ServiceName, port uint16) string {
	if c == nil {
		return ""
	}
	own, whole := c.portTLS(name, port)
	switch {
	case own != nil:
		return own.invalid
	case whole != nil:
		return whole.invalid
	}
	return ""
}
