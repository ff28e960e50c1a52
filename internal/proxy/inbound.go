package proxy

import (
	"cmp"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// adoptInbound takes over what a snapshot says of the workload's own ports: where their programs are, and how much may
// come in (Istio, Sidecar: inboundConnectionPool). What is in flight stays counted.
func (w *worker) adoptInbound() {
	for port, in := range w.config.inbound {
		c := in.Connections
		switch set := w.comeIn[port]; {
		case c == nil:
			delete(w.comeIn, port)
		case set == nil:
			if w.comeIn == nil {
				w.comeIn = map[uint16]*endpointSet{}
			}
			w.comeIn[port] = &endpointSet{pool: inboundPool(c), bounds: resilience.NewConcurrency(*c, 1, len(w.e.workers))}
		default:
			set.pool = inboundPool(c)
			set.bounds.Adopt(*c, 1, len(w.e.workers))
		}
	}
	for key, ep := range w.local {
		ep.series = nil
		if in := w.config.inbound[key.service]; in == nil || in.Port != key.port {
			delete(w.local, key)
			ep.leave()
			continue
		}
		w.bound(ep, key)
	}
	for port := range w.comeIn {
		if w.config.inbound[port] == nil {
			delete(w.comeIn, port)
		}
	}
}

func inboundPool(c *model.Connections) *pool {
	return &pool{upstream: &model.Upstream{Connections: *c}}
}

// bound makes what is open to the program of a port part of what its bounds count.
func (w *worker) bound(ep *endpoint, key localKey) {
	ep.timing = model.Connections{ConnectTimeout: connectTimeout, Idle: idleUpstream}
	defer func() {
		for _, c := range ep.conns {
			c.keepAlive()
		}
	}()
	set, in := w.comeIn[key.service], w.config.inbound[key.service]
	if set == nil || in == nil || in.Connections == nil {
		return
	}
	ep.timing = *in.Connections
	ep.timing.ConnectTimeout = cmp.Or(ep.timing.ConnectTimeout, connectTimeout)
	ep.timing.Idle = cmp.Or(ep.timing.Idle, idleUpstream)
	if !contains(set.all, ep) {
		set.all = append(set.all, ep)
	}
}
