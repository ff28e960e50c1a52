package xds

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
)

// absent is the version of a subscribed name that does not exist: the proxy was told so.
const absent = "-"

const (
	maxNackBytes   = 1024
	maxNodeIDBytes = 253
	maxNodeLabels  = 64
)

// stream is what the server knows of one connected proxy. The server's lock guards it.
type stream struct {
	node      *discoveryv1.Node
	identity  model.Identity
	workload  model.Workload
	gateway   *gatewayNode // nil: the proxy is no gateway
	connected time.Time

	names   map[model.ServiceName]bool
	held    map[string]string                // resource name -> version the proxy runs, or absent
	kept    map[string]*discoveryv1.Resource // bodies of held, those acknowledged on this stream
	refused map[string]string                // versions the proxy refused by themselves; not sent again

	inFlight *response
	one      bool // send one service at a time: the last response was refused and the culprit is to be found
	nonce    uint64

	sent, acked  int64 // revisions
	ackedAt      time.Time
	nack         string
	nackRevision int64

	asked     map[string]chan *discoveryv1.Answer // who waits for the answer to a question, by its ID
	questions uint64

	out      chan *discoveryv1.DeltaResponse // holds the one response in flight
	ask      chan *discoveryv1.DeltaResponse // questions
	replaced chan struct{}
	gone     chan struct{} // closed when the stream has ended
}

// response is a response that waits for its answer.
type response struct {
	nonce    string
	revision int64 // that is complete with it
	mesh     int64 // that it was made from
	made     time.Time
	versions map[string]string // what the proxy holds of these names once it accepts; "" means nothing
	bodies   map[string]*discoveryv1.Resource
	groups   int // services among them that can be sent apart
}

func newStream(n *discoveryv1.Node, id model.Identity, now time.Time) (*stream, error) {
	if n == nil || n.GetId() == "" {
		return nil, errors.New("the first request of a stream must carry the node with its id")
	}
	if len(n.GetId()) > maxNodeIDBytes || len(n.GetLabels()) > maxNodeLabels {
		return nil, fmt.Errorf("node id is limited to %d bytes and labels to %d", maxNodeIDBytes, maxNodeLabels)
	}
	inbound, err := InboundFromWire(n.GetInbound())
	if err != nil {
		return nil, err
	}
	for i := range inbound {
		inbound[i].Connections = nil // not the proxy's to say
	}
	w := model.Workload{ID: n.GetId(), Identity: id, Labels: labels(n.GetLabels()), Inbound: inbound}
	if n.GetService() != "" {
		w.Service = model.ServiceName{Namespace: id.Namespace, Name: n.GetService()}
	}
	gw, err := newGatewayNode(n, id)
	if err != nil {
		return nil, err
	}
	return &stream{
		node: n, identity: id, workload: w, gateway: gw, connected: now,
		names: map[model.ServiceName]bool{}, held: map[string]string{},
		kept: map[string]*discoveryv1.Resource{}, refused: map[string]string{},
		asked: map[string]chan *discoveryv1.Answer{},
		out:   make(chan *discoveryv1.DeltaResponse, 1), ask: make(chan *discoveryv1.DeltaResponse, maxQuestions),
		replaced: make(chan struct{}), gone: make(chan struct{}),
	}, nil
}

// subscribe applies a request's changes of subscriptions.
func (st *stream) subscribe(req *discoveryv1.DeltaRequest) error {
	for _, text := range req.GetSubscribe() {
		n, ok, err := parseSubscription(text)
		if err != nil {
			return err
		}
		if ok {
			st.names[n] = true
			// A proxy that asks again wants an answer again, if only that there is no such service.
			if st.held[ServiceResource(n)] == absent {
				delete(st.held, ServiceResource(n))
			}
		}
	}
	for _, text := range req.GetUnsubscribe() {
		n, ok, err := parseSubscription(text)
		if err != nil {
			return err
		}
		if ok {
			delete(st.names, n)
		}
	}
	if len(st.names) > maxStreamNames {
		return fmt.Errorf("%d services subscribed; at most %d are allowed", len(st.names), maxStreamNames)
	}
	return nil
}

// accept takes the ACK of the response in flight.
func (st *stream) accept(now time.Time) {
	f := st.inFlight
	st.inFlight = nil
	for name, version := range f.versions {
		delete(st.refused, name)
		if version == "" {
			delete(st.held, name)
			delete(st.kept, name)
			continue
		}
		st.held[name] = version
		if body := f.bodies[name]; body != nil {
			st.kept[name] = body
		} else {
			delete(st.kept, name)
		}
	}
	st.acked = max(st.acked, f.revision)
	st.ackedAt = now
	if len(st.refused) == 0 && !st.one {
		st.nack, st.nackRevision = "", 0
	}
}

