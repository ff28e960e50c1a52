package proxy

import (
	"fmt"
	"net/netip"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/redirect/origdst"
)

// bind opens the listeners of Options and notes their addresses.
func (e *Engine) bind() error {
	o := &e.o
	open := func(addr netip.AddrPort, at *netip.AddrPort, accept func(*worker, *loop.Conn)) error {
		if !addr.IsValid() {
			return nil
		}
		ln, err := loop.Listen(addr)
		if err != nil {
			return err
		}
		*at = ln.Addr()
		e.listeners = append(e.listeners, &listener{ln: ln, accept: accept})
		return nil
	}
	if o.Inbound.IsValid() && o.TLS == nil {
		return fmt.Errorf("a mesh listener needs an identity")
	}
	if err := open(o.Inbound, &e.addrs.Inbound, (*worker).acceptMesh); err != nil {
		return err
	}
	if err := open(o.Outbound, &e.addrs.Outbound, (*worker).acceptCaptured); err != nil {
		return err
	}
	if err := open(o.HTTPProxy, &e.addrs.HTTPProxy, (*worker).acceptExplicit); err != nil {
		return err
	}
	e.addrs.Upstreams = make([]netip.AddrPort, len(o.Upstreams))
	for i, u := range o.Upstreams {
		accept := func(w *worker, raw *loop.Conn) {
			or := &origin{kind: fromUpstream, remote: raw.Remote(), service: u.Service, port: u.Port}
			w.loop.Go(func() {
				w.find(u.Service) // so that the port's protocol is known
				w.serveProgram(raw, or)
			})
		}
		if err := open(u.Listen, &e.addrs.Upstreams[i], accept); err != nil {
			return err
		}
	}
	return nil
}

// listener is a listening socket and what becomes of its connections.
type listener struct {
	ln     *loop.Listener
	accept func(*worker, *loop.Conn)
}

// attach makes a worker accept from all listeners. It runs on the worker's loop.
func (w *worker) attach(listeners []*listener) error {
	for _, ln := range listeners {
		stop, err := w.accept(ln.ln, func(raw *loop.Conn) { ln.accept(w, raw) })
		if err != nil {
			return err
		}
		w.stops = append(w.stops, stop)
	}
	return nil
}

// accept hands a listener's connections to f, within the bound on their number.
func (w *worker) accept(ln *loop.Listener, f func(*loop.Conn)) (stop func(), err error) {
	return w.loop.Accept(ln, func(raw *loop.Conn) {
		if !w.admit() {
			w.refused(raw.Remote(), flagOverload, errTooMany)
			raw.Abort()
			return
		}
		f(raw)
	})
}

var errTooMany = fmt.Errorf("too many connections, or shutting down")

// acceptMesh takes a connection from another proxy.
func (w *worker) acceptMesh(raw *loop.Conn) {
	w.loop.Go(func() { w.serveMesh(raw) })
}

// acceptCaptured takes a program's connection that was redirected here: the kernel knows where to.
func (w *worker) acceptCaptured(raw *loop.Conn) {
	dst, err := origdst.OriginalDst(raw.FD())
	if err != nil {
		w.refused(raw.Remote(), flagNoService, fmt.Errorf("not a redirected connection: %w", err))
		raw.Abort()
		w.closedDownstream()
		return
	}
	o := &origin{kind: fromCapture, remote: raw.Remote(), dst: dst}
	w.loop.Go(func() { w.serveProgram(raw, o) })
}

// acceptExplicit takes a connection of a program that knows us as its HTTP proxy.
func (w *worker) acceptExplicit(raw *loop.Conn) {
	o := &origin{kind: fromExplicit, remote: raw.Remote()}
	w.loop.Go(func() { w.serveH1(raw, o, nil, 0) })
}

// refused logs a connection that was turned away, at most a few a second: a scan must not fill the disk.
func (w *worker) refused(remote netip.AddrPort, reason string, err error) {
	const most, window = 10, time.Second
	if now := w.loop.Now(); now.Sub(w.refusedSince) > window {
		if w.refusedCount > most {
			w.log.Warn("more connections refused", "count", w.refusedCount-most)
		}
		w.refusedSince, w.refusedCount = now, 0
	}
	w.refusals++
	if w.refusedCount++; w.refusedCount <= most {
		w.log.Warn("connection refused", "remote", remote.String(), "reason", reason, "error", err)
	}
}
