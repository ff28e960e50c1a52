package config

import (
	"fmt"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// backendTLS reads the BackendTLSPolicies of a mesh, which say how endpoints outside it are reached, by its gateways
// and by sidecars.
func (c *compiler) backendTLS(resources []Resource) {
	any := false
	for i := range resources {
		if _, ok := resources[i].body.(*gateway.BackendTLS); ok {
			any = true
		}
	}
	if !any {
		return
	}
	t := newStandalone(StandaloneInput{}, &Standalone{Snapshot: &model.Snapshot{}, Status: c.mesh.Status})
	t.joined, t.named = true, c.namedPorts(resources)
	t.collect(resources) // its Gateways stay closed: ConfigMaps, Secrets and grants are wanted
	for n := range t.named {
		t.names[n.Namespace] = append(t.names[n.Namespace], n.Name)
	}
	c.tls = t
	t.backendTLS(resources)
	for n := range t.named {
		if up := t.serviceUpstream(n); up != nil {
			c.mesh.Services[n].Upstream = up
		}
	}
	c.warnInMesh(resources)
}

// namedPorts returns the ports of all services with the names that they were declared with.
func (c *compiler) namedPorts(resources []Resource) map[model.ServiceName][]gateway.ServicePort {
	out := make(map[model.ServiceName][]gateway.ServicePort, len(c.mesh.Services))
	for n, s := range c.mesh.Services {
		ports := make([]gateway.ServicePort, len(s.Ports))
		for i, p := range s.Ports {
			ports[i].Port = p
		}
		out[n] = ports
	}
	name := func(n model.ServiceName, number uint16, name string) {
		for i := range out[n] {
			if out[n][i].Number == number {
				out[n][i].Name = name
			}
		}
	}
	for i := range resources {
		switch body := resources[i].body.(type) {
		case *gateway.Service:
			for _, p := range body.Ports {
				name(model.ServiceName{Namespace: resources[i].Key.Namespace, Name: resources[i].Key.Name}, p.Number, p.Name)
			}
		case *istio.ServiceEntry:
			for _, h := range body.Hosts {
				for _, p := range body.Ports {
					name(entryName(h.Name, body.Namespace), p.Number, p.Name)
				}
			}
		}
	}
	return out
}

// warnInMesh tells of policies that change nothing, or not for everybody.
func (c *compiler) warnInMesh(resources []Resource) {
	for i := range resources {
		r := &resources[i]
		policy, ok := r.body.(*gateway.BackendTLS)
		if !ok {
			continue
		}
		for _, t := range policy.Targets {
			b, s := c.tls.tls[tlsPort{t.Service, t.Port}], c.mesh.Services[t.Service]
			switch {
			case b == nil || b.by != r.Key || s == nil:
			case meshEndpoints(s):
				c.warn(r, t.At, fmt.Sprintf("has no effect on the endpoints of %s that are of the mesh: they are reached by its own TLS always", s.Name), "remove it")
			}
		}
	}
}

// finishTLS gives the compilation what is wrong with the BackendTLSPolicies.
func (c *compiler) finishTLS() {
	if c.tls == nil {
		return
	}
	for _, p := range c.tls.problems.Distinct() {
		p.Warning = true
		c.warnings = append(c.warnings, p)
	}
}

// clientCertificates finds what the proxies of each Gateway show to backends outside the mesh.
func (e *meshEdge) clientCertificates() {
	for _, g := range e.order {
		if g.parent != nil || g.spec.ClientCertificate == nil {
			continue
		}
		if cert := e.clientCertificateOf(g); cert != nil {
			e.c.mesh.clientCertificates[g.objectName()] = cert
		}
	}
}

// ClientCertificate is what the proxies of a Gateway show to backends outside the mesh; nil is nothing.
func (m *Mesh) ClientCertificate(namespace, name string) *model.Certificate {
	return m.clientCertificates[gateway.ObjectName{Namespace: namespace, Name: name}]
}
