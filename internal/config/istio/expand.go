package istio

import (
	"maps"
	"slices"
	"strings"

	"github.com/weft-mesh/weft/internal/model"
)

// For returns the rules that the route is at a gateway (or in the mesh), in the order in which they are tried: one,
// or one for each match where a path is changed by what the match asks for. top are the VirtualService's gateways.
func (r *HTTPRoute) For(gateway string, top []string) []model.Rule {
	rule := r.Rule
	if len(r.Rule.Matches) == 0 {
		if !bound(r.Gateways[0], top, gateway) {
			return nil
		}
		return []model.Rule{r.change(rule, model.PathMatch{})}
	}
	rule.Matches = nil
	var out []model.Rule
	for i, m := range r.Rule.Matches {
		if !bound(r.Gateways[i], top, gateway) {
			continue
		}
		if r.rewriteURI == "" && r.prefixRewrite == "" {
			rule.Matches = append(rule.Matches, m)
			continue
		}
		one := r.change(rule, m.Path)
		one.Matches = []model.Match{m}
		out = append(out, one)
	}
	if len(rule.Matches) > 0 {
		out = append(out, rule)
	}
	return out
}

func bound(own, top []string, gateway string) bool {
	if own == nil {
		own = top
	}
	return slices.Contains(own, gateway)
}

// change makes the changes of the path that depend on what the match asked for: a prefix is replaced, byte by byte,
// and any other path as a whole (Envoy, RouteAction.prefix_rewrite).
func (r *HTTPRoute) change(rule model.Rule, path model.PathMatch) model.Rule {
	change := func(value string) *model.PathChange {
		switch path.Type {
		case model.TextPrefix:
			return &model.PathChange{Type: model.ChangeText, Text: path.Value, Value: value}
		case "":
			return &model.PathChange{Type: model.ChangeText, Text: "/", Value: value}
		}
		return &model.PathChange{Type: model.ChangeFull, Value: value}
	}
	if r.rewriteURI != "" && rule.Filters.Rewrite != nil {
		w := *rule.Filters.Rewrite
		w.Path = change(r.rewriteURI)
		rule.Filters.Rewrite = &w
	}
	if r.prefixRewrite != "" && rule.Filters.Redirect != nil {
		to := *rule.Filters.Redirect
		to.Path = change(r.prefixRewrite)
		rule.Filters.Redirect = &to
	}
	return rule
}

// DerivesPort reports whether a redirect keeps the port of the request, whatever its scheme.
func (r *HTTPRoute) DerivesPort() bool { return r.derivePort }

// To returns the route with a delegate's rule in its place: the conditions of both must hold, and what the delegate
// does not say is as here. ok is false when no request can meet both conditions.
func (r *HTTPRoute) To(child *HTTPRoute) (out HTTPRoute, ok bool) {
	out = *child
	out.Rule.Matches, out.Gateways = nil, nil
	switch {
	case len(r.Rule.Matches) == 0:
		out.Rule.Matches = child.Rule.Matches
		for range max(len(child.Rule.Matches), 1) {
			out.Gateways = append(out.Gateways, r.Gateways[0])
		}
	case len(child.Rule.Matches) == 0:
		out.Rule.Matches, out.Gateways = r.Rule.Matches, r.Gateways
	default:
		for i := range r.Rule.Matches {
			for j := range child.Rule.Matches {
				if m, ok := both(&r.Rule.Matches[i], &child.Rule.Matches[j]); ok {
					out.Rule.Matches = append(out.Rule.Matches, m)
					out.Gateways = append(out.Gateways, r.Gateways[i])
				}
			}
		}
		if len(out.Rule.Matches) == 0 || len(out.Rule.Matches) > maxMatches {
			return out, false
		}
	}
	r.fill(&out)
	return out, true
}

