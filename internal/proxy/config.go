package proxy

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/route"
)

// config is a snapshot compiled for lookups. It is immutable and shared by all workers.
type config struct {
	snapshot *model.Snapshot
	services []*service
	pools    []*pool
	since    map[endpointKey]time.Time
	before   map[string]*pool // of the last configuration, while this one is made
	byName   map[model.ServiceName]*service
	byVIP    map[netip.Addr]*service
	inbound  map[uint16]*model.Inbound // by service port

	meshSockets map[uint16]*socket // for clients of the mesh, by port

	sockets   map[netip.AddrPort]*socket
	udp       map[netip.AddrPort]*socket     // for datagrams
	through   map[model.ServiceName]*service // by which gateway a service leaves the mesh
	leaving   map[string]*service            // services that leave the mesh here, by name
	elsewhere *backend                       // to whom calls go that are for no service; nil: where the program sends them
	own       *plan                          // of requests for the workload's own service: its rate limits
	source    string                         // the workload's service, as peers see it
	self      string                         // its SPIFFE ID
}

// service is a service with its routing table.
type service struct {
	*model.Service
	table *route.Table
	rules []*rule
	plan  *plan          // of its requests, where no rule has another
	pool  *pool          // all of its endpoints
	tls   []*upstreamTLS // to endpoints outside the mesh, those of single ports first; none without TLS
	names *nameTable     // rules for server names; nil: none

	through *service // the gateway by which it leaves the mesh; nil: it is reached directly
	limits  *plan    // of a service that leaves the mesh here
}

// rule is a rule with its backends resolved.
type rule struct {
	*model.Rule
	backends []backend
	filters  *filters      // nil: none
	plan     *plan         // of what is answered without a backend
	stream   *route.Stream // what it asks of connections of bytes; nil: nothing
}

// backend is a share of a rule; service is nil when the reference does not resolve.
type backend struct {
	*model.Backend
	service *service
	plan    *plan
	pool    *pool    // its endpoints
	filters *filters // nil: none
}

// compile checks a snapshot and builds what requests look up. since tells when an endpoint began to serve; those
// that it lacks did long ago. What is costly to build is taken over from the last configuration, which may be nil,
// where it is the same. It is pure.
func compile(s *model.Snapshot, since map[endpointKey]time.Time, last *config) (*config, error) {
	c := &config{
		snapshot: s,
		since:    since,
		byName:   make(map[model.ServiceName]*service, len(s.Services)),
		byVIP:    make(map[netip.Addr]*service, len(s.Services)),
		inbound:  make(map[uint16]*model.Inbound, len(s.Workload.Inbound)),
		sockets:  make(map[netip.AddrPort]*socket, len(s.Sockets)),
		udp:      map[netip.AddrPort]*socket{},
		self:     s.Workload.Identity.String(),
	}
	if !s.Workload.Service.IsZero() {
		c.source = s.Workload.Service.String()
	}
	if last != nil {
		c.before = make(map[string]*pool, len(last.pools))
		for _, p := range last.pools {
			c.before[p.key] = p
		}
		defer func() { c.before = nil }()
	}
	c.sendOut(s.Services)
	for i := range s.Services {
		m := &s.Services[i]
		table, err := c.table(m.Rules, m.Ordered, model.Requests)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", m.Name, err)
		}
		svc := &service{Service: m, table: table, through: c.through[m.Name]}
		if m.Upstream != nil && svc.through == nil {
			if svc.tls, err = newServiceTLS(m.Upstream); err != nil {
				return nil, fmt.Errorf("service %s: %w", m.Name, err)
			}
		}
		if svc.pool, err = c.newPool(svc, nil, m.Upstream); err != nil {
			return nil, err
		}
		if svc.plan, err = newPlan(clientPolicy(m)); err != nil {
			return nil, fmt.Errorf("service %s: %w", m.Name, err)
		}
		if err = c.leave(svc); err != nil {
			return nil, fmt.Errorf("service %s: %w", m.Name, err)
		}
		c.services = append(c.services, svc)
		if c.byName[m.Name] != nil {
			return nil, fmt.Errorf("service %s is there twice", m.Name)
		}
		c.byName[m.Name] = svc
		if m.VIP.IsValid() {
			c.byVIP[m.VIP] = svc
		}
	}
	for _, svc := range c.services {
		var err error
		if svc.rules, err = c.resolve(svc.Rules, clientPolicy(svc.Service)); err != nil {
			return nil, fmt.Errorf("service %s: %w", svc.Name, err)
		}
		if svc.names, err = c.compileNames(svc); err != nil {
			return nil, fmt.Errorf("service %s: %w", svc.Name, err)
		}
	}
	if err := c.compileElsewhere(s.Workload.Outbound); err != nil {
		return nil, fmt.Errorf("workload: %w", err)
	}
	if err := c.compileSockets(s.Sockets); err != nil {
		return nil, err
	}
	if p := s.Workload.Policy; p != nil {
		var err error
		if c.own, err = newPlan(&model.Policy{Ref: p.Ref, Limits: p.Limits}); err != nil {
			return nil, fmt.Errorf("workload: %w", err)
		}
	}
	for i := range s.Workload.Inbound {
		in := &s.Workload.Inbound[i]
		c.inbound[in.ServicePort] = in
	}
	return c, nil
}

