package gateway

import (
	"fmt"

	v1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/weft-mesh/weft/internal/config/document"
)

// Grant is a checked ReferenceGrant: objects of its namespace that others may refer to.
type Grant struct {
	From []GrantFrom
	To   []GrantTo
}

// GrantFrom is a kind of objects of a namespace that may refer.
type GrantFrom struct{ Group, Kind, Namespace string }

// GrantTo is what may be referred to; Name "" means every object of the kind.
type GrantTo struct{ Group, Kind, Name string }

// ParseReferenceGrant checks a ReferenceGrant.
func ParseReferenceGrant(d *document.Document) (*Grant, document.Problems) {
	c := &checker{doc: d}
	var in v1.ReferenceGrant
	c.problems = d.Decode(&in)
	if c.problems.Failed() {
		return nil, c.problems
	}
	from, to := document.Path("spec", "from"), document.Path("spec", "to")
	for _, x := range []struct {
		n      int
		f      *document.Field
		remedy string
	}{
		{len(in.Spec.From), from, "write group, kind and namespace of those who may refer"},
		{len(in.Spec.To), to, "write group and kind of what they may refer to"},
	} {
		if x.n == 0 {
			c.add(x.f, "is missing or empty", x.remedy)
		}
		c.atMost(x.n, maxItems, "items", x.f)
	}
	out := &Grant{}
	for i, x := range in.Spec.From {
		at := from.Index(i)
		c.grantKind(string(x.Kind), at)
		if why := document.CheckLabel(string(x.Namespace)); why != "" {
			c.add(at.Key("namespace"), fmt.Sprintf("%q is no valid namespace", x.Namespace), why)
		}
		out.From = append(out.From, GrantFrom{string(x.Group), string(x.Kind), string(x.Namespace)})
	}
	for i, x := range in.Spec.To {
		c.grantKind(string(x.Kind), to.Index(i))
		out.To = append(out.To, GrantTo{string(x.Group), string(x.Kind), string(deref(x.Name, ""))})
	}
	return out, c.problems
}

func (c *checker) grantKind(kind string, at *document.Field) {
	if kind == "" {
		c.add(at.Key("kind"), "is missing", "write a kind, for example HTTPRoute or Service")
	}
	if !c.doc.Has(at.Key("group")) {
		c.add(at.Key("group"), "is missing", `the group of Service and Secret is written ""`)
	}
}

// Allows reports whether an object of kind from may refer to the object to.
func (g *Grant) Allows(from GrantFrom, to GrantTo) bool {
	for _, f := range g.From {
		if f != from {
			continue
		}
		for _, t := range g.To {
			if t.Group == to.Group && t.Kind == to.Kind && (t.Name == "" || t.Name == to.Name) {
				return true
			}
		}
	}
	return false
}

// Group is the group of the Gateway API's kinds.
const Group = v1.GroupName
