package control

import (
	"fmt"
	"strings"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// failedRegistryOnly is the flag of a call to what is no service, where a Sidecar refuses that.
const failedRegistryOnly = "registry_only"

// labelsOf returns the labels of a workload of the client service, as its proxy or endpoint has them. Of several the
// first by ID counts; nil if none is there.
func (a *admin) labelsOf(client string) map[string]string {
	for _, p := range a.s.xds.Proxies() {
		if p.Identity.Namespace+"/"+p.Node.GetService() == client {
			return p.Node.GetLabels()
		}
	}
	var name model.ServiceName
	if name.UnmarshalText([]byte(client)) == nil {
		if s := a.s.mesh.Load().Services[name]; s != nil && len(s.Endpoints) > 0 {
			return s.Endpoints[0].Labels
		}
	}
	return nil
}

// unseen explains a call to a service that a Sidecar keeps from the client, and reports whether one does.
func (e *explanation) unseen(name model.ServiceName, client string) bool {
	if client == "" {
		return false
	}
	by, hidden := e.mesh.Unseen(client, e.labels, name)
	if !hidden {
		return false
	}
	e.step("resolve", false, "service "+name.String(), "the client does not see it: no host in egress of "+by.String()+" stands for it", policyRef(by))
	if !e.outside(called(name), client) {
		e.out.Outcome = "502 no_service: the service is unknown to the client; its connections to the service's address are refused"
	}
	return true
}

// outside explains a call to what is no service of the client's, and reports whether a Sidecar refuses it.
func (e *explanation) outside(host, client string) bool {
	out, _ := e.mesh.Sidecar(client, e.labels)
	if client == "" || out == nil || !out.RegistryOnly {
		return false
	}
	e.step("resolve", false, host, "is no service that the client may call, and outboundTrafficPolicy of "+out.Ref.String()+" is REGISTRY_ONLY", policyRef(out.Ref))
	e.out.Outcome = "502 registry_only, or a reset where it is not HTTP: write a ServiceEntry for " + host + ", or mode: ALLOW_ANY"
	return true
}

// refusedOutside explains a request that a proxy refused because it was for no service.
func (e *explanation) refusedOutside(ev *discoveryv1.TapEvent) {
	host, _, _ := strings.Cut(ev.GetAuthority(), ":")
	if client := clientNamespace(ev.GetSource()); !e.outside(host, client) {
		e.step("resolve", false, host, fmt.Sprintf("was no service that the client might call, by a Sidecar of namespace %s; now it may", client), model.RuleRef{})
	}
}