// refuse takes the NACK of the response in flight. A response of several services is tried again one
// service at a time, so that one bad service does not hold back the others.
func (st *stream) refuse(reason string) {
	f := st.inFlight
	st.inFlight = nil
	if len(reason) > maxNackBytes {
		reason = reason[:maxNackBytes]
	}
	st.nack, st.nackRevision = reason, f.mesh
	if f.groups > 1 {
		st.one = true
		return
	}
	for name, version := range f.versions {
		st.refused[name] = version
	}
}

// advance brings one proxy closer to the mesh: unless an answer is outstanding, it sends what differs, or
// finds that nothing does and counts the proxy as current. The server's lock is held.
func (s *Server) advance(st *stream) {
	if s.mesh == nil || st.inFlight != nil {
		return
	}
	diff := s.difference(st)
	if len(diff) == 0 {
		st.one = false
		if len(st.refused) == 0 {
			// Whatever was refused is gone from the mesh: the proxy runs this revision as it is.
			st.acked = max(st.acked, s.mesh.Revision)
			st.nack, st.nackRevision = "", 0
		} else {
			st.nackRevision = s.mesh.Revision
		}
		return
	}
	s.send(st, diff)
}

// difference returns the names to send, with the version the proxy holds afterwards.
func (s *Server) difference(st *stream) map[string]string {
	want := s.desired(st)
	diff := map[string]string{}
	for name, version := range want {
		if st.held[name] == version {
			delete(st.refused, name)
			continue
		}
		if st.refused[name] != version {
			diff[name] = version
		}
	}
	for name := range st.held {
		if _, ok := want[name]; !ok {
			diff[name] = ""
		}
	}
	for name := range st.refused {
		if _, ok := want[name]; !ok {
			delete(st.refused, name)
		}
	}
	return diff
}

// desired returns what the proxy should hold: its workload, the taps, its listeners if it is a gateway, each service it subscribed to and,
// transitively, each that those send requests, copies of them or questions about them to.
func (s *Server) desired(st *stream) map[string]string {
	want := map[string]string{nameTaps: s.taps.GetVersion()}
	outbound, sees := s.sidecar(st)
	want[nameWorkload] = s.workload(st, outbound).GetVersion()
	queue := make([]model.ServiceName, 0, len(st.names))
	seen := make(map[model.ServiceName]bool, len(st.names))
	for n := range st.names {
		if sees == nil || sees(n) {
			seen[n], queue = true, append(queue, n)
		}
	}
	follow := func(n model.ServiceName) {
		if !seen[n] {
			seen[n] = true
			queue = append(queue, n)
		}
	}
	if outbound.CapturesAll() && s.mesh.Addressed != nil {
		for _, n := range s.mesh.Addressed(st.identity.Namespace) {
			if sees == nil || sees(n) {
				follow(n)
			}
		}
	}
	outbound.EachUsed(follow)
	inboundPolicy(s.mesh.Services[st.workload.Service]).EachAsked(follow)
	if st.gateway != nil {
		g := s.gatewayOf(st, follow)
		for name, r := range g.byName {
			want[name] = r.GetVersion()
		}
		for _, secret := range g.secrets {
			s.wantSecret(st, nil, secret, want)
		}
		s.eachEgress(st, follow)
	}
	for len(queue) > 0 {
		n := queue[len(queue)-1]
		queue = queue[:len(queue)-1]
		svc, key := s.service(st, n)
		if svc == nil {
			if st.names[n] {
				want[ServiceResource(n)] = absent
			}
			continue
		}
		want[ServiceResource(n)] = s.resource(key, svc, serviceResource).GetVersion()
		want[EndpointsResource(n)] = s.resource(EndpointsResource(n), svc, endpointsResource).GetVersion()
		svc.EachUsed(follow)
		svc.EachSecret(func(secret string) { s.wantSecret(st, svc, secret, want) })
	}
	for n := range st.names {
		if !seen[n] {
			want[ServiceResource(n)] = absent // it is there, and not for this workload
		}
	}
	return want
}

// sidecar returns what holds for the programs of the stream's workload. Gateways have none (Istio, Sidecar).
func (s *Server) sidecar(st *stream) (*model.Outbound, func(model.ServiceName) bool) {
	if s.mesh.Sidecar == nil || st.gateway != nil {
		return nil, nil
	}
	return s.mesh.Sidecar(&st.workload)
}

