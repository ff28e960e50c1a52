package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// Touched returns the services whose requests take another way, or are protected otherwise, after a change than
// before it, for some client: those that are gone, and those whose rules, ports or policies differ. Where these were
// written, and which endpoints there are, makes no difference. Services that were not there before are left out: the
// versions of a service come and go with the rules that name them. Services are sorted.
func Touched(before, after *Mesh) []model.ServiceName {
	clients := map[string]bool{"": true}
	for _, m := range []*Mesh{before, after} {
		for k := range m.consumer {
			clients[k.namespace] = true
		}
		for k := range m.istio {
			clients[k.namespace] = true
		}
	}
	names := map[model.ServiceName]bool{}
	for n := range before.Services {
		names[n] = true
	}
	maps.DeleteFunc(names, func(n model.ServiceName, _ bool) bool {
		for client := range clients {
			if key := (consumerKey{n, client}); !reflect.DeepEqual(before.chosen[key], after.chosen[key]) {
				return false // other clients are chosen
			}
			if client != "" && !before.HasOwnRules(n, client) && !after.HasOwnRules(n, client) {
				continue // as everybody else
			}
			a, inA := before.ServiceFor(n, client)
			b, inB := after.ServiceFor(n, client)
			if inA != inB || !reflect.DeepEqual(behaviour(a), behaviour(b)) {
				return false
			}
		}
		return true
	})
	return slices.SortedFunc(maps.Keys(names), func(a, b model.ServiceName) int {
		return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
	})
}

// behaviour is a service without its endpoints, and without where it was written.
func behaviour(s model.Service) model.Service {
	s.Endpoints = nil
	s.Rules = unplacedRules(s.Rules)
	s.Policy = unplaced(s.Policy)
	if s.Upstream != nil {
		u := *s.Upstream
		u.Ref = model.PolicyRef{}
		s.Upstream = &u
	}
	return s
}

// unplacedRules returns rules without where they were written.
func unplacedRules(in []model.Rule) []model.Rule {
	out := slices.Clone(in)
	for i := range out {
		out[i].Ref.File, out[i].Ref.Line = "", 0
		out[i].Policy = unplaced(out[i].Policy)
	}
	return out
}

func unplaced(p *model.Policy) *model.Policy {
	if p == nil {
		return nil
	}
	out := *p
	out.Ref = model.PolicyRef{}
	return &out
}
