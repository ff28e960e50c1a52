package xds

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"math/rand/v2"
	"sync"
	"time"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/api/weft/discovery/v1/discoveryv1connect"
	"github.com/weft-mesh/weft/internal/model"
)

// ClientOptions configure a Client.
type ClientOptions struct {
	HTTP    connect.HTTPClient
	BaseURL string
	Node    *discoveryv1.Node
	Logger  *slog.Logger // default: discards
	// Apply makes a snapshot run. The ACK leaves after it returns; an error refuses the snapshot, and what
	// ran before goes on. It is called from one goroutine.
	Apply func(*model.Snapshot) error
	Taps  func([]*discoveryv1.Tap) // may be nil
	// Conditions answers what is known of the endpoints of services; see proxy.Engine.Conditions. It is called
	// from the goroutine that applies. May be nil.
	Conditions func([]model.ServiceName) []*discoveryv1.PoolState
	// MaxSubscriptions bounds the services held on demand; beyond it the one asked for longest ago goes.
	// Default 1,000.
	MaxSubscriptions int
}

// Client is a proxy's side of the delta stream. It keeps what it has while the control plane is away. All
// methods may be called from any goroutine; Run once.
type Client struct {
	o     ClientOptions
	ready chan struct{}

	mu        sync.Mutex
	held      map[string]*discoveryv1.Resource
	names     map[model.ServiceName]*subscription
	revision  int64
	connected bool
	changed   chan struct{} // closed and replaced when an answer comes or the stream's state changes
	wanted    chan struct{} // there are subscriptions to send
	again     chan struct{} // what was refused is to be tried again
	subscribe []string
	forget    []string
}

// subscription is a service that somebody asked for.
type subscription struct {
	used   time.Time
	absent bool // the control plane has said that there is none
	pinned bool // never evicted
}

// NewClient returns a client that does nothing until Run.
func NewClient(o ClientOptions) *Client {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.MaxSubscriptions <= 0 {
		o.MaxSubscriptions = 1000
	}
	return &Client{
		o: o, ready: make(chan struct{}), held: map[string]*discoveryv1.Resource{},
		names: map[model.ServiceName]*subscription{}, changed: make(chan struct{}), wanted: make(chan struct{}, 1),
		again: make(chan struct{}, 1),
	}
}

// Ready is closed when the first snapshot has been applied.
func (c *Client) Ready() <-chan struct{} { return c.ready }

// Again has the control plane send once more what was refused, on a new stream: what it was refused for is gone.
func (c *Client) Again() {
	select {
	case c.again <- struct{}{}:
	default:
	}
}

var errAgain = errors.New("a configuration that was refused is asked for again")

// Back-off between streams.
const (
	minBackoff = 100 * time.Millisecond
	maxBackoff = 2 * time.Second
)

// Run keeps a stream open until ctx ends, and then returns nil.
func (c *Client) Run(ctx context.Context) error {
	api := discoveryv1connect.NewDiscoveryServiceClient(c.o.HTTP, c.o.BaseURL)
	delay, away := minBackoff, false
	for ctx.Err() == nil {
		began := time.Now()
		err := c.stream(ctx, api)
		if ctx.Err() != nil {
			break
		}
		if !away && !errors.Is(err, errAgain) {
			c.o.Logger.Warn("control plane lost: running on with what is there", "error", err)
			away = true
		}
		if time.Since(began) > maxBackoff {
			delay, away = minBackoff, false
		}
		timer := time.NewTimer(delay/2 + rand.N(delay))
		select {
		case <-ctx.Done():
			timer.Stop()
		case <-timer.C:
		}
		delay = min(2*delay, maxBackoff)
	}
	return nil
}

// stream runs one stream to its end.
func (c *Client) stream(ctx context.Context, api discoveryv1connect.DiscoveryServiceClient) error {
	ctx, cancel := context.WithCancel(ctx)
	s := api.Delta(ctx)
	// The end of ctx alone ends nothing: the transport hears of it when it next reads our side.
	end := func() {
		cancel()
		_ = s.CloseRequest()
	}
	defer func() {
		end()
		_ = s.CloseResponse()
	}()
	if err := s.Send(c.hello()); err != nil {
		if _, cause := s.Receive(); errors.Is(err, io.EOF) && cause != nil {
			err = cause // the stream's own error says more
		}
		return err
	}
	// From here on questions can be asked; a stream that fails after all wakes those who wait.
	c.setConnected(true)
	defer c.setConnected(false)

	answers := make(chan *discoveryv1.DeltaRequest)
	failed := make(chan error, 1)
	go func() {
		failed <- c.receive(ctx, s, answers)
	}()
	for {
		var req *discoveryv1.DeltaRequest
		select {
		case <-ctx.Done():
			end()
			<-failed
			return ctx.Err()
		case err := <-failed:
			return err
		case <-c.again:
			end()
			<-failed
			return errAgain
		case req = <-answers:
		case <-c.wanted:
			req = &discoveryv1.DeltaRequest{}
		}
		c.addSubscriptions(req)
		if err := s.Send(req); err != nil {
			end()
			if cause := <-failed; cause != nil {
				err = cause
			}
			return err
		}
	}
}

