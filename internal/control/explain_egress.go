package control

import (
	"fmt"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// detour shows the way of a request that leaves the mesh by a gateway: to one of its proxies, and from there outside.
func (e *explanation) detour(s *model.Service, port uint16, subset map[string]string, up *model.Upstream) {
	g := up.EgressGateway()
	if !slices.Contains(e.asked, g) && len(e.asked) < maxAskedFor {
		e.asked = append(e.asked, g)
	}
	ref := policyRef(up.Ref)
	there := 0
	through := e.mesh.Services[g]
	for i := 0; through != nil && i < len(through.Endpoints); i++ {
		if ep := &through.Endpoints[i]; !ep.Plain && !ep.Draining {
			there++
			e.step("egress", true, fmt.Sprintf("%s at %s (%s)", ep.ID, ep.Place(), ep.Identity), "a proxy of the gateway "+g.String()+": may be picked, by mTLS", ref)
		}
	}
	if there == 0 {
		e.step("egress", false, "gateway "+g.String(), s.Name.String()+" leaves the mesh by it, and none of its proxies is there: 503, nothing goes another way", ref)
		e.out.Outcome = "503: the egress gateway " + g.String() + " is not there"
		return
	}
	e.within = "at the gateway: "
	e.upstream(s, up)
	e.endpoints(s, port, subset, up)
	e.within = ""
	if e.out.Outcome == "" {
		e.out.Outcome = "sent to " + s.Name.String() + " by the egress gateway " + g.String()
	}
}

// named finds the service of a host: SERVICE.NAMESPACE, or a host outside of which a ServiceEntry makes one, in the
// client's namespace before others.
func (e *explanation) named(host, client string) (model.ServiceName, *model.Service) {
	svc, ns, ok := strings.Cut(strings.TrimSuffix(host, ".mesh"), ".")
	if !ok {
		ns = "default"
	}
	name := model.ServiceName{Namespace: ns, Name: svc}
	if s := e.mesh.Services[name]; s != nil {
		return name, s
	}
	host = strings.ToLower(host)
	if own := (model.ServiceName{Namespace: client, Name: host}); e.mesh.Services[own] != nil {
		return own, e.mesh.Services[own]
	}
	found := model.ServiceName{}
	for n := range e.mesh.Services {
		if n.Name == host && (found.IsZero() || n.Namespace < found.Namespace) {
			found = n
		}
	}
	if found.IsZero() {
		return name, nil
	}
	return found, e.mesh.Services[found]
}

// called is how programs call a service: its host, or its name and namespace.
func called(n model.ServiceName) string {
	if strings.Contains(n.Name, ".") {
		return n.Name
	}
	return n.Name + "." + n.Namespace
}
