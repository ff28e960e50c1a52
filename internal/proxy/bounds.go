package proxy

import (
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// lease is a connection's place among those that a service may have open. The zero lease is none.
type lease struct{ set *endpointSet }

// end gives the place to whoever waits for one.
func (l *lease) end() {
	if l.set == nil {
		return
	}
	set := l.set
	l.set = nil
	set.bounds.Release(resilience.Opened)
	set.wakeOne()
}

func (s *endpointSet) wakeOne() {
	if len(s.waiters) > 0 {
		s.wake(s.waiters[0])
	}
}

func (s *endpointSet) wake(t *loop.Task) {
	for _, ep := range s.all {
		ep.w.loop.Wake(t)
		return
	}
}

// place waits until the exchange may open a connection to the endpoint, or use one that has become free, which is
// then returned. It fails when too many wait already.
func (ep *endpoint) place(x *exchange, fresh bool) (l lease, free *h1conn, err error) {
	if x.set == nil || x.set.bounds == nil {
		return lease{}, nil, nil
	}
	set, waiting := x.set, false
	t := ep.w.loop.Current()
	defer func() {
		if waiting {
			set.bounds.Release(resilience.Pending)
			set.waiters = without(set.waiters, t)
		}
	}()
	for {
		if set.bounds.Acquire(resilience.Opened) {
			return lease{set}, nil, nil
		}
		if !fresh {
			if free = ep.takeIdle(); free != nil {
				return lease{}, free, nil
			}
		}
		if set.closeUnused(ep) {
			continue // its place is free now
		}
		if !waiting {
			if !set.bounds.Acquire(resilience.Pending) {
				return lease{}, nil, errOverload
			}
			waiting = true
			set.waiters = append(set.waiters, t)
		}
		x.parked = t
		ep.w.loop.Park()
		x.parked = nil
		if x.gone || x.expired() {
			return lease{}, nil, errStopped
		}
	}
}

// boundAsConnection reports whether a stream to an endpoint stands for a connection: between proxies, what a client
// that speaks HTTP/1.1 or opaque bytes would have a connection for.
func (x *exchange) boundAsConnection(ep *endpoint) bool {
	return !ep.model.Plain && (x.opaque || !x.down.HTTP2())
}

// closeUnused closes an unused connection to another endpoint of the set.
func (s *endpointSet) closeUnused(but *endpoint) bool {
	for _, ep := range s.all {
		if ep == but {
			continue
		}
		if c := ep.takeIdle(); c != nil {
			counted := c.lease.set == s
			_ = c.raw.Close()
			c.lease.end()
			if counted {
				return true
			}
		}
	}
	return false
}

func without(list []*loop.Task, t *loop.Task) []*loop.Task {
	for i, other := range list {
		if other == t {
			return append(list[:i], list[i+1:]...)
		}
	}
	return list
}

// worn reports whether a connection has carried as many requests, or lived as long, as a policy allows.
func worn(c *model.Connections, requests int, born, now time.Time) bool {
	return c.PerConnection > 0 && requests >= c.PerConnection || c.MaxAge > 0 && now.Sub(born) >= c.MaxAge
}

// tune sets what a policy says about TCP.
func (ep *endpoint) tune(raw *loop.Conn) {
	if k := ep.timing.KeepAlive; k != nil {
		raw.KeepAliveWith(k.Time, k.Interval, k.Probes)
	}
}

// watchIdle ends an exchange in which no content has come or gone for a time, as a policy says. It looks four times
// in that time.
func (x *exchange) watchIdle() {
	if x.plan != nil {
		x.idleLimit = x.plan.idle
	}
	if x.opaque && x.idleLimit == 0 && x.set != nil && x.set.pool.upstream != nil {
		x.idleLimit = x.set.pool.upstream.Connections.TCPIdle
	}
	if x.idleLimit == 0 {
		return
	}
	x.quiet, x.carried = 0, 0
	x.w.loop.AfterFunc(&x.idleTimer, x.idleLimit/idleLooks, x.onIdle)
}

const idleLooks = 4

func (x *exchange) whenIdle() {
	carried := x.rec.RequestBytes + x.rec.ResponseBytes
	if carried != x.carried {
		x.quiet = 0
	}
	x.carried = carried
	if x.quiet++; x.quiet > idleLooks {
		x.silent = true
		x.interrupt()
		return
	}
	x.w.loop.AfterFunc(&x.idleTimer, x.idleLimit/idleLooks, x.onIdle)
}

// watchAge ends a connection of bytes when it is as old as a policy allows; what carries requests is not used for more
// of them then (see worn).
func (x *exchange) watchAge() {
	if !x.opaque || x.set == nil || x.set.pool.upstream == nil {
		return
	}
	if age := x.set.pool.upstream.Connections.MaxAge; age > 0 {
		x.limit = age
		x.w.loop.AfterFunc(&x.timer, age, func() {
			x.aged = true
			x.interrupt()
		})
	}
}
