package proxy

import (
	"errors"
	"fmt"
	"net/netip"
	"syscall"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// udpGate is an open UDP socket of a gateway, one of the system's for each worker. It stays open over snapshots as a
// gate does, so that the kernel's share of clients among the workers stays the same.
type udpGate struct {
	address netip.AddrPort
	ln      *loop.DatagramListener
}

// openUDP opens the UDP sockets that a configuration has and the engine has not. On failure nothing is open that was
// not before.
func (e *Engine) openUDP(c *config) (opened []*udpGate, err error) {
	for _, s := range c.udp {
		if e.udp[s.Address] != nil {
			continue
		}
		ln, err := loop.ListenDatagrams(s.Address, len(e.workers))
		switch {
		case err == nil:
			opened = append(opened, &udpGate{s.Address, ln})
		case s.Optional && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
			e.o.Logger.Debug("the system lacks an address", "address", s.Address.String())
		default:
			for _, g := range opened {
				_ = g.ln.Close()
			}
			return nil, fmt.Errorf("%s: %w", s.name(), err)
		}
	}
	return opened, nil
}

// closeUDP closes the sockets that a configuration, which all workers run, has not.
func (e *Engine) closeUDP(c *config) {
	for address, g := range e.udp {
		if c.udp[address] == nil {
			_ = g.ln.Close()
			delete(e.udp, address)
		}
	}
}

// DatagramSockets is Sockets for those that carry datagrams.
func (e *Engine) DatagramSockets() map[netip.AddrPort]netip.AddrPort {
	e.applying.Lock()
	defer e.applying.Unlock()
	out := make(map[netip.AddrPort]netip.AddrPort, len(e.udp))
	for address, g := range e.udp {
		out[address] = g.ln.Addr()
	}
	return out
}

// Datagrams returns each loop's counts, by listener.
func (e *Engine) Datagrams() (out []map[string]*telemetry.Datagrams) {
	for _, w := range e.workers {
		w.loop.Call(func() {
			copied := make(map[string]*telemetry.Datagrams, len(w.datagrams))
			for name, d := range w.datagrams {
				copied[name] = d.Clone()
			}
			for _, ent := range w.udp {
				if n := ent.conn.Unsent(); n > 0 {
					copied[ent.name()].DropN(flagSendBuffer, n)
				}
			}
			out = append(out, copied)
		})
	}
	return out
}

// resolveDatagrams gives the rules of a UDP socket the endpoints that take datagrams.
func (c *config) resolveDatagrams(s *socket) error {
	type key struct {
		service *service
		up      *model.Upstream
	}
	made := map[key]*pool{}
	for _, p := range c.pools {
		if p.datagrams {
			made[key{p.service, p.upstream}] = p
		}
	}
	for _, ln := range s.listeners {
		for _, r := range ln.rules {
			for i := range r.backends {
				b := &r.backends[i]
				if b.service == nil {
					continue
				}
				k := key{b.service, b.service.Upstream}
				if b.pool = made[k]; b.pool != nil {
					continue
				}
				var err error
				if b.pool, err = c.fill(&pool{service: b.service, upstream: k.up, key: b.service.Name.String(), datagrams: true}); err != nil {
					return fmt.Errorf("%s: %w", r.Ref, err)
				}
				made[k] = b.pool
			}
		}
	}
	return nil
}

// adoptUDP makes the entries of the worker, which is the i-th, those of its configuration. It runs on the worker's
// loop.
func (w *worker) adoptUDP(gates map[netip.AddrPort]*udpGate, i int) {
	for address, ent := range w.udp {
		if s := w.config.udp[address]; s != nil {
			ent.adopt(s)
			continue
		}
		ent.close()
		delete(w.udp, address)
	}
	for address, s := range w.config.udp {
		g := gates[address]
		if w.udp[address] != nil || g == nil || w.draining {
			continue
		}
		ent := &udpEntry{w: w, socket: s, table: newSessionTable()}
		ent.adopt(s)
		conn, err := w.loop.TakeDatagrams(g.ln, i, ent)
		if err != nil {
			w.log.Error("cannot take datagrams", "address", address.String(), "error", err)
			continue
		}
		ent.conn = conn
		w.udp[address] = ent
	}
}
