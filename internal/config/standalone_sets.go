package config

import (
	"fmt"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/gateway"
)

const kindListenerSet = "ListenerSet"

// Reasons of a ListenerSet's conditions (Gateway API, ListenerSetConditionReason).
const (
	ReasonNotAllowed        = "NotAllowed"
	ReasonParentNotAccepted = "ParentNotAccepted"
)

// kind is what grants call the edge.
func (e *edge) kind() string {
	if e.resource.Key.Kind == kindListenerSet {
		return kindListenerSet
	}
	return "Gateway"
}

// listenerSets opens the listeners of ListenerSets, after those of all Gateways and in the order of precedence.
func (c *standalone) listenerSets(resources []Resource) {
	for i := range resources {
		r := &resources[i]
		set, ok := r.body.(*gateway.ListenerSet)
		if !ok {
			continue
		}
		e := &edge{resource: r, spec: &gateway.Gateway{}}
		c.sets[gateway.ObjectName{Namespace: r.Key.Namespace, Name: r.Key.Name}] = e
		f, remedy := c.attachSet(e, set)
		if f == nil {
			c.open(e, set.Listeners)
			continue
		}
		c.warn(r, set.ParentAt, f.message, remedy)
		c.out.Status[r.Key] = []Condition{
			newCondition(ConditionAccepted, ReasonAccepted, []failure{*f}),
			newCondition(ConditionProgrammed, ReasonProgrammed, []failure{{ReasonInvalid, f.message}}),
		}
	}
}

// attachSet attaches a ListenerSet to its Gateway, or says why not.
func (c *standalone) attachSet(e *edge, set *gateway.ListenerSet) (f *failure, remedy string) {
	parent, own := c.gateways[set.Parent], e.resource.Key.Namespace
	switch {
	case parent == nil:
		return &failure{ReasonParentNotAccepted, "there is no Gateway " + set.Parent.String()}, c.nearestGateway(set.Parent)
	case !parent.ours:
		return &failure{ReasonParentNotAccepted, fmt.Sprintf("the Gateway %s is of class %q, which is not served", set.Parent, clip(parent.spec.Class))},
			"write gatewayClassName: " + classWeft
	case !c.allows(parent.spec.Sets, selectorOf(parent.spec.Sets), set.Parent.Namespace, own):
		return &failure{ReasonNotAllowed, fmt.Sprintf("the Gateway %s takes no ListenerSets of namespace %s", set.Parent, own)},
			"write allowedListeners: {namespaces: {from: Same}} in the Gateway, or All or Selector for other namespaces"
	}
	e.parent, e.spec, e.ours = parent, parent.spec, true
	return nil, ""
}

// selectorOf returns the selector of namespaces; nil when there is none.
func selectorOf(a gateway.Admission) labels.Selector {
	if a.From != v1.NamespacesFromSelector || a.Selector == nil {
		return nil
	}
	s, err := metav1.LabelSelectorAsSelector(a.Selector)
	if err != nil {
		return labels.Nothing() // refused when it was read
	}
	return s
}

// allows reports whether something of a namespace may attach to what is in namespace own.
func (c *standalone) allows(a gateway.Admission, s labels.Selector, own, namespace string) bool {
	switch a.From {
	case v1.NamespacesFromAll:
		return true
	case v1.NamespacesFromSame:
		return own == namespace
	case v1.NamespacesFromSelector:
		return s != nil && s.Matches(c.namespaceLabels(namespace))
	}
	return false
}

// namespaceLabels returns the labels of a namespace. One without a document has that of its name alone.
func (c *standalone) namespaceLabels(name string) labels.Set {
	if set, ok := c.namespaces[name]; ok {
		return set
	}
	return labels.Set{gateway.LabelNamespace: name}
}

func (c *standalone) admissionRemedy(a gateway.Admission, namespace string) string {
	if a.From != v1.NamespacesFromSelector {
		return "write allowedRoutes: {namespaces: {from: All}} in the listener"
	}
	if _, ok := c.namespaces[namespace]; !ok {
		return "write a Namespace document with the labels that the listener's selector wants"
	}
	return "give the Namespace the labels that the listener's selector wants"
}
