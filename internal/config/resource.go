package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/config/document"
	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// ResourceKey identifies a resource within a mesh.
type ResourceKey struct{ Kind, Namespace, Name string }

// String returns "HTTPRoute default/reviews".
func (k ResourceKey) String() string { return k.Kind + " " + k.Namespace + "/" + k.Name }

// Resource is a checked resource.
type Resource struct {
	Key        ResourceKey
	APIVersion string
	File       string    // as given to apply
	Line       int       // of its first value in File
	BaseLine   int       // line of File at which YAML begins: Source.Line when it is parsed again
	YAML       string    // as it was written; of a Secret what may be shown of it, "" at a standalone gateway
	Created    time.Time // set by who stores it; zero sorts first

	private *string // of a Secret in the mesh: as it was written; a pointer, so that printing a Resource shows nothing

	body any // what the kind's parser returned: *gateway.Route, *gateway.Service, ...
}

// Source returns the resource's text as a source with its original positions.
func (r Resource) Source() document.Source {
	return document.Source{File: r.File, Line: r.BaseLine, Data: []byte(cmp.Or(string(r.Private()), r.YAML))}
}

// Private returns the document as it was written where YAML is only what may be shown of it; else "". Who stores it
// seals it.
func (r Resource) Private() model.Secret {
	if r.private == nil {
		return ""
	}
	return model.Secret(*r.private)
}

// SameText reports whether two resources were written alike.
func (r Resource) SameText(o Resource) bool { return r.YAML == o.YAML && r.Private() == o.Private() }

// Route returns what a route says, and whether r is one.
func (r Resource) Route() (*gateway.Route, bool) {
	route, ok := r.body.(*gateway.Route)
	return route, ok
}

// Service returns what a Service says, and whether r is one.
func (r Resource) Service() (*gateway.Service, bool) {
	service, ok := r.body.(*gateway.Service)
	return service, ok
}

// compareResources orders by creation, then kind, namespace and name (Gateway API, conflict resolution).
func compareResources(a, b Resource) int {
	return cmp.Or(
		a.Created.Compare(b.Created),
		cmp.Compare(a.Key.Namespace, b.Key.Namespace),
		cmp.Compare(a.Key.Name, b.Key.Name),
		cmp.Compare(a.Key.Kind, b.Key.Kind),
	)
}

// ParseSet reads and checks a set of documents. When the problems Failed no resource is returned: an
// invalid document in a set changes nothing. Otherwise the problems are warnings.
func ParseSet(sources []document.Source, lim document.Limits) ([]Resource, document.Problems) {
	return parseKinds(sources, lim, Kinds())
}

// ParseStandalone is ParseSet with the kinds of a gateway without a control plane. Routes have Gateways as
// parents there.
func ParseStandalone(sources []document.Source, lim document.Limits) ([]Resource, document.Problems) {
	return parseKinds(sources, lim, standaloneKinds())
}

func parseKinds(sources []document.Source, lim document.Limits, kinds []Kind) ([]Resource, document.Problems) {
	lim = lim.WithDefaults()
	docs, problems := document.ParseSet(sources, lim)
	out := make([]Resource, 0, len(docs))
	for i := range docs {
		d := &docs[i]
		if len(problems) > lim.Problems {
			break
		}
		if d.Kind == "" || d.APIVersion == "" {
			continue // already reported
		}
		kind, problem := kindOf(d, kinds)
		if problem != nil {
			problems = append(problems, *problem)
			continue
		}
		body, more := kind.parse(d)
		problems = append(problems, more...)
		r := Resource{
			Key:        ResourceKey{kind.Key(), d.Namespace, d.Name},
			APIVersion: d.APIVersion,
			File:       d.File, Line: d.Line, BaseLine: d.BaseLine, YAML: d.Text,
			body: body,
		}
		if kind.Name == kindSecret {
			r.YAML = "" // nothing shall print it
			if secret, ok := body.(*gateway.Secret); ok && kind.seal && secret != nil {
				text := d.Text // a copy: the document has a tree besides
				r.YAML, r.private = secret.Outline(d), &text
			}
		}
		out = append(out, r)
	}
	failed := problems.Failed()
	problems = problems.Distinct().Bound(lim.Problems)
	if failed {
		return nil, problems
	}
	return out, problems
}

// kindOf finds the kind of a document among those that can be used here.
func kindOf(d *document.Document, kinds []Kind) (Kind, *document.Problem) {
	var names, versions []string
	for _, k := range kinds {
		if k.Name == d.Kind {
			for _, v := range k.Versions {
				versions = append(versions, k.apiVersion(v))
			}
			if slices.Contains(versions, d.APIVersion) {
				return k, nil
			}
		}
		names = append(names, k.Name)
	}
	var p document.Problem
	switch {
	case len(versions) > 0:
		p = d.Problem(document.Path("apiVersion"), fmt.Sprintf("%s has no version %q", d.Kind, d.APIVersion)).
			With(fmt.Sprintf("write %q", versions[0]))
	case slices.ContainsFunc(standaloneKinds(), func(k Kind) bool {
		group, _, _ := strings.Cut(d.APIVersion, "/")
		return k.Name == d.Kind && (k.Group == group || k.Group == "" && d.APIVersion == k.Versions[0])
	}):
		p = d.Problem(document.Path("kind"), fmt.Sprintf("%s documents are for `weft gateway -f` and not for the mesh's control plane in this version of Weft", d.Kind)).
			With("leave it out here")
	default:
		p = d.Problem(document.Path("kind"), fmt.Sprintf("the kind %q of %s is not supported in this version of Weft", d.Kind, d.APIVersion)).
			With(cmp.Or(document.DidYouMean(d.Kind, names), "leave the document out here"))
	}
	return Kind{}, &p
}
