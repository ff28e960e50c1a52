package model

import (
	"reflect"
	"testing"
)

// TestUpstreamOfAPort shows which of two policies holds for a port, by what each says of it and of all ports.
func TestUpstreamOfAPort(t *testing.T) {
	port := func(only bool, requests int) []PortUpstream {
		return []PortUpstream{{Port: 80, Only: only, Connections: Connections{Requests: requests}}}
	}
	all := func(requests, retries int) Connections { return Connections{Requests: requests, Retries: retries} }
	for name, c := range map[string]struct {
		specific, general Upstream
		port, other       Connections // what holds
	}{
		"of a port of its own": {
			Upstream{Ports: port(false, 1), Connections: all(2, 0)}, Upstream{Connections: all(3, 4)}, all(1, 4), all(2, 4),
		},
		"of all ports before another's of one": {
			Upstream{Connections: all(2, 0)}, Upstream{Ports: port(false, 3), Connections: all(4, 5)}, all(2, 5), all(2, 5),
		},
		"what the specific one leaves out": {
			Upstream{Connections: all(0, 7)}, Upstream{Ports: port(false, 3), Connections: all(4, 5)}, all(3, 7), all(4, 7),
		},
		"whole": {
			Upstream{Ports: port(true, 1), Connections: all(2, 6)}, Upstream{Ports: port(false, 3), Connections: all(3, 4)}, all(1, 0), all(2, 6),
		},
		"whole, in the general one": {
			Upstream{Connections: all(0, 9)}, Upstream{Ports: port(true, 3), Connections: all(4, 5)}, all(3, 9), all(4, 9),
		},
		"both": {
			Upstream{Ports: port(false, 1)}, Upstream{Ports: []PortUpstream{{Port: 80, Connections: all(2, 3)}}}, all(1, 3), all(0, 0),
		},
	} {
		before := []Upstream{c.specific, c.general}
		got := MergeUpstream(&c.specific, &c.general)
		if p := got.OfPort(80).Connections; !reflect.DeepEqual(p, c.port) {
			t.Errorf("%s: port 80 has %+v, want %+v", name, p, c.port)
		}
		if p := got.OfPort(81).Connections; !reflect.DeepEqual(p, c.other) {
			t.Errorf("%s: other ports have %+v, want %+v", name, p, c.other)
		}
		if !reflect.DeepEqual(before, []Upstream{c.specific, c.general}) {
			t.Errorf("%s: the input has changed", name)
		}
	}
	if (*Upstream)(nil).OfPort(1) != nil {
		t.Error("nothing says something of a port")
	}
}