// workload returns what the proxy is told of itself. That is made anew only when it has changed.
func (s *Server) workload(st *stream, outbound *model.Outbound) *discoveryv1.Resource {
	w := st.workload
	w.Outbound = outbound
	if s.mesh.Inbound != nil && st.gateway == nil {
		w.Inbound = s.mesh.Inbound(&st.workload)
	}
	w.Policy = inboundPolicy(s.mesh.Services[w.Service])
	if r := st.kept[nameWorkload]; r != nil && proto.Equal(r.GetWorkload(), WorkloadToWire(s.mesh.TrustDomain, w)) {
		return r
	}
	return workloadResource(s.mesh.TrustDomain, w)
}

// inboundPolicy is what of a service's policy its servers' proxies see to: the rate limits.
func inboundPolicy(s *model.Service) *model.Policy {
	if s == nil || s.Policy == nil || len(s.Policy.Limits) == 0 {
		return nil
	}
	return &model.Policy{Ref: s.Policy.Ref, Limits: s.Policy.Limits}
}

// service returns a service as the stream's workload sees it, nil if there is none, and the key of its resource
// in the cache.
func (s *Server) service(st *stream, n model.ServiceName) (*model.Service, string) {
	svc, name := s.mesh.Services[n], ServiceResource(n)
	if svc == nil || s.mesh.For == nil {
		return svc, name
	}
	if own, as := s.mesh.For(n, &st.workload); own != nil {
		return own, name + " for " + as
	}
	return svc, name
}

// resource returns what the cache has of that key, or makes it: once per mesh, however many proxies use it.
func (s *Server) resource(key string, svc *model.Service, encode func(*model.Service) *discoveryv1.Resource) *discoveryv1.Resource {
	r := s.cache[key]
	if r == nil {
		r = encode(svc)
		s.cache[key] = r
	}
	return r
}

// send makes the response of a difference and puts it in flight.
func (s *Server) send(st *stream, diff map[string]string) {
	groups := map[string][]string{}
	for name := range diff {
		groups[groupOf(name)] = append(groups[groupOf(name)], name)
	}
	complete := s.mesh.Revision
	if st.one && len(groups) > 1 {
		// Of several, the first by name alone; the revision is complete only with the last.
		key := slices.Min(slices.Collect(maps.Keys(groups)))
		groups = map[string][]string{key: groups[key]}
		complete = st.acked
	} else if len(st.refused) > 0 {
		complete = st.acked
	}
	st.nonce++
	f := &response{
		nonce: strconv.FormatUint(st.nonce, 36), revision: complete, mesh: s.mesh.Revision, made: s.o.Now(),
		versions: map[string]string{}, bodies: map[string]*discoveryv1.Resource{}, groups: len(groups),
	}
	resp := &discoveryv1.DeltaResponse{Revision: complete, Nonce: f.nonce}
	for _, names := range groups {
		for _, name := range names {
			version := diff[name]
			f.versions[name] = version
			switch {
			case version == absent:
				resp.Removed = append(resp.Removed, name)
			case version == "":
				if st.held[name] != absent {
					resp.Removed = append(resp.Removed, name)
				}
			default:
				f.bodies[name] = s.body(st, name)
				resp.Resources = append(resp.Resources, f.bodies[name])
			}
		}
	}
	if len(resp.Resources)+len(resp.Removed) == 0 {
		// Only records of absent names that nobody asks for any more: forgotten on both sides.
		for name := range f.versions {
			delete(st.held, name)
		}
		s.advance(st)
		return
	}
	slices.SortFunc(resp.Resources, func(a, b *discoveryv1.Resource) int { return cmp.Compare(a.GetName(), b.GetName()) })
	slices.Sort(resp.Removed)
	st.inFlight = f
	st.sent = s.mesh.Revision
	s.pushes++
	st.out <- resp // has room: there is at most one in flight
}

func (s *Server) body(st *stream, name string) *discoveryv1.Resource {
	switch name {
	case nameWorkload:
		outbound, _ := s.sidecar(st)
		return s.workload(st, outbound)
	case nameTaps:
		return s.taps
	}
	if st.gateway != nil && (name == nameGateway || strings.HasPrefix(name, prefixPart)) {
		return s.gateways[st.gateway.key()].byName[name] // desired put it there
	}
	if strings.HasPrefix(name, prefixService) {
		if n, ok, err := parseSubscription(name); ok && err == nil {
			_, name = s.service(st, n)
		}
	}
	return s.cache[name] // desired put it there
}

// groupOf returns what a resource must be sent together with: a service and its endpoints; workload and
// taps, which a proxy needs before all else, come first in order.
func groupOf(name string) string {
	if n, ok, err := parseSubscription(name); err == nil && ok {
		return "s/" + n.String()
	}
	return "a"
}