// hello is the first request: who we are, what we hold, what we want.
func (c *Client) hello() *discoveryv1.DeltaRequest {
	c.mu.Lock()
	defer c.mu.Unlock()
	req := &discoveryv1.DeltaRequest{Node: c.o.Node, InitialVersions: map[string]string{}}
	for name, r := range c.held {
		req.InitialVersions[name] = r.GetVersion()
	}
	for n := range c.names {
		req.Subscribe = append(req.Subscribe, ServiceResource(n))
	}
	c.subscribe, c.forget = nil, nil
	return req
}

func (c *Client) setConnected(on bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.connected != on {
		c.connected = on
		c.notify()
	}
}

func (c *Client) notify() {
	close(c.changed)
	c.changed = make(chan struct{})
}

// addSubscriptions moves what waits to be asked for into a request.
func (c *Client) addSubscriptions(req *discoveryv1.DeltaRequest) {
	c.mu.Lock()
	defer c.mu.Unlock()
	req.Subscribe, req.Unsubscribe = c.subscribe, c.forget
	c.subscribe, c.forget = nil, nil
}

// receive takes responses, applies them, and hands the answers to whoever sends.
func (c *Client) receive(ctx context.Context, s *connect.BidiStreamForClient[discoveryv1.DeltaRequest, discoveryv1.DeltaResponse], answers chan<- *discoveryv1.DeltaRequest) error {
	for {
		resp, err := s.Receive()
		if err != nil {
			return err
		}
		answer := &discoveryv1.DeltaRequest{Nonce: resp.GetNonce(), Answers: c.answer(resp.GetQuestions())}
		if resp.GetNonce() == "" && len(resp.GetQuestions()) > 0 {
			// No configuration.
		} else if err := c.take(resp); err != nil {
			answer.Error = err.Error()
			c.o.Logger.Error("configuration refused: running on with the last good one", "revision", resp.GetRevision(), "error", err)
		}
		select {
		case answers <- answer:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// take applies one response, all of it or nothing.
func (c *Client) take(resp *discoveryv1.DeltaResponse) error {
	c.mu.Lock()
	next := make(map[string]*discoveryv1.Resource, len(c.held)+len(resp.GetResources()))
	for name, r := range c.held {
		next[name] = r
	}
	c.mu.Unlock()
	for _, name := range resp.GetRemoved() {
		delete(next, name)
	}
	for _, r := range resp.GetResources() {
		next[r.GetName()] = r
	}
	all := make([]*discoveryv1.Resource, 0, len(next))
	for _, r := range next {
		all = append(all, r)
	}
	snap, err := SnapshotFromResources(resp.GetRevision(), all)
	if err != nil {
		return err
	}
	if err := c.o.Apply(snap); err != nil {
		return err
	}
	c.keep(next, resp)
	return nil
}

// keep records what runs now and tells those who wait for it.
func (c *Client) keep(next map[string]*discoveryv1.Resource, resp *discoveryv1.DeltaResponse) {
	c.mu.Lock()
	c.held, c.revision = next, resp.GetRevision()
	for _, name := range resp.GetRemoved() {
		if n, ok, err := parseSubscription(name); err == nil && ok && c.names[n] != nil {
			c.names[n].absent = true
		}
	}
	for _, r := range resp.GetResources() {
		if n, ok, err := parseSubscription(r.GetName()); err == nil && ok && c.names[n] != nil {
			c.names[n].absent = false
		}
	}
	c.notify()
	select {
	case <-c.ready:
	default:
		close(c.ready)
	}
	c.mu.Unlock()
	for _, r := range resp.GetResources() {
		if r.GetName() == nameTaps && c.o.Taps != nil {
			c.o.Taps(r.GetTaps().GetTaps())
		}
	}
}
