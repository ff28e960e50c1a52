package proxy

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"

	"github.com/weft-mesh/weft/internal/model"
)

// name completes the key of a pool that is for all ports.
func (p *pool) name() {
	if p.datagrams {
		p.key = "udp\x00" + p.key
	}
	for _, name := range slices.Sorted(maps.Keys(p.subset)) {
		p.key += "\x00" + name + "\x00" + p.subset[name]
	}
}

// fillPorts makes a pool for each port of which a policy says something alone: its endpoints, choice, ejections, budget
// and bounds are apart from those of the other ports.
func (c *config) fillPorts(p *pool) error {
	if p.upstream == nil {
		return nil
	}
	for i := range p.upstream.Ports {
		port := p.upstream.Ports[i].Port
		of, err := c.fill(&pool{
			service: p.service, subset: p.subset, upstream: p.upstream.OfPort(port), datagrams: p.datagrams,
			key: fmt.Sprintf("%s\x00:%d", p.key, port), port: port,
		})
		if err != nil {
			return fmt.Errorf("port %d: %w", port, err)
		}
		p.ports = append(p.ports, of)
	}
	return nil
}

// of returns the pool for requests to a port.
func (p *pool) of(port uint16) *pool {
	for _, x := range p.ports {
		if x.port == port {
			return x
		}
	}
	return p
}

// separate finds out whether the pool's connections are made as those of the whole service, and so are shared.
func (p *pool) separate() {
	if p.service.Service == nil || p.datagrams {
		return
	}
	if mine := madeAs(p.upstream); !reflect.DeepEqual(mine, madeAs(p.service.Upstream)) {
		text, _ := json.Marshal(mine) // plain values, which always can
		p.own = string(text)
	}
}

// madeAs is what is said of connections themselves, not of how many there are.
func madeAs(up *model.Upstream) model.Connections {
	if up == nil {
		return model.Connections{}
	}
	c := up.Connections
	c.Max, c.Requests, c.Pending, c.Retries, c.TCPIdle = 0, 0, 0, 0, 0
	return c
}

func servesPort(m *model.Endpoint, port uint16) bool {
	return len(m.Ports) == 0 || slices.Contains(m.Ports, port)
}

// keyFor is the key of an endpoint as the pool reaches it.
func (p *pool) keyFor(m *model.Endpoint) endpointKey {
	key := keyOf(m)
	key.own = p.own
	if t := p.service.tlsFor(m); t != nil && m.Plain {
		key.tls = t.key
	}
	return key
}