// resolve ties rules to the services they name, and compiles what they say besides. asked is the policy of the
// service that the rules are for.
func (c *config) resolve(rules []model.Rule, asked *model.Policy) ([]*rule, error) {
	out := make([]*rule, len(rules))
	for i := range rules {
		r := &rule{Rule: &rules[i]}
		var err error
		if r.filters, err = c.compileFilters(&r.Filters); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Ref, err)
		}
		if r.stream, err = route.NewStream(r.Matches, &c.snapshot.Workload); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Ref, err)
		}
		policy := model.MergePolicy(r.Policy, asked)
		if r.plan, err = newPlan(policy); err != nil {
			return nil, fmt.Errorf("%s: %w", r.Ref, err)
		}
		for j := range r.Backends {
			b := backend{Backend: &r.Backends[j], plan: r.plan}
			if b.Invalid == "" {
				b.service = c.byName[b.Service]
			}
			if b.service != nil {
				if err := c.resolveBackend(&b, policy); err != nil {
					return nil, fmt.Errorf("%s: %w", r.Ref, err)
				}
			}
			r.backends = append(r.backends, b)
		}
		out[i] = r
	}
	return out, nil
}

// resolveBackend finds the endpoints and the policy of a backend: the policy of the service that answers holds
// where neither the rule nor the service asked for says anything.
func (c *config) resolveBackend(b *backend, policy *model.Policy) (err error) {
	b.pool = b.service.pool
	if len(b.Subset) > 0 || b.Upstream != nil {
		if b.pool, err = c.newPool(b.service, b.Subset, model.MergeUpstream(b.Upstream, b.service.Upstream)); err != nil {
			return err
		}
	}
	if b.Filters != nil {
		if b.filters, err = c.compileFilters(b.Filters); err != nil {
			return fmt.Errorf("backend %s: %w", b.Service, err)
		}
	}
	if own := clientPolicy(b.service.Service); own != nil && own != policy {
		b.plan, err = newPlan(model.MergePolicy(policy, own))
	}
	return err
}

// table compiles the rules of a layer for the workload's traffic.
func (c *config) table(rules []model.Rule, ordered bool, layer model.Layer) (*route.Table, error) {
	return route.CompileWith(rules, route.Options{Ordered: ordered, Layer: layer, Client: &c.snapshot.Workload})
}

// clientPolicy is what of a service's policy its clients' proxies see to. Its rate limits are the servers' proxies'
// business, where there are any, or the egress gateway's: only they see all clients.
func clientPolicy(s *model.Service) *model.Policy {
	if !s.LimitedByServers() {
		return s.Policy
	}
	p := *s.Policy
	p.Limits = nil
	return &p
}

// meshDomain ends the full name of a service: reviews.default.mesh.
const meshDomain = "mesh"

// parseHost reads a service's name from an authority: reviews, reviews.default, reviews.default.mesh or
// reviews.default.svc.cluster.local, with or without a port (0 when there is none).
func parseHost(authority, namespace string) (name model.ServiceName, port uint16, ok bool) {
	host, portText, hasPort := strings.Cut(authority, ":")
	if hasPort {
		n, err := parsePort(portText)
		if err != nil {
			return name, 0, false
		}
		port = n
	}
	host = strings.TrimSuffix(host, ".")
	for _, suffix := range []string{".svc.cluster.local", ".svc", "." + meshDomain} {
		if rest, found := strings.CutSuffix(host, suffix); found {
			host = rest
			break
		}
	}
	svc, ns, qualified := strings.Cut(host, ".")
	if !qualified {
		ns = namespace
	}
	if svc == "" || ns == "" || strings.Contains(ns, ".") {
		return name, 0, false
	}
	return model.ServiceName{Namespace: ns, Name: svc}, port, true
}

func parsePort(s string) (uint16, error) {
	var n uint32
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' || i > 4 {
			return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
		}
		n = n*10 + uint32(c-'0')
	}
	if n == 0 || n > 65535 {
		return 0, fmt.Errorf("port %q is not a number from 1 to 65535", s)
	}
	return uint16(n), nil
}

// authorityPort is the port an authority names, or that of http.
func authorityPort(authority string) uint16 {
	if i := strings.LastIndexByte(authority, ':'); i >= 0 {
		if port, err := parsePort(authority[i+1:]); err == nil {
			return port
		}
	}
	return 80
}
