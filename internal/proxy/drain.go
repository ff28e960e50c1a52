package proxy

import (
	"context"
	"time"
)

// Drain stops accepting, lets what is in flight finish, and returns when nothing is or ctx ends. Idle
// connections close; HTTP/2 peers get GOAWAY, HTTP/1.1 clients "Connection: close" with their next answer. Once
// nothing is in flight, clients have partingTime to hear of it.
func (e *Engine) Drain(ctx context.Context) error {
	for _, w := range e.workers {
		w.loop.Call(w.drain)
	}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	var quiet time.Time
	for {
		s, now := e.Stats(), time.Now()
		if s.Active > 0 {
			quiet = time.Time{}
		} else if quiet.IsZero() {
			quiet = now
		}
		if s.Connections == 0 || s.Active == 0 && now.Sub(quiet) > partingTime {
			return nil
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

func (w *worker) drain() {
	w.draining = true
	for _, stop := range w.stops {
		stop()
	}
	w.stops = nil
	for _, ent := range w.entries {
		ent.stop()
	}
	clear(w.entries)
	for _, ent := range w.udp {
		ent.drain()
	}
	for s := range w.servers {
		if !s.busy {
			_ = s.c.raw.Close()
		}
	}
	for c := range w.served {
		c.drain()
	}
}
