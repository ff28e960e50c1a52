package xds

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"sync"
	"time"

	"connectrpc.com/connect"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// Mesh is what the compiler made of one revision. It is immutable once published.
type Mesh struct {
	Revision    int64
	TrustDomain string
	Services    map[model.ServiceName]*model.Service
	// For returns a service as a workload sees it, by its proven namespace and its labels, and what those who see the
	// same have in common; nil if it sees what everybody does. It is pure; nil means that everybody sees the same.
	For func(n model.ServiceName, w *model.Workload) (s *model.Service, as string)
	// Sidecar returns what holds for the programs of a workload, by its proven namespace and its labels: what becomes of
	// calls to what is no service, nil if nothing is said of it, and which services they see, nil for all. It is pure;
	// nil means that nothing is said of any workload.
	Sidecar func(w *model.Workload) (*model.Outbound, func(model.ServiceName) bool)
	// Inbound returns what the programs of a workload serve: what its proxy says, as changed by a Sidecar. It is pure; nil
	// means that nothing is changed.
	Inbound func(w *model.Workload) []model.Inbound
	// Addressed returns the services that workloads of a namespace may call by an address that no name service gave
	// them. It is pure; nil means that there are none.
	Addressed func(namespace string) []model.ServiceName
	// Gateway returns what the proxies of a Gateway listen on, at the addresses of bind where it names none. It is
	// pure; nil means that there are no Gateways.
	Gateway func(name model.ServiceName, bind []netip.Addr) []model.Socket
	// Selected is Gateway for proxies that are chosen by their labels, as Istio's Gateways do; namespace is proven.
	Selected func(labels map[string]string, namespace string, bind []netip.Addr) []model.Socket
	// Egress returns the services whose requests leave the mesh through the proxies of a service; nil means none do.
	Egress func(gateway model.ServiceName) []model.ServiceName
	// ClientCertificate is what a Gateway's proxies show to backends outside the mesh; nil is nothing.
	ClientCertificate func(name model.ServiceName) *model.Certificate
	// Secret is the certificate of a Secret, "NAMESPACE/NAME", that services are reached with; nil is nothing. It is
	// pure; who may have it is for the server to say.
	Secret func(name string) *model.Certificate
}

// Bounds of a server. A proxy that exceeds one is refused with ResourceExhausted.
const (
	maxStreams     = 20000
	maxStreamNames = 10000

	// maxInitialVersions bounds what a proxy says that it holds: services with their endpoints, and parts of a gateway.
	maxInitialVersions = 2*maxStreamNames + 2 + 100000
)

// ServerOptions configure a Server.
type ServerOptions struct {
	// Identify returns who is at the other end of a call, from its TLS connection. It must not block.
	Identify func(context.Context) (model.Identity, error)
	Logger   *slog.Logger     // default: discards
	Now      func() time.Time // default: time.Now
	// Observe is told of each answer of a proxy: how long after the response was made it came, and
	// whether the proxy refused. It must not block. May be nil.
	Observe func(latency time.Duration, refused bool)
}

// Server is the control plane's side of the delta stream.
type Server struct {
	o ServerOptions

	mu       sync.Mutex // guards all below and every stream's state
	mesh     *Mesh      // nil until the first Publish
	cache    map[string]*discoveryv1.Resource
	gateways map[string]*gatewayResources // by gatewayNode.key; as cache
	taps     *discoveryv1.Resource
	streams  map[string]*stream // by node ID
	changed  chan struct{}      // closed and replaced whenever a proxy's state or the mesh changes
	pushes   uint64
	closed   bool
	done     chan struct{}
}

// NewServer returns a server that answers nobody until the first Publish.
func NewServer(o ServerOptions) *Server {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{
		o: o, cache: map[string]*discoveryv1.Resource{}, gateways: map[string]*gatewayResources{}, streams: map[string]*stream{},
		changed: make(chan struct{}), done: make(chan struct{}),
	}
	s.taps = tapsResource(nil)
	return s
}

func tapsResource(taps []*discoveryv1.Tap) *discoveryv1.Resource {
	return seal(nameTaps, &discoveryv1.Resource{Body: &discoveryv1.Resource_Taps{Taps: &discoveryv1.Taps{Taps: taps}}})
}

// Publish makes m the mesh that proxies are brought to, and decides for each connected proxy whether it
// is concerned. A mesh older than the one published is ignored. It does not wait for any proxy.
func (s *Server) Publish(m *Mesh) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.mesh != nil && m.Revision < s.mesh.Revision {
		return
	}
	s.mesh = m
	s.cache, s.gateways = map[string]*discoveryv1.Resource{}, map[string]*gatewayResources{}
	for _, st := range s.streams {
		s.advance(st)
	}
	s.notify()
}

