package proxy

import (
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/balance"
	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// pool is the endpoints of a service, or those of them that have a subset's labels, with how they are chosen.
type pool struct {
	service  *service
	subset   map[string]string
	upstream *model.Upstream // nil: defaults

	datagrams bool // endpoints for datagrams; else those for connections

	port  uint16  // of a policy of its own, for whose requests alone it is; 0: all others
	ports []*pool // those, of this one
	own   string  // how its connections are made, where that is otherwise than the service's: those made alike are shared

	key     string // what makes two pools of different snapshots the same
	members []*model.Endpoint
	chooser *balance.Set // nil: least request; each worker has a clone
	index   int          // in config.pools, and in each worker's endpoint sets
}

// newPool compiles a pool. since tells when an endpoint began to serve, the zero time if long ago.
func (c *config) newPool(s *service, subset map[string]string, up *model.Upstream) (*pool, error) {
	key := s.Name.String()
	if s.through != nil {
		// Who leaves the mesh by a gateway chooses one of its proxies, and the gateway chooses the endpoint.
		key = "out " + key
		s, subset, up = s.through, nil, s.through.Upstream
	}
	return c.fill(&pool{service: s, subset: subset, upstream: up, key: key})
}

// fill finds the members of a pool and compiles how they are chosen.
func (c *config) fill(p *pool) (*pool, error) {
	s, up := p.service, p.upstream
	p.index = len(c.pools)
	if p.port == 0 {
		p.name()
	}
	p.separate()
	for i := range s.Endpoints {
		if m := &s.Endpoints[i]; p.has(m) {
			p.members = append(p.members, m)
		}
	}
	if up != nil && !up.Balance.IsZero() {
		candidates := make([]balance.Candidate, len(p.members))
		for i, m := range p.members {
			candidates[i] = balance.Candidate{
				ID: m.ID, Weight: m.Weight, Locality: localityOf(m.Locality, m.Labels), Labels: m.Labels, Since: c.since[keyOf(m)],
			}
		}
		w := &c.snapshot.Workload
		var before *balance.Set
		if b := c.before[p.key]; b != nil {
			before = b.chooser
		}
		var err error
		p.chooser, err = before.Renew(up.Balance, balance.Client{Locality: localityOf("", w.Labels), Labels: w.Labels}, candidates)
		if err != nil {
			return nil, fmt.Errorf("service %s: %w", s.Name, err)
		}
	}
	c.pools = append(c.pools, p)
	return p, c.fillPorts(p)
}

// has reports whether an endpoint belongs to the pool.
func (p *pool) has(m *model.Endpoint) bool {
	// Neither a sidecar nor the way out of the mesh carries datagrams, and nothing goes another way.
	if (m.Protocol == model.UDP) != p.datagrams || p.datagrams && (!m.Plain || p.service.through != nil) {
		return false
	}
	for name, value := range p.subset {
		if m.Labels[name] != value {
			return false
		}
	}
	if p.port != 0 && !servesPort(m, p.port) {
		return false
	}
	return !m.Draining && m.Address.IsValid() // a name is looked up by whoever hands the snapshot over
}

// localityOf is "region/zone/subzone", read from labels where it is not given (Kubernetes, "Well-Known Labels").
func localityOf(given string, labels map[string]string) string {
	if given != "" {
		return given
	}
	s := labels["topology.kubernetes.io/region"] + "/" + labels["topology.kubernetes.io/zone"] + "/" + labels["topology.istio.io/subzone"]
	return strings.TrimRight(s, "/")
}

// endpointSet is one worker's view of a pool: its endpoints and what has been learnt about them, which is kept over
// snapshots as long as the pool and its policies are the same.
type endpointSet struct {
	pool    *pool
	all     []*endpoint
	chooser *balance.Set // nil: least request
	eject   *resilience.Ejector
	budget  *resilience.Budget
	bounds  *resilience.Concurrency // nil: none
	waiters []*loop.Task            // for a connection, where their number is bounded
}

// adoptSet builds a pool's set. before is that of the last snapshot, nil if there was none.
func (w *worker) adoptSet(p *pool, all []*endpoint, before *endpointSet) *endpointSet {
	set := &endpointSet{pool: p, all: all}
	if p.chooser != nil {
		set.chooser = p.chooser.Clone()
	}
	up := p.upstream
	if up == nil {
		return set
	}
	var old *model.Upstream
	if before != nil {
		old = before.pool.upstream
	}
	ids := make([]string, len(p.members))
	for i, m := range p.members {
		ids[i] = m.ID
	}
	if old != nil && old.Ejection != nil && reflect.DeepEqual(old.Ejection, up.Ejection) {
		set.eject = before.eject
		set.eject.SetEndpoints(ids)
		before.eject = nil // what is still on its way there has other indexes
	} else {
		set.eject = resilience.NewEjector(up.Ejection, ids)
	}
	if old != nil && reflect.DeepEqual(old.Budget, up.Budget) {
		set.budget = before.budget
	} else {
		set.budget = resilience.NewBudget(up.Budget)
	}
	if c := up.Connections; c.Max > 0 || c.Requests > 0 || c.Pending > 0 || c.Retries > 0 {
		if before != nil && before.bounds != nil {
			set.bounds, set.waiters = before.bounds, before.waiters
			set.bounds.Adopt(c, len(ids), len(w.e.workers))
		} else {
			set.bounds = resilience.NewConcurrency(c, len(ids), len(w.e.workers))
		}
	}
	return set
}

// look makes the endpoints of a service be checked as its policy says.
func (w *worker) look(p *pool, all []*endpoint) {
	var port uint16
	for i := len(p.service.Ports) - 1; i >= 0; i-- {
		if p.service.Ports[i].Protocol != model.UDP || p.datagrams {
			port = p.service.Ports[i].Number
		}
	}
	var how *model.HealthCheck
	if up := p.service.Upstream; up != nil && (up.Health == nil || up.Health.Type != model.HealthUDP || p.datagrams) {
		how = up.Health
	}
	for _, ep := range all {
		ep.check(how, port)
	}
}

// choice is what the functions that a balance.Set calls look at: bound once, so that choosing allocates nothing.
type choice struct {
	set   *endpointSet
	port  uint16
	tried []*endpoint

	remote bool // the next choice is of another locality than tried are of

	now time.Time
	in  balance.Input

	wasTried func(i int) bool
}

func (c *choice) bind() {
	c.in.Usable = c.usable
	c.in.Healthy = c.healthy
	c.in.Load = func(i int) int { return c.set.all[i].inflight }
	c.in.Latency = func(i int) *balance.EWMA { return &c.set.all[i].latency }
	c.in.LastResort = true
	c.wasTried = func(i int) bool { return contains(c.tried, c.set.all[i]) }
}

func (c *choice) usable(i int) bool {
	ep := c.set.all[i]
	return ep.serves(c.port) && !contains(c.tried, ep)
}

func (c *choice) healthy(i int) bool {
	ep := c.set.all[i]
	return !ep.sick && c.now.After(ep.retryAt) && !(c.set.heeds() && c.now.Before(ep.pausedUntil)) && c.set.eject.Admits(i, c.now)
}

// pickFrom chooses an endpoint of a set for a port and returns its index, or -1: among those that serve the port
// and were not tried, one that is healthy if there is any. hash names the client where hashed is true.
func (w *worker) pickFrom(set *endpointSet, port uint16, tried []*endpoint, hash uint64, hashed bool) int {
	c := &w.choice
	c.set, c.port, c.tried, c.now = set, port, tried, w.loop.Now()
	if set.chooser != nil {
		c.in.Now, c.in.Random, c.in.Hash, c.in.Hashed = c.now, w.random.Uint64(), hash, hashed
		if c.in.Tried = nil; c.remote {
			c.in.Tried, c.remote = c.wasTried, false
		}
		i, _ := set.chooser.Pick(&c.in)
		return i
	}
	usable := func(i int) bool { return c.usable(i) && c.healthy(i) }
	load := func(i int) int { return set.all[i].inflight }
	if i := balance.LeastRequest(len(set.all), usable, load, w.random.Uint64()); i >= 0 {
		return i
	}
	// Better one that failed a moment ago than none.
	return balance.LeastRequest(len(set.all), c.usable, load, w.random.Uint64())
}
