package native

import (
	"fmt"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
)

func (c *checker) targets(refs []targetRef, f *document.Field) []Target {
	if len(refs) == 0 {
		c.add(f, "names no target", "name a Service, ServiceEntry, HTTPRoute, GRPCRoute or Gateway: {kind: Service, name: NAME}")
	}
	c.atMost(len(refs), maxTargets, "targets", f)
	type key struct{ kind, name, section string }
	seen := map[key]bool{}
	var out []Target
	for i := range refs {
		at := f.Index(i)
		t, ok := c.target(&refs[i], at)
		if !ok {
			continue
		}
		k := key{t.Kind, t.Name, t.Section}
		if seen[k] {
			c.add(at, fmt.Sprintf("the target %s %s is here twice", t.Kind, t.Name), "name it once, or with different sectionName")
			continue
		}
		seen[k] = true
		out = append(out, t)
	}
	return out
}

func (c *checker) target(r *targetRef, f *document.Field) (Target, bool) {
	before := len(c.problems)
	t := Target{Kind: r.Kind, Name: r.Name, At: c.position(f.Key("name"))}
	known := []string{KindService, KindServiceEntry, KindHTTPRoute, KindGRPCRoute, KindGateway}
	switch {
	case r.Kind == "":
		c.add(f.Key("kind"), "is missing", "write Service, ServiceEntry, HTTPRoute, GRPCRoute or Gateway")
		return t, false
	case c.enum(r.Kind, known, f.Key("kind")) != r.Kind:
		return t, false
	}
	c.group(r, f.Key("group"))
	if r.Namespace != nil && *r.Namespace != c.doc.Namespace {
		c.add(f.Key("namespace"), fmt.Sprintf("%q is not the namespace of the policy, which is %q", clip(*r.Namespace), c.doc.Namespace),
			"a policy targets its own namespace only: write the policy there")
	}
	why := document.CheckSubdomain(r.Name)
	if r.Kind == KindService {
		why = document.CheckLabel(r.Name)
	}
	switch {
	case r.Name == "":
		c.add(f.Key("name"), "is missing", "name a "+r.Kind)
	case why != "":
		c.add(f.Key("name"), fmt.Sprintf("%q is no valid name of a %s", clip(r.Name), r.Kind), why)
	}
	if r.SectionName != nil {
		t.Section = *r.SectionName
		c.section(r, f.Key("sectionName"))
	}
	return t, len(c.problems) == before
}

// group wants the group of the kind, when one is written.
func (c *checker) group(r *targetRef, f *document.Field) {
	want := gateway.Group
	switch r.Kind {
	case KindService:
		want = ""
	case KindServiceEntry:
		want = istioGroup
	}
	switch {
	case r.Group == nil || *r.Group == want:
	case want == "":
		c.add(f, fmt.Sprintf("a Service is of the core group, not of %q", clip(*r.Group)), `write group: "" or remove it`)
	default:
		c.add(f, fmt.Sprintf("the kind %s is not of the group %q", r.Kind, clip(*r.Group)), "write group: "+want+" or remove it")
	}
}

func (c *checker) section(r *targetRef, f *document.Field) {
	switch why := document.CheckSubdomain(*r.SectionName); {
	case r.Kind == KindService || r.Kind == KindServiceEntry:
		c.add(f, "is not supported in this version of Weft for a "+r.Kind, "remove it: the policy is for all ports")
	case why != "":
		c.add(f, fmt.Sprintf("%q is no valid name of a section", clip(*r.SectionName)), why)
	}
}
