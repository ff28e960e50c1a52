package proxy

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/balance"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/resilience"
	"github.com/weft-mesh/weft/internal/route"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// Reasons why a datagram is dropped, besides those that requests have too.
const (
	flagSendBuffer = "send_buffer"    // the system had no room: the network or the receiver is too slow
	flagTooLarge   = "too_large"      // more than 65,507 bytes, or than the way allows
	flagTableFull  = "table_full"     // as many sessions as may be, and none idle
	tellEvery      = 10 * time.Second // of drops, in the log
)

// udpEntry is one worker's view of a UDP listener: its socket and the sessions of its clients.
type udpEntry struct {
	w        *worker
	socket   *socket
	conn     *loop.Datagrams
	table    *sessionTable
	counts   *telemetry.Datagrams
	sweeping loop.Timer
	sweepers func() // sweep, bound once
	told     time.Time
}

var _ loop.Handler = (*udpEntry)(nil)

func (ent *udpEntry) name() string { return ent.socket.Listeners[0].Name }

// adopt takes over what a snapshot says. Sessions go on where their endpoint is still one that the listener leads to.
func (ent *udpEntry) adopt(s *socket) {
	ent.socket, ent.sweepers = s, ent.sweep
	name := ent.name()
	if ent.counts = ent.w.datagrams[name]; ent.counts == nil {
		ent.counts = &telemetry.Datagrams{}
		ent.w.datagrams[name] = ent.counts
	}
	ent.table.each(func(s *udpSession) {
		if s.ep.left || !ent.leadsTo(s) {
			s.end("", nil)
		}
	})
}

// leadsTo reports whether a session's backend is one of the listener's.
func (ent *udpEntry) leadsTo(s *udpSession) bool {
	r := ent.rule()
	if r == nil {
		return false
	}
	for i := range r.backends {
		if b := &r.backends[i]; b.service != nil && b.Weight > 0 && b.Service == s.service && b.Port == s.port {
			return true
		}
	}
	return false
}

// rule is the one that takes all datagrams; nil when no route is attached.
func (ent *udpEntry) rule() *rule {
	if ln := ent.socket.listeners[0]; len(ln.rules) > 0 {
		return ln.rules[0]
	}
	return nil
}

// close ends all.
func (ent *udpEntry) close() {
	ent.table.each(func(s *udpSession) { s.end("", nil) })
	ent.sweeping.Stop()
	ent.conn.Close()
	if n := ent.conn.Unsent(); n > 0 {
		ent.counts.DropN(flagSendBuffer, n)
	}
}

// drain lets sessions finish what is under way.
func (ent *udpEntry) drain() {
	ent.table.hurry(drainedSessionIdle)
	ent.scheduleSweep()
}

// scheduleSweep has sessions end within a second and a quarter of the time that they may be idle.
func (ent *udpEntry) scheduleSweep() {
	if ent.table.len() > 0 {
		ent.w.loop.AfterFunc(&ent.sweeping, min(ent.table.least/4, time.Second), ent.sweepers)
	}
}

func (ent *udpEntry) sweep() {
	if ent.conn.Closed() { // the loop has ended
		ent.table.each(func(s *udpSession) { s.end("", nil) })
		return
	}
	ent.table.expired(ent.w.loop.Now(), func(s *udpSession) { s.end("", nil) })
	ent.scheduleSweep()
}

// Datagram passes on what a client sent.
func (ent *udpEntry) Datagram(b []byte, from loop.Peer) {
	// Once more where the endpoint turns out to have refused what was sent before.
	for range 2 {
		s := ent.table.byPeer[from]
		if s != nil && s.ep.sick && s.set.offersBetter(s.port, ent.w.loop.Now()) {
			s.end("", nil)
			s = nil
		}
		if s == nil {
			if s = ent.open(from); s == nil {
				return
			}
		}
		if s.forward(b) {
			return
		}
	}
	ent.counts.Drop(flagConnect)
}

// DatagramError takes what is wrong with the listening socket.
func (ent *udpEntry) DatagramError(err error) {
	if errors.Is(err, loop.ErrCut) {
		ent.drop(&Failure{"read", 0, flagTooLarge, err})
		return
	}
	ent.tell("a UDP listener has an error", flagInternal, err)
}

// drop counts a datagram that is not passed on, and tells of it now and then.
func (ent *udpEntry) drop(f *Failure) {
	ent.counts.Drop(f.Flag)
	ent.tell("datagram dropped", f.Flag, f.Err)
}

func (ent *udpEntry) tell(what, reason string, err error) {
	if now := ent.w.loop.Now(); now.Sub(ent.told) >= tellEvery {
		ent.told = now
		ent.w.log.Warn(what, "listener", ent.name(), "reason", reason, "error", err)
	}
}

var errTableFull = errors.New("there are as many sessions as may be, and all have been used in the last second")

