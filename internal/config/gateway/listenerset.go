package gateway

import (
	"fmt"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// ListenerSet is a checked ListenerSet: more listeners of a Gateway.
type ListenerSet struct {
	Parent    ObjectName // the Gateway
	ParentAt  Position
	Listeners []Listener
}

// ParseListenerSet checks a ListenerSet. When the problems Failed it must not be used.
func ParseListenerSet(d *document.Document) (*ListenerSet, document.Problems) {
	c := &checker{doc: d}
	var in v1.ListenerSet
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	spec := document.Path("spec")
	ref, at := &in.Spec.ParentRef, spec.Key("parentRef")
	if group, kind := deref(ref.Group, v1.GroupName), deref(ref.Kind, "Gateway"); group != v1.GroupName || kind != "Gateway" {
		c.add(at.Key("kind"), fmt.Sprintf("a parent of kind %q in group %q is not supported in this version of Weft", clip(string(kind)), clip(string(group))), "name a Gateway")
	}
	out := &ListenerSet{
		Parent:   c.objectName("Gateway", string(ref.Name), deref(ref.Namespace, v1.Namespace(d.Namespace)), at),
		ParentAt: c.position(at.Key("name")),
	}
	listeners := make([]v1.Listener, len(in.Spec.Listeners))
	for i, l := range in.Spec.Listeners {
		listeners[i] = v1.Listener(l)
	}
	out.Listeners = c.listeners(listeners, spec.Key("listeners"))
	return out, c.problems
}
