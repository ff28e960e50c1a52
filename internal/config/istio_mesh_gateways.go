package config

import (
	"maps"
	"net/netip"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/config/istio"
	"github.com/weft-mesh/weft/internal/model"
)

// selectedSockets are those of Istio's Gateways with one selector: they are opened by every proxy of a gateway that
// has its labels.
type selectedSockets struct {
	selector map[string]string
	sockets  []model.Socket      // with no address where a server binds none
	secrets  map[string][]string // listener name -> the namespaces whose Secrets its certificates are from
}

// istio compiles Istio's Gateways. Those with the same selector are compiled together, as a standalone gateway with
// just these labels would; the services are the mesh's.
func (e *meshEdge) istio(rules *istioCompiler, resources []Resource) {
	groups := map[string][]*Resource{}
	e.c.mesh.selectors = map[gateway.ObjectName]map[string]string{}
	x := &istioEdge{standalone: e.standalone, rules: rules, bound: map[*Resource]bool{}, outside: map[model.ServiceName]bool{}}
	for i := range resources {
		r := &resources[i]
		switch body := r.body.(type) {
		case *istio.Gateway:
			key := labelText(body.Selector)
			groups[key] = append(groups[key], r)
			e.c.mesh.selectors[gateway.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = selectorOr(body.Selector)
		case *istio.VirtualService:
			x.virtual = append(x.virtual, r)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(groups)) {
		own := *x
		own.sockets = map[netip.AddrPort]*istioSocket{}
		for _, r := range groups[key] {
			own.servers(r, r.body.(*istio.Gateway))
		}
		own.fillAll()
		e.c.mesh.selected = append(e.c.mesh.selected, own.selected(groups[key][0].body.(*istio.Gateway).Selector))
	}
	for _, r := range x.virtual {
		x.meshStatus(r)
	}
}

// selected returns the sockets of one group of Gateways.
func (e *istioEdge) selected(selector map[string]string) selectedSockets {
	out := selectedSockets{selector: selector, secrets: map[string][]string{}}
	for _, at := range slices.SortedFunc(maps.Keys(e.sockets), netip.AddrPort.Compare) {
		s := e.sockets[at]
		for _, ln := range s.listeners {
			for _, server := range ln.servers {
				out.secrets[ln.Name] = append(out.secrets[ln.Name], e.secretsOf(server)...)
			}
		}
		if socket := s.socket(at); len(socket.Listeners) > 0 {
			out.sockets = append(out.sockets, socket)
		}
	}
	return out
}

// secretsOf returns the namespaces of the Secrets that a server names.
func (e *istioEdge) secretsOf(s istioServer) (out []string) {
	for _, k := range s.server.Keys {
		if k.Secret != "" {
			out = append(out, e.secretNamespace(s.resource.Key.Namespace, k.Secret))
		}
	}
	return out
}

// secretNamespace is where a Secret is looked for: in the namespace of the Gateway, and in a mesh, when it has none of
// that name, in Istio's own, as Istio's documentation has it (Secure Gateways).
func (e *istioEdge) secretNamespace(own, name string) string {
	has := func(namespace string) bool {
		return e.secrets[gateway.ObjectName{Namespace: namespace, Name: name}] != nil
	}
	if e.joined && name != "" && !has(own) && has(istioRoot) {
		return istioRoot
	}
	return own
}

// meshStatus says what became of a VirtualService at the Gateways it names.
func (e *istioEdge) meshStatus(r *Resource) {
	v := r.body.(*istio.VirtualService)
	if len(v.Hosts) == 0 || len(outerGateways(v)) == 0 || e.bound[r] {
		return
	}
	message, remedy := e.whyUnbound(v)
	e.warn(r, v.Hosts[0].At, message, remedy)
	e.out.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, []failure{{ReasonNoMatchingParent, message}})}
}

// ungated says of VirtualServices that name Gateways when the mesh has none.
func (c *istioCompiler) ungated(resources []Resource) {
	for i := range resources {
		r := &resources[i]
		v, ok := r.body.(*istio.VirtualService)
		if !ok || len(v.Hosts) == 0 || len(outerGateways(v)) == 0 {
			continue
		}
		message := "there is no Gateway " + some(outerGateways(v))
		c.warnOnce(r, v.Hosts[0].At, message, "write the Gateway, or its name as namespace/name")
		c.mesh.Status[r.Key] = []Condition{newCondition(ConditionAccepted, ReasonAccepted, []failure{{ReasonNoMatchingParent, message}})}
	}
}

// spoken is what a server speaks, for messages.
func spoken(k model.SocketKind, mesh bool) string {
	if mesh {
		return string(k) + " by the mesh's own TLS"
	}
	return string(k)
}

// Selected returns what a gateway's proxy with these labels listens on by Istio's Gateways: those whose selectors it
// has (Istio, Gateway.selector). A listener whose private key is from a Secret is for proxies of the Secret's
// namespace, and of Istio's own, alone: labels are what a proxy says of itself, its namespace is proven.
func (m *Mesh) Selected(labels map[string]string, namespace string, bind []netip.Addr) []model.Socket {
	at := map[netip.AddrPort]*model.Socket{}
	for _, group := range m.selected {
		if !hasAll(labels, group.selector) {
			continue
		}
		for _, s := range group.sockets {
			s.Listeners = slices.DeleteFunc(slices.Clone(s.Listeners), func(ln model.Listener) bool {
				return namespace != istioRoot && slices.ContainsFunc(group.secrets[ln.Name], func(ns string) bool { return ns != namespace })
			})
			if old := at[s.Address]; old != nil {
				joinSockets(old, &s)
			} else if len(s.Listeners) > 0 {
				at[s.Address] = &s
			}
		}
	}
	out := make([]model.Socket, 0, len(at))
	for _, s := range at {
		out = append(out, *s)
	}
	return placed(out, bind)
}

// selectorOr makes a selector of everything one that is there.
func selectorOr(in map[string]string) map[string]string {
	if in == nil {
		return map[string]string{}
	}
	return in
}

// Selector returns the labels that a Gateway of Istio's dialect selects; nil when there is none of that name.
func (m *Mesh) Selector(namespace, name string) map[string]string {
	return m.selectors[gateway.ObjectName{Namespace: namespace, Name: name}]
}

// SelectedBy returns the sockets of the Gateways with exactly this selector, with no address where a server binds none.
func (m *Mesh) SelectedBy(selector map[string]string) []model.Socket {
	for _, group := range m.selected {
		if maps.Equal(group.selector, selector) {
			return group.sockets
		}
	}
	return nil
}

// hasAll reports whether labels have all that a selector asks for.
func hasAll(labels, selector map[string]string) bool {
	for k, want := range selector {
		if v, ok := labels[k]; !ok || v != want {
			return false
		}
	}
	return true
}

// joinSockets adds to a socket the listeners of another one at the same address, of Gateways with another selector.
// Of two for one host the first stays, with the rules of both where they are for HTTP.
func joinSockets(into, from *model.Socket) {
	if into.Mesh != from.Mesh || into.Kind != from.Kind && (into.Mesh || !mix(into.Kind, from.Kind)) {
		return
	}
	for _, ln := range from.Listeners {
		i := slices.IndexFunc(into.Listeners, func(have model.Listener) bool { return have.Hostname == ln.Hostname })
		switch {
		case i < 0:
			into.Add(ln, from.KindOf(&ln))
		case into.Kind == model.SocketHTTP:
			into.Listeners[i].Rules = append(slices.Clip(into.Listeners[i].Rules), ln.Rules...)
		}
	}
}