// fill takes over what the delegate does not say.
func (r *HTTPRoute) fill(out *HTTPRoute) {
	f, from := &out.Rule.Filters, &r.Rule.Filters
	if f.Rewrite == nil {
		f.Rewrite, out.rewriteURI = from.Rewrite, r.rewriteURI
	}
	if f.CORS == nil {
		f.CORS = from.CORS
	}
	if len(f.Mirrors) == 0 {
		f.Mirrors, out.Mirrors = from.Mirrors, r.Mirrors
	}
	if out.Rule.Request.IsZero() && out.Rule.Response.IsZero() {
		out.Rule.Request, out.Rule.Response = r.Rule.Request, r.Rule.Response
	}
	p := *out.Rule.Policy
	if !out.said.timeout {
		p.Timeout, p.NoTimeout = r.Rule.Policy.Timeout, r.Rule.Policy.NoTimeout
	}
	if !out.said.retries {
		p.Retry, p.BackendTimeout = r.Rule.Policy.Retry, r.Rule.Policy.BackendTimeout
	}
	if len(p.Faults) == 0 {
		p.Faults = r.Rule.Policy.Faults
	}
	out.Rule.Policy = &p
}

// both returns the condition that holds where a and b do. ok is false where it cannot be written as one: a
// delegate's conditions have to lie within its root's (Istio, Delegate).
func both(a, b *model.Match) (out model.Match, ok bool) {
	if out.Path, ok = bothPaths(a.Path, b.Path); !ok {
		return out, false
	}
	if out.Method = b.Method; out.Method == "" {
		out.Method = a.Method
	} else if a.Method != "" && a.Method != b.Method {
		return out, false
	}
	if out.Headers, ok = bothValues(a.Headers, b.Headers); !ok {
		return out, false
	}
	if out.Query, ok = bothValues(a.Query, b.Query); !ok {
		return out, false
	}
	out.More, ok = bothMore(a.More, b.More)
	return out, ok
}

func bothPaths(a, b model.PathMatch) (model.PathMatch, bool) {
	switch {
	case a.Type == "":
		return b, true
	case b.Type == "" || a == b:
		return a, true
	case a.Type != model.TextPrefix || b.Type == model.Regex || a.Fold != b.Fold && a.Fold:
		return a, false
	}
	within := strings.HasPrefix(b.Value, a.Value)
	if a.Fold {
		within = strings.HasPrefix(strings.ToLower(b.Value), strings.ToLower(a.Value))
	}
	return b, within
}

func bothValues(a, b []model.ValueMatch) ([]model.ValueMatch, bool) {
	out := slices.Clone(a)
	for _, v := range b {
		for _, w := range a {
			if w.Name == v.Name && w.Not == v.Not && w != v {
				return nil, false
			}
		}
		if !slices.Contains(out, v) {
			out = append(out, v)
		}
	}
	return out, true
}

func bothMore(a, b *model.MoreMatch) (*model.MoreMatch, bool) {
	if a == nil || b == nil {
		if a == nil {
			a = b
		}
		return a, true
	}
	out := *a
	if b.Port != 0 {
		out.Port = b.Port
	}
	ok := a.Port == 0 || out.Port == a.Port
	for _, x := range []struct{ a, b, out **model.ValueMatch }{
		{&a.Scheme, &b.Scheme, &out.Scheme}, {&a.Authority, &b.Authority, &out.Authority}, {&a.Method, &b.Method, &out.Method},
	} {
		if *x.b != nil {
			ok = ok && (*x.a == nil || **x.a == **x.b)
			*x.out = *x.b
		}
	}
	if b.Source != nil {
		var same bool
		out.Source, same = bothSources(a.Source, b.Source)
		ok = ok && same
	}
	return &out, ok
}

func bothSources(a, b *model.SourceMatch) (*model.SourceMatch, bool) {
	if a == nil {
		return b, true
	}
	out := model.SourceMatch{Namespace: a.Namespace, Labels: maps.Clone(a.Labels)}
	if out.Namespace == "" {
		out.Namespace = b.Namespace
	}
	if out.Labels == nil {
		out.Labels = map[string]string{}
	}
	for k, v := range b.Labels {
		if old, ok := out.Labels[k]; ok && old != v {
			return nil, false
		}
		out.Labels[k] = v
	}
	return &out, b.Namespace == "" || out.Namespace == b.Namespace
}
