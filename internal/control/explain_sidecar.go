package control

import (
	"strings"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// failedRegistryOnly is the flag of a call to what is no service, where a Sidecar refuses that.
const failedRegistryOnly = "registry_only"

// clientOf returns a workload of the client service, NAMESPACE/NAME, with the labels that its proxy or endpoint has. Of
// several the first by ID counts. A client that is not there has its names alone; "" is nobody's.
func (a *admin) clientOf(client string) *model.Workload {
	w := &model.Workload{Identity: model.Identity{Namespace: clientNamespace(client)}}
	if w.Service.UnmarshalText([]byte(client)) != nil {
		return w
	}
	for _, p := range a.s.xds.Proxies() {
		if p.Identity.Namespace == w.Service.Namespace && p.Node.GetService() == w.Service.Name {
			w.Labels = p.Node.GetLabels()
			return w
		}
	}
	if s := a.s.mesh.Load().Services[w.Service]; s != nil && len(s.Endpoints) > 0 {
		w.Labels = s.Endpoints[0].Labels
	}
	return w
}

// unseen explains a call to a service that a Sidecar keeps from the client, and reports whether one does.
func (e *explanation) unseen(name model.ServiceName) bool {
	by, hidden := e.mesh.Unseen(e.client, name)
	if !hidden || e.client.Identity.Namespace == "" {
		return false
	}
	e.step("resolve", false, "service "+name.String(), "the client does not see it: no host in egress of "+by.String()+" stands for it", policyRef(by))
	if !e.outside(called(name)) {
		e.out.Outcome = "502 no_service: the service is unknown to the client; its connections to the service's address are refused"
	}
	return true
}

// outside explains a call to what is no service of the client's, and reports whether a Sidecar says what becomes of it.
func (e *explanation) outside(host string) bool {
	out, _ := e.mesh.Sidecar(e.client)
	if e.client.Identity.Namespace == "" || out == nil {
		return false
	}
	if b := out.Proxy; b != nil {
		e.step("resolve", true, host, "is no service that the client may call: egressProxy of "+out.Ref.String()+" passes it on", policyRef(out.Ref))
		e.backends(&model.Rule{Ref: policyRef(out.Ref), Backends: []model.Backend{{Service: b.Service, Port: b.Port, Subset: b.Subset, Upstream: b.Upstream, Invalid: b.Invalid, Weight: 1}}}, b.Port)
		if e.out.Outcome == "" {
			e.out.Outcome = "sent to " + b.Service.String()
		}
		return true
	}
	if !out.RegistryOnly {
		return false
	}
	e.step("resolve", false, host, "is no service that the client may call, and outboundTrafficPolicy of "+out.Ref.String()+" is REGISTRY_ONLY", policyRef(out.Ref))
	e.out.Outcome = "502 registry_only, or a reset where it is not HTTP: write a ServiceEntry for " + host + ", or mode: ALLOW_ANY"
	return true
}

// refusedOutside explains a request that a proxy refused because it was for no service.
func (e *explanation) refusedOutside(ev *discoveryv1.TapEvent) {
	host, _, _ := strings.Cut(ev.GetAuthority(), ":")
	if !e.outside(host) {
		e.step("resolve", false, host, "was no service that the client might call, by a Sidecar; now it may", model.RuleRef{})
	}
}
