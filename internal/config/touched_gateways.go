package config

import (
	"cmp"
	"maps"
	"reflect"
	"slices"

	"github.com/weft-mesh/weft/internal/config/gateway"
	"github.com/weft-mesh/weft/internal/model"
)

// TouchedListeners returns the listeners of gateways, by name, whose requests take another way, or are protected
// otherwise, after a change than before it: those that are gone, and those whose sockets, hosts, certificates or rules
// differ. A listener that was not there before is left out. They are sorted.
func TouchedListeners(before, after *Mesh) []string {
	was, is := before.listeners(), after.listeners()
	var out []string
	for name, old := range was {
		if now, there := is[name]; !there || !reflect.DeepEqual(old, now) {
			out = append(out, name)
		}
	}
	slices.Sort(out)
	return out
}

// servedListener is a listener without where it was written.
type servedListener struct {
	at []model.Socket // without listeners
	ln model.Listener
}

// listeners returns those of all Gateways, by name.
func (m *Mesh) listeners() map[string]servedListener {
	out := map[string]servedListener{}
	add := func(sockets []model.Socket) {
		for _, s := range sockets {
			where := s
			where.Listeners = nil
			for _, ln := range s.Listeners {
				ln.Rules = unplacedRules(ln.Rules)
				served := out[ln.Name]
				served.at, served.ln = append(served.at, where), ln
				out[ln.Name] = served
			}
		}
	}
	for _, name := range slices.SortedFunc(maps.Keys(m.gateways), compareObjects) {
		add(m.gateways[name])
	}
	for _, group := range m.selected {
		add(group.sockets)
	}
	return out
}

func compareObjects(a, b gateway.ObjectName) int {
	return cmp.Or(cmp.Compare(a.Namespace, b.Namespace), cmp.Compare(a.Name, b.Name))
}
