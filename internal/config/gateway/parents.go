package gateway

import (
	"fmt"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

const kindListenerSet = "ListenerSet"

// gateways reads the Gateways and ListenerSets among a route's parents. At a standalone gateway a Service as parent
// is a warning: the same route may also run in a mesh. In the mesh parents reads the others.
func (c *checker) gateways(refs []v1.ParentReference, f *document.Field) []GatewayParent {
	const remedy = "name the Gateway whose requests the route takes"
	type key struct {
		kind    string
		gateway ObjectName
		section string
		port    uint16
	}
	seen := map[key]bool{}
	var out []GatewayParent
	for i, ref := range refs {
		at := f.Index(i)
		group, kind := deref(ref.Group, v1.GroupName), deref(ref.Kind, "Gateway")
		ours := group == v1.GroupName && (kind == "Gateway" || kind == kindListenerSet)
		switch {
		case c.parent == InMesh && !ours:
			continue
		case kind == "Service" && c.doc.Kind == "UDPRoute":
			continue // refused by ParseUDPRoute
		case kind == "Service":
			p := c.doc.Problem(at, "a Service as parent has effect only in the mesh").With(remedy)
			c.problems = append(c.problems, p.AsWarning())
			continue
		case !ours:
			c.add(at.Key("kind"), fmt.Sprintf("a parent of kind %q in group %q is not supported in this version of Weft", kind, group), remedy)
			continue
		}
		p := GatewayParent{
			Kind: string(kind), Gateway: c.objectName(string(kind), string(ref.Name), deref(ref.Namespace, v1.Namespace(c.doc.Namespace)), at),
			Section: string(deref(ref.SectionName, "")), Port: c.port(ref.Port, at.Key("port")),
		}
		if ref.SectionName != nil {
			c.sectionName(p.Section, at.Key("sectionName"))
		}
		k := key{p.Kind, p.Gateway, p.Section, p.Port}
		if seen[k] {
			c.add(at, fmt.Sprintf("the parent %s is here twice", p.Gateway), "name it once, or with different sectionName or port")
		}
		seen[k] = true
		p.At = c.position(at.Key("name"))
		out = append(out, p)
	}
	return out
}

// defaultScope reads which default Gateways are meant: all or none (GEP-3793).
func (c *checker) defaultScope(s v1.GatewayDefaultScope, f *document.Field) bool {
	if s == "" {
		return false
	}
	c.oneOf(string(s), []string{string(v1.GatewayDefaultScopeAll), string(v1.GatewayDefaultScopeNone)}, f)
	return s == v1.GatewayDefaultScopeAll
}

// objectName checks a reference to an object whose name is a DNS name.
func (c *checker) objectName(kind, name string, namespace v1.Namespace, at *document.Field) ObjectName {
	if name == "" {
		c.add(at.Key("name"), "is missing", "name a "+kind)
	} else if why := document.CheckSubdomain(name); why != "" {
		c.add(at.Key("name"), fmt.Sprintf("%q is no valid %s name", name, kind), why)
	}
	if why := document.CheckLabel(string(namespace)); why != "" {
		c.add(at.Key("namespace"), fmt.Sprintf("%q is no valid namespace", namespace), why)
	}
	return ObjectName{Namespace: string(namespace), Name: name}
}

func (c *checker) sectionName(s string, f *document.Field) {
	if why := document.CheckSubdomain(s); why != "" {
		c.add(f, fmt.Sprintf("%q is no valid name of a section", s), why)
	}
}
