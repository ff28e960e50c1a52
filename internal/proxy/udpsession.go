package proxy

import (
	"errors"
	"syscall"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
	"github.com/weft-mesh/weft/internal/telemetry"
)

// udpSession is a client of a UDP listener with the endpoint that takes its datagrams. It ends when it has been idle,
// when the endpoint refuses a datagram or is not configured any more, or to make room for another.
type udpSession struct {
	ent     *udpEntry
	peer    loop.Peer
	conn    *loop.Datagrams // to the endpoint alone
	rule    *rule
	service model.ServiceName
	port    uint16
	set     *endpointSet
	ep      *endpoint
	idle    time.Duration
	ended   bool

	first   []byte // the datagram that it began with, until another follows or an answer comes
	attempt int    // endpoints that first was sent to

	at     int  // of ep in set
	open   bool // nothing is known yet of how it goes
	probe  bool // on which the return of an ejected endpoint depends
	rec    telemetry.Record
	series *telemetry.Series

	used       time.Time // see sessionTable
	prev, next *udpSession
}

var _ loop.Handler = (*udpSession)(nil)

// forward passes a datagram on to the endpoint. It reports false when the session has ended because the endpoint
// refused one before.
func (s *udpSession) forward(b []byte) bool {
	w := s.ent.w
	s.ent.table.use(s, w.loop.Now())
	err := s.conn.Send(b)
	switch {
	case err == nil:
		s.keep(b)
		s.rec.RequestDatagrams++
		s.rec.RequestBytes += uint64(len(b))
		s.ent.counts.Sent++
		w.rec.Carried(s.series, len(b), 0)
	case errors.Is(err, loop.ErrFull):
		s.ent.drop(&Failure{"send", 0, flagSendBuffer, err})
	case errors.Is(err, syscall.EMSGSIZE):
		s.ent.drop(&Failure{"send", 0, flagTooLarge, err})
	default:
		s.refused(err)
		return false
	}
	return true
}

// Datagram passes an answer on to the client.
func (s *udpSession) Datagram(b []byte, _ loop.Peer) {
	w := s.ent.w
	now := w.loop.Now()
	if s.open {
		s.answered(now)
	}
	s.ent.table.use(s, now)
	s.rec.ResponseDatagrams++
	s.rec.ResponseBytes += uint64(len(b))
	s.ent.counts.Received++
	w.rec.Carried(s.series, 0, len(b))
	s.ent.conn.SendTo(b, s.peer)
}

// DatagramError learns that the endpoint has no such port, or cannot be reached.
func (s *udpSession) DatagramError(err error) {
	if errors.Is(err, loop.ErrCut) {
		s.ent.DatagramError(err)
		return
	}
	s.refused(err)
}

// refused ends the session. Where only one datagram was sent, it is the one that was refused, and goes to another
// endpoint: a question to a name server that has just gone is answered by the next.
func (s *udpSession) refused(err error) {
	s.blame()
	s.end(flagConnect, err)
	if s.first == nil || s.attempt >= maxFirstSends {
		return
	}
	if next := s.ent.open(s.peer); next != nil {
		next.attempt += s.attempt
		next.rec.Attempts = next.attempt
		next.forward(s.first)
	}
}

const (
	maxFirstSends = 3    // endpoints that the first datagram of a session is sent to
	maxFirst      = 2048 // bytes of a datagram that is kept for it
)

// keep keeps the first datagram as long as it is the only one.
func (s *udpSession) keep(b []byte) {
	if s.first = nil; s.open && s.rec.RequestDatagrams == 0 && len(b) <= maxFirst {
		s.first = append([]byte{}, b...)
	}
}

// answered notes the first datagram that came back.
func (s *udpSession) answered(now time.Time) {
	s.open, s.first = false, nil
	s.rec.HeadAt = now
	s.ep.failures, s.ep.retryAt = 0, time.Time{}
	if s.set.usesEWMA() {
		s.ep.latency.Observe(now.Sub(s.rec.Start), now, s.set.pool.upstream.Balance.Decay)
	}
	s.settle(resilience.Outcome{Status: 200, Probe: s.probe})
}

// blame counts a failure against the endpoint.
func (s *udpSession) blame() {
	if !s.open {
		s.probe = s.set.eject.Begin(s.at, s.ent.w.loop.Now())
	}
	s.open = false
	s.ep.unreachable()
	s.settle(resilience.Outcome{Failure: resilience.Connect, Probe: s.probe})
}

// settle tells the ejector how the session goes.
func (s *udpSession) settle(o resilience.Outcome) {
	w := s.ent.w
	if s.set.eject == nil || !s.set.eject.Observe(s.at, o, w.loop.Now(), w.random.Uint64()) {
		return
	}
	if s.set.chooser != nil {
		s.set.chooser.Invalidate()
	}
	w.log.Info("endpoint ejected", "service", s.service.String(), "endpoint", s.ep.model.ID, "why", "datagrams were refused")
}

// observe opens the record of a session.
func (s *udpSession) observe() {
	w, r := s.ent.w, &s.rec
	r.Start, r.Peer, r.Direction, r.Protocol = w.loop.Now(), s.peer.Addr, outbound, "udp"
	r.Source, r.SourceID = w.config.source, w.config.self
	r.Port, r.Rule, r.Endpoint, r.Attempts = s.ent.socket.Address.Port(), &s.rule.Ref, s.ep.model, s.attempt
	key := seriesKey{nil, s.rule, "udp"}
	if s.series = s.ep.series[key]; s.series == nil {
		s.series = w.rec.Series(telemetry.Key{
			Direction: outbound, Source: r.Source, SourceID: r.SourceID, Protocol: "udp", TLS: "none",
			Service: s.ent.name(), Destination: s.service.String(), Route: s.rule.Ref.String(), Version: s.ep.model.Labels[model.LabelVersion],
		})
		if s.ep.series == nil {
			s.ep.series = map[seriesKey]*telemetry.Series{}
		}
		s.ep.series[key] = s.series
	}
	r.Series = s.series
	w.rec.ConnectionOpened(s.series)
}

// end ends the session, with the failure that it ended by if there was one. Ending twice is harmless.
func (s *udpSession) end(flag string, err error) {
	if s.ended {
		return
	}
	s.ended = true
	w := s.ent.w
	s.ent.table.remove(s)
	s.conn.Close()
	s.ep.inflight--
	w.sessions--
	if s.set.bounds != nil {
		s.set.bounds.Release(resilience.Opened)
	}
	if s.open {
		s.set.eject.Abandon(s.at, s.probe)
	}
	s.rec.Failure, s.rec.Err = flag, err
	w.rec.ConnectionClosed(s.series)
	w.rec.Close(&s.rec, w.loop.Now())
	w.logged()
}
