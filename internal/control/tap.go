package control

import (
	"context"
	"crypto/rand"
	"sync"

	"connectrpc.com/connect"

	adminv1 "github.com/weft-mesh/weft/api/weft/admin/v1"
	"github.com/weft-mesh/weft/api/weft/admin/v1/adminv1connect"
	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
)

const (
	defaultTapRPS = 100
	maxTaps       = 32
	tapBuffer     = 1000
	remembered    = 10_000
)

// taps are the live taps of this control plane's proxies, and the events they brought lately.
type taps struct {
	s *Server

	mu   sync.Mutex
	live map[string]*tapSession
	ring []*discoveryv1.TapEvent // for explain by id
	next int
}

type tapSession struct {
	tap     *discoveryv1.Tap
	events  chan *discoveryv1.TapEvent
	dropped uint64
}

func newTaps(s *Server) *taps { return &taps{s: s, live: map[string]*tapSession{}} }

// open starts a tap; closing it takes it off the proxies.
func (t *taps) open(req *adminv1.TapRequest) (*tapSession, func(), error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.live) >= maxTaps {
		return nil, nil, connect.NewError(connect.CodeResourceExhausted, errTooManyTaps)
	}
	rps := req.GetMaxRps()
	if rps == 0 {
		rps = defaultTapRPS
	}
	session := &tapSession{
		tap:    &discoveryv1.Tap{Id: rand.Text(), Filter: req.GetFilter(), MaxRps: rps},
		events: make(chan *discoveryv1.TapEvent, tapBuffer),
	}
	t.live[session.tap.GetId()] = session
	t.push()
	return session, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		delete(t.live, session.tap.GetId())
		t.push()
	}, nil
}

// push gives the proxies the present set. The lock is held.
func (t *taps) push() {
	var all []*discoveryv1.Tap
	for _, s := range t.live {
		all = append(all, s.tap)
	}
	t.s.xds.SetTaps(all)
}

// events takes what a proxy reported.
func (t *taps) events(events []*discoveryv1.TapEvent) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, ev := range events {
		if len(t.ring) < remembered {
			t.ring = append(t.ring, ev)
		} else {
			t.ring[t.next] = ev
			t.next = (t.next + 1) % remembered
		}
		if s := t.live[ev.GetTapId()]; s != nil {
			select {
			case s.events <- ev:
			default:
				s.dropped++
			}
		}
	}
}

// find returns the remembered event of a request, the caller's side of it if there is one.
func (t *taps) find(requestID string) *discoveryv1.TapEvent {
	t.mu.Lock()
	defer t.mu.Unlock()
	var found *discoveryv1.TapEvent
	for _, ev := range t.ring {
		if ev.GetRequestId() == requestID && (found == nil || ev.GetDirection() == "outbound") {
			found = ev
		}
	}
	return found
}

// Tap streams events until the caller leaves.
func (a *admin) Tap(ctx context.Context, req *connect.Request[adminv1.TapRequest], stream *connect.ServerStream[discoveryv1.TapEvent]) error {
	session, done, err := a.s.taps.open(req.Msg)
	if err != nil {
		return err
	}
	defer done()
	ctx, cancel := context.WithCancel(ctx)
	var peers sync.WaitGroup
	defer peers.Wait()
	defer cancel()
	if ctx.Value(peerKey{}) == nil {
		for _, rec := range a.s.others() {
			peers.Go(func() { a.relay(ctx, rec.Address, req.Msg, session) })
		}
	}
	// The head of the stream tells the caller that the tap is on its way to the proxies.
	if err := stream.Send(nil); err != nil {
		return err
	}
	for {
		select {
		case <-ctx.Done():
			return nil
		case ev := <-session.events:
			if req.Msg.GetInboundOnly() && ev.GetDirection() != "inbound" || req.Msg.GetOutboundOnly() && ev.GetDirection() != "outbound" {
				continue
			}
			if err := stream.Send(ev); err != nil {
				return err
			}
		}
	}
}

// relay brings the events of another control plane's proxies into a tap of ours.
func (a *admin) relay(ctx context.Context, address string, req *adminv1.TapRequest, into *tapSession) {
	client, closeIdle := a.s.peer(address)
	defer closeIdle()
	stream, err := client.Tap(ctx, connect.NewRequest(req))
	if err != nil {
		return
	}
	defer stream.Close()
	for stream.Receive() {
		ev := stream.Msg()
		if ev.GetTapId() == "" {
			continue
		}
		select {
		case into.events <- ev:
		case <-ctx.Done():
			return
		}
	}
}

var _ adminv1connect.AdminServiceHandler = (*admin)(nil)