// SetTaps replaces the taps of all proxies. Taps are no part of the mesh's revision.
func (s *Server) SetTaps(taps []*discoveryv1.Tap) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taps = tapsResource(taps)
	for _, st := range s.streams {
		s.advance(st)
	}
}

// Close ends all streams; proxies keep what they run and look for another control plane.
func (s *Server) Close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.closed {
		s.closed = true
		close(s.done)
	}
}

func (s *Server) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// Delta implements the Delta call of the discovery service.
func (s *Server) Delta(ctx context.Context, bidi *connect.BidiStream[discoveryv1.DeltaRequest, discoveryv1.DeltaResponse]) error {
	id, err := s.o.Identify(ctx)
	if err != nil {
		return connect.NewError(connect.CodeUnauthenticated, err)
	}
	first, err := bidi.Receive()
	if err != nil {
		return ended(err)
	}
	st, err := newStream(first.GetNode(), id, s.o.Now())
	if errors.Is(err, errForeignGateway) {
		return connect.NewError(connect.CodePermissionDenied, err)
	}
	if err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	if err := s.join(st, first); err != nil {
		return err
	}
	defer s.leave(st)

	// Receive blocks until the peer speaks or this handler returns, so it has a goroutine of its own,
	// which the return of the handler ends.
	failed := make(chan error, 1)
	go func() {
		for {
			req, err := bidi.Receive()
			if err == nil {
				err = s.handle(st, req)
			}
			if err != nil {
				failed <- err
				return
			}
		}
	}()
	for {
		select {
		case resp := <-st.out:
			if err := bidi.Send(resp); err != nil {
				return ended(err)
			}
		case q := <-st.ask:
			if err := bidi.Send(q); err != nil {
				return ended(err)
			}
		case err := <-failed:
			return ended(err)
		case <-st.replaced:
			return connect.NewError(connect.CodeAborted, errors.New("a newer stream of this proxy took over"))
		case <-s.done:
			return connect.NewError(connect.CodeUnavailable, errors.New("the control plane is shutting down"))
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// ended turns the way a stream ended into what its caller should see: nothing for a clean end.
func ended(err error) error {
	var ce *connect.Error
	if err == nil || errors.As(err, &ce) {
		return err
	}
	// io.EOF among them: the proxy closed its side.
	return nil
}

// join adds the stream, in place of an older one of the same proxy.
func (s *Server) join(st *stream, first *discoveryv1.DeltaRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	old := s.streams[st.node.GetId()]
	switch {
	case s.closed:
		return connect.NewError(connect.CodeUnavailable, errors.New("the control plane is shutting down"))
	case old != nil && old.identity != st.identity:
		return connect.NewError(connect.CodeAlreadyExists, fmt.Errorf("workload ID %q is in use by %s", st.node.GetId(), old.identity))
	case old == nil && len(s.streams) >= maxStreams:
		return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("this control plane serves %d proxies, its limit", maxStreams))
	case len(first.GetInitialVersions()) > maxInitialVersions:
		return connect.NewError(connect.CodeResourceExhausted, fmt.Errorf("%d initial versions; at most %d are allowed", len(first.GetInitialVersions()), maxInitialVersions))
	}
	if err := st.subscribe(first); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	for name, version := range first.GetInitialVersions() {
		st.held[name] = version
	}
	if old != nil {
		close(old.replaced)
	}
	s.streams[st.node.GetId()] = st
	s.advance(st)
	s.notify()
	s.o.Logger.Info("proxy connected", "proxy", st.node.GetId(), "identity", st.identity.String(), "version", st.node.GetVersion())
	return nil
}

func (s *Server) leave(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	close(st.gone)
	if s.streams[st.node.GetId()] == st {
		delete(s.streams, st.node.GetId())
		s.notify()
	}
	s.o.Logger.Info("proxy disconnected", "proxy", st.node.GetId())
}

// handle takes one request: an answer to the response in flight, a change of subscriptions, or both.
func (s *Server) handle(st *stream, req *discoveryv1.DeltaRequest) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := st.subscribe(req); err != nil {
		return connect.NewError(connect.CodeInvalidArgument, err)
	}
	st.answered(req.GetAnswers())
	// An answer with another nonce is to a response of the past; the one in flight will be answered too.
	if f := st.inFlight; f != nil && req.GetNonce() == f.nonce {
		now := s.o.Now()
		if s.o.Observe != nil {
			s.o.Observe(now.Sub(f.made), req.GetError() != "")
		}
		if req.GetError() == "" {
			st.accept(now)
		} else {
			st.refuse(req.GetError())
			s.o.Logger.Warn("proxy refused its configuration", "proxy", st.node.GetId(), "revision", f.revision, "reason", st.nack)
		}
	}
	s.advance(st)
	s.notify()
	return nil
}