// room makes room for one more session, and reports whether there is.
func (ent *udpEntry) room() bool {
	w := ent.w
	if ent.table.len() < w.e.o.MaxSessions && w.sessions < max(1, maxSessionSockets/len(w.e.workers)) {
		return true
	}
	s := ent.table.victim(w.loop.Now())
	if s == nil {
		return false
	}
	ent.counts.Evicted++
	s.end("", nil)
	return true
}

// open begins the session of a client: it chooses a backend by weight and an endpoint by the service's policy. On
// failure the datagram is dropped, and counted as such.
func (ent *udpEntry) open(from loop.Peer) *udpSession {
	s, f := ent.begin(from)
	if f != nil {
		ent.drop(f)
		return nil
	}
	return s
}

func (ent *udpEntry) begin(from loop.Peer) (*udpSession, *Failure) {
	w, r := ent.w, ent.rule()
	switch {
	case w.draining:
		return nil, &Failure{"route", 0, flagDraining, errTooMany}
	case r == nil:
		return nil, &Failure{"route", 0, flagNoRoute, errNoDatagramRoute}
	case !ent.room():
		return nil, &Failure{"route", 0, flagTableFull, errTableFull}
	}
	i := route.PickBackend(r.Rule, w.random.Uint64())
	if i < 0 {
		return nil, &Failure{"route", 0, flagBadBackend, fmt.Errorf("%s has no backend with a weight", r.Ref)}
	}
	b := &r.backends[i]
	if b.service == nil {
		return nil, &Failure{"route", 0, flagBadBackend, fmt.Errorf("%s: service %s cannot be used: %s", r.Ref, b.Service, b.Invalid)}
	}
	s := &udpSession{
		ent: ent, peer: from, rule: r, set: w.sets[b.pool.of(b.Port).index], service: b.Service, port: b.Port, idle: defaultSessionIdle, attempt: 1,
	}
	if b.plan != nil && b.plan.idle > 0 {
		s.idle = b.plan.idle
	}
	if s.set.bounds != nil && !s.set.bounds.Acquire(resilience.Opened) {
		return nil, &Failure{"pick", 0, flagLimit, fmt.Errorf("service %s: %s", b.Service, s.set.bounds.Explain(resilience.Opened))}
	}
	if f := s.connect(); f != nil {
		if s.set.bounds != nil {
			s.set.bounds.Release(resilience.Opened)
		}
		return nil, f
	}
	w.sessions++
	ent.table.add(s, w.loop.Now())
	if !ent.sweeping.Armed() {
		ent.scheduleSweep()
	}
	s.observe()
	return s, nil
}

var errNoDatagramRoute = errors.New("no route is attached to the listener")

// affinity names the client to tables by hash: of the keys of a policy, datagrams have its address alone.
func (s *udpSession) affinity() (hash uint64, hashed bool) {
	up := s.set.pool.upstream
	if s.set.chooser == nil || up == nil {
		return 0, false
	}
	for i := range up.Balance.Hash {
		if up.Balance.Hash[i].Source {
			return balance.HashString(0, s.peer.Addr.Addr().String()), true
		}
	}
	return 0, false
}

// connect chooses an endpoint and makes a socket to it: up to three, where the system knows no way.
func (s *udpSession) connect() *Failure {
	const most = 3
	w := s.ent.w
	var tried []*endpoint
	hash, hashed := s.affinity()
	var err error
	for range most {
		i := w.pickFrom(s.set, s.port, tried, hash, hashed)
		if i < 0 {
			break
		}
		s.ep, s.at = s.set.all[i], i
		s.open, s.probe = true, s.set.eject.Begin(i, w.loop.Now())
		if s.conn, err = w.loop.DialDatagrams(s.ep.model.Address, s); err == nil {
			s.ep.inflight++
			return nil
		}
		if exhausted(err) { // that is our own doing
			s.set.eject.Abandon(i, s.probe)
			return &Failure{"connect", 0, flagOverload, err}
		}
		s.blame()
		tried = append(tried, s.ep)
	}
	if err == nil {
		return &Failure{"pick", 0, flagNoEndpoints, fmt.Errorf("service %s has no endpoint for datagrams to port %d", s.service, s.port)}
	}
	return &Failure{"connect", 0, flagConnect, fmt.Errorf("%s of service %s: %w", s.ep.describe(), s.service, err)}
}

// offersBetter reports whether an endpoint for the port can be chosen that is well.
func (set *endpointSet) offersBetter(port uint16, now time.Time) bool {
	for i, ep := range set.all {
		if ep.serves(port) && !ep.sick && now.After(ep.retryAt) && set.eject.Admits(i, now) {
			return true
		}
	}
	return false
}

// exhausted reports whether the system has no descriptor, port or memory left for a socket.
func exhausted(err error) bool {
	for _, e := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.EAGAIN} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
