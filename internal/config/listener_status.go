package config

import "maps"

// ListenerStatus is what became of a listener of a Gateway or ListenerSet (Gateway API, ListenerStatus).
type ListenerStatus struct {
	Name       string
	Attached   int // routes whose rules it has
	Conditions []Condition
}

// ConditionListenerConflicted is True of a listener that cannot share its port with another (Gateway API,
// ListenerConditionConflicted), and what for.
const (
	ConditionListenerConflicted = "Conflicted"
	ReasonHostnameConflict      = "HostnameConflict"
	ReasonProtocolConflict      = "ProtocolConflict"
	ReasonNoConflicts           = "NoConflicts"
)

// refused notes a reference of the listener that does not resolve, of its Gateway too.
func (g *gate) refused(failures ...failure) {
	g.refs = append(g.refs, failures...)
	g.edge.refs = append(g.edge.refs, failures...)
}

// status says what became of the listener.
func (g *gate) status() ListenerStatus {
	var bad, dead []failure
	conflicted := Condition{Type: ConditionListenerConflicted, Status: "False", Reason: ReasonNoConflicts}
	if len(g.conflicts) > 0 {
		conflicted = newCondition(ConditionListenerConflicted, "", g.conflicts)
		conflicted.Status = "True"
		bad = append(bad, g.conflicts...)
	}
	bad = append(bad, g.bad...)
	if g.closed {
		dead = append(dead, failure{ReasonInvalid, "the listener is not served"})
	}
	routes := maps.Clone(g.waiting)
	for i := range g.rules {
		ref := &g.rules[i].Ref
		routes[ResourceKey{ref.Kind, ref.Namespace, ref.Name}] = true
	}
	return ListenerStatus{Name: g.spec.Name, Attached: len(routes), Conditions: []Condition{
		newCondition(ConditionAccepted, ReasonAccepted, bad),
		newCondition(ConditionResolvedRefs, ReasonResolvedRefs, g.refs),
		newCondition(ConditionProgrammed, ReasonProgrammed, dead),
		conflicted,
	}}
}

// listenerStatus says what became of each listener of the mesh's Gateways and ListenerSets.
func (e *meshEdge) listenerStatus() {
	e.c.mesh.Listeners = map[ResourceKey][]ListenerStatus{}
	for _, o := range e.order {
		key := o.resource.Key
		for _, g := range o.gates {
			e.c.mesh.Listeners[key] = append(e.c.mesh.Listeners[key], g.status())
		}
	}
}
