package xds

import (
	"fmt"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// RefToWire converts the place a rule was written.
func RefToWire(r model.RuleRef) *discoveryv1.RuleRef {
	return &discoveryv1.RuleRef{
		Kind: r.Kind, Namespace: r.Namespace, Name: r.Name,
		Rule: int32(r.Rule), File: r.File, Line: int32(r.Line),
	}
}

func ruleToWire(r *model.Rule) *discoveryv1.Rule {
	w := &discoveryv1.Rule{
		Ref: RefToWire(r.Ref), Layer: string(r.Layer), Port: uint32(r.Port), Hosts: r.Hosts,
		Request: modToWire(r.Request), Response: modToWire(r.Response),
		Filters: jsonToWire(&r.Filters, r.Filters.IsZero()), Policy: jsonToWire(r.Policy, r.Policy == nil),
	}
	for _, m := range r.Matches {
		wm := &discoveryv1.Match{Method: m.Method, Headers: valuesToWire(m.Headers), Query: valuesToWire(m.Query)}
		if m.Path != (model.PathMatch{}) {
			wm.Path = &discoveryv1.ValueMatch{Type: string(m.Path.Type), Value: m.Path.Value, Fold: m.Path.Fold}
		}
		wm.More = jsonToWire(m.More, m.More == nil)
		w.Matches = append(w.Matches, wm)
	}
	for _, b := range r.Backends {
		w.Backends = append(w.Backends, &discoveryv1.Backend{
			Service: nameText(b.Service), Port: uint32(b.Port), Weight: b.Weight,
			Invalid: b.Invalid, Request: modToWire(b.Request), Response: modToWire(b.Response),
			Subset: b.Subset, Upstream: jsonToWire(b.Upstream, b.Upstream == nil), Filters: jsonToWire(b.Filters, b.Filters == nil),
		})
	}
	return w
}

func ruleFromWire(w *discoveryv1.Rule) (model.Rule, error) {
	ref := w.GetRef()
	r := model.Rule{
		Ref: model.RuleRef{
			Kind: ref.GetKind(), Namespace: ref.GetNamespace(), Name: ref.GetName(),
			Rule: int(ref.GetRule()), File: ref.GetFile(), Line: int(ref.GetLine()),
		},
		Hosts: w.GetHosts(), Layer: model.Layer(w.GetLayer()),
		Request: modFromWire(w.GetRequest()), Response: modFromWire(w.GetResponse()),
	}
	var err error
	switch r.Layer {
	case model.Requests, model.ServerNames, model.Bytes:
	default:
		return r, fmt.Errorf("unknown layer %q", r.Layer)
	}
	if r.Port, err = port16(w.GetPort()); err != nil {
		return r, err
	}
	if err = jsonFromWire(w.GetFilters(), &r.Filters, "filters"); err != nil {
		return r, err
	}
	if r.Policy, err = optionalFromWire[model.Policy](w.GetPolicy(), "policy"); err != nil {
		return r, err
	}
	for i, wm := range w.GetMatches() {
		m := model.Match{Method: wm.GetMethod()}
		if m.Path.Type, err = matchType(wm.GetPath().GetType()); err != nil {
			return r, fmt.Errorf("match %d: path: %w", i, err)
		}
		m.Path.Value, m.Path.Fold = wm.GetPath().GetValue(), wm.GetPath().GetFold()
		if m.More, err = optionalFromWire[model.MoreMatch](wm.GetMore(), "more"); err != nil {
			return r, fmt.Errorf("match %d: %w", i, err)
		}
		if m.Headers, err = valuesFromWire(wm.GetHeaders()); err != nil {
			return r, fmt.Errorf("match %d: %w", i, err)
		}
		if m.Query, err = valuesFromWire(wm.GetQuery()); err != nil {
			return r, fmt.Errorf("match %d: %w", i, err)
		}
		r.Matches = append(r.Matches, m)
	}
	for i, wb := range w.GetBackends() {
		b := model.Backend{
			Weight: wb.GetWeight(), Invalid: wb.GetInvalid(), Subset: labels(wb.GetSubset()),
			Request: modFromWire(wb.GetRequest()), Response: modFromWire(wb.GetResponse()),
		}
		if b.Upstream, err = optionalFromWire[model.Upstream](wb.GetUpstream(), "upstream"); err != nil {
			return r, fmt.Errorf("backend %d: %w", i, err)
		}
		if b.Filters, err = optionalFromWire[model.Filters](wb.GetFilters(), "filters"); err != nil {
			return r, fmt.Errorf("backend %d: %w", i, err)
		}
		if err := b.Service.UnmarshalText([]byte(wb.GetService())); err != nil {
			return r, fmt.Errorf("backend %d: %w", i, err)
		}
		if b.Port, err = port16(wb.GetPort()); err != nil {
			return r, fmt.Errorf("backend %d: %w", i, err)
		}
		r.Backends = append(r.Backends, b)
	}
	return r, nil
}

// matchType refuses a way to compare that this program does not know: to ignore it would widen the rule.
func matchType(s string) (model.MatchType, error) {
	switch t := model.MatchType(s); t {
	case "", model.Exact, model.Prefix, model.Regex, model.TextPrefix, model.Present:
		return t, nil
	}
	return "", fmt.Errorf("unknown match type %q", s)
}

func valuesToWire(in []model.ValueMatch) []*discoveryv1.ValueMatch {
	var out []*discoveryv1.ValueMatch
	for _, v := range in {
		out = append(out, &discoveryv1.ValueMatch{Name: v.Name, Type: string(v.Type), Value: v.Value, Not: v.Not})
	}
	return out
}

func valuesFromWire(in []*discoveryv1.ValueMatch) ([]model.ValueMatch, error) {
	var out []model.ValueMatch
	for _, v := range in {
		t, err := matchType(v.GetType())
		if err != nil {
			return nil, fmt.Errorf("%s: %w", v.GetName(), err)
		}
		out = append(out, model.ValueMatch{Name: v.GetName(), Type: t, Value: v.GetValue(), Not: v.GetNot()})
	}
	return out, nil
}

func modToWire(m model.HeaderMod) *discoveryv1.HeaderMod {
	if m.IsZero() {
		return nil
	}
	w := &discoveryv1.HeaderMod{Remove: m.Remove}
	for _, h := range m.Set {
		w.Set = append(w.Set, &discoveryv1.HeaderValue{Name: h.Name, Value: h.Value})
	}
	for _, h := range m.Add {
		w.Add = append(w.Add, &discoveryv1.HeaderValue{Name: h.Name, Value: h.Value})
	}
	return w
}

func modFromWire(w *discoveryv1.HeaderMod) model.HeaderMod {
	m := model.HeaderMod{Remove: w.GetRemove()}
	for _, h := range w.GetSet() {
		m.Set = append(m.Set, model.HeaderValue{Name: h.GetName(), Value: h.GetValue()})
	}
	for _, h := range w.GetAdd() {
		m.Add = append(m.Add, model.HeaderValue{Name: h.GetName(), Value: h.GetValue()})
	}
	return m
}
