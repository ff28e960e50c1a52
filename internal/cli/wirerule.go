package cli

import (
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// wireRule gives a rule of a snapshot the form that rules of the API have, so that both print alike.
func wireRule(r *model.Rule) *discoveryv1.Rule {
	out := &discoveryv1.Rule{
		Ref: &discoveryv1.RuleRef{
			Kind: r.Ref.Kind, Namespace: r.Ref.Namespace, Name: r.Ref.Name,
			Rule: int32(r.Ref.Rule), File: r.Ref.File, Line: int32(r.Ref.Line),
		},
		Port: uint32(r.Port), Hosts: r.Hosts,
	}
	values := func(list []model.ValueMatch) []*discoveryv1.ValueMatch {
		var all []*discoveryv1.ValueMatch
		for _, v := range list {
			all = append(all, &discoveryv1.ValueMatch{Name: v.Name, Type: string(v.Type), Value: v.Value})
		}
		return all
	}
	for _, m := range r.Matches {
		out.Matches = append(out.Matches, &discoveryv1.Match{
			Path:   &discoveryv1.ValueMatch{Type: string(m.Path.Type), Value: m.Path.Value},
			Method: m.Method, Headers: values(m.Headers), Query: values(m.Query),
		})
	}
	for _, b := range r.Backends {
		out.Backends = append(out.Backends, &discoveryv1.Backend{
			Service: b.Service.String(), Port: uint32(b.Port), Weight: b.Weight, Invalid: b.Invalid,
		})
	}
	return out
}
