package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/weft-mesh/weft/internal/model"
)

// How names of endpoints are looked up: again when the answer's TTL is over, though no sooner than after 5 s and no later
// than after 5 min. Where there is no TTL (the hosts file; a lookup that failed) it is after 5 s, and ever more rarely, up
// to 30 s, as long as the addresses stay the same.
const (
	minRefresh    = 5 * time.Second
	maxRefresh    = 30 * time.Second
	maxTTL        = 5 * time.Minute
	firstAnswer   = time.Second // how long a new snapshot waits for names that were never looked up
	lookupTimeout = 5 * time.Second
	maxLookups    = 16   // at a time
	maxNames      = 4096 // of a snapshot; further ones are not looked up
	maxAddresses  = 64   // of a name
)

// resolver looks the names of endpoints up (model.Endpoint.Host) and keeps the last good answer. Its methods may be
// called from any goroutine; run once.
type resolver struct {
	lookup  func(ctx context.Context, host string) ([]netip.Addr, time.Duration, error) // and how long it holds; 0: not known
	changed func()                                                                      // the addresses of a name are others now
	log     *slog.Logger

	min, max time.Duration // between two looks at a name
	ceiling  time.Duration // the same by a TTL

	mu    sync.Mutex
	names map[string]*hostName
	wake  chan struct{}
}

// hostName is what is known of a name.
type hostName struct {
	addresses []netip.Addr  // in order; none before the first good answer
	one       netip.Addr    // of them, for those who want one: the same as long as it is there
	every     time.Duration // to the next look
	next      time.Time
	busy      bool
	failing   bool
	known     chan struct{} // closed with the first answer, good or bad
}

func newResolver(log *slog.Logger, changed func()) *resolver {
	return &resolver{
		lookup: lookupWith((&net.Dialer{}).DialContext), changed: changed, log: log,
		min: minRefresh, max: maxRefresh, ceiling: maxTTL, names: map[string]*hostName{}, wake: make(chan struct{}, 1),
	}
}

// run looks names up until ctx ends.
func (r *resolver) run(ctx context.Context) error {
	var lookups sync.WaitGroup
	defer lookups.Wait()
	free := make(chan struct{}, maxLookups)
	for ctx.Err() == nil {
		due, wait := r.due(time.Now(), cap(free)-len(free))
		for _, name := range due {
			free <- struct{}{} // has room
			lookups.Go(func() {
				r.look(ctx, name)
				<-free
				r.ring()
			})
		}
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-r.wake:
		case <-timer.C:
		}
		timer.Stop()
	}
	return nil
}

func (r *resolver) ring() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

// due returns the names to look up now, at most so many, and how long it is until the next.
func (r *resolver) due(now time.Time, most int) (out []string, wait time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	wait = r.max
	for name, n := range r.names {
		switch left := n.next.Sub(now); {
		case n.busy:
		case left > 0:
			wait = min(wait, left)
		case len(out) < most:
			n.busy = true
			out = append(out, name)
		}
	}
	return out, wait
}

// look looks a name up once.
func (r *resolver) look(ctx context.Context, name string) {
	bounded, cancel := context.WithTimeout(ctx, lookupTimeout)
	found, ttl, err := r.lookup(bounded, name)
	cancel()
	if found = usable(found); err == nil && len(found) == 0 {
		err = errors.New("it has no addresses")
	}
	if r.took(name, found, ttl, err) && ctx.Err() == nil {
		r.changed()
	}
}

// took keeps an answer and how long it holds, and reports whether the addresses are others than before.
func (r *resolver) took(name string, found []netip.Addr, ttl time.Duration, err error) (changed bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.names[name]
	if n == nil {
		return false
	}
	n.busy = false
	changed = err == nil && !slices.Equal(n.addresses, found)
	if changed {
		n.every = r.min
		r.log.Info("addresses of an endpoint's name", "name", name, "addresses", len(found))
		n.addresses = found
		if !slices.Contains(found, n.one) {
			n.one = found[rand.N(len(found))]
		}
	} else {
		n.every = min(max(2*n.every, r.min), r.max)
	}
	if failing := err != nil; failing != n.failing {
		if n.failing = failing; failing {
			r.log.Warn("an endpoint's name could not be looked up: the last addresses are kept", "name", name, "addresses", len(n.addresses), "error", err)
		}
	}
	wait := n.every*9/10 + rand.N(n.every/5+1) // a tenth more or less, so that proxies do not ask together
	if err == nil && ttl > 0 {
		holds := min(max(ttl, r.min), r.ceiling)
		wait = holds + rand.N(holds/10+1)
	}
	n.next = time.Now().Add(wait)
	select {
	case <-n.known:
	default:
		close(n.known)
	}
	return changed
}

// usable returns the addresses that connections can be made to, in order and each once: those of IPv4 where there are
// any, as a machine without a route for IPv6 would try the others in vain.
func usable(found []netip.Addr) []netip.Addr {
	var v4, v6 []netip.Addr
	for _, a := range found {
		switch a = a.Unmap(); {
		case a.IsUnspecified() || a.IsMulticast():
		case a.Is4():
			v4 = append(v4, a)
		default:
			v6 = append(v6, a.WithZone(""))
		}
	}
	if len(v4) == 0 {
		v4 = v6
	}
	slices.SortFunc(v4, netip.Addr.Compare)
	v4 = slices.Compact(v4)
	return v4[:min(len(v4), maxAddresses)]
}

// want makes the names of a snapshot known, and waits a moment for those that are new.
func (r *resolver) want(s *model.Snapshot) {
	var fresh []chan struct{}
	r.mu.Lock()
	for name := range namesOf(s) {
		n := r.names[name]
		if n == nil && len(r.names) < maxNames {
			n = &hostName{known: make(chan struct{})}
			r.names[name] = n
		}
		if n != nil {
			fresh = append(fresh, n.known)
		}
	}
	r.mu.Unlock()
	if len(fresh) == 0 {
		return
	}
	r.ring()
	timer := time.NewTimer(firstAnswer)
	defer timer.Stop()
	for _, known := range fresh {
		select {
		case <-known:
		case <-timer.C:
			return
		}
	}
}

// keep forgets the names that a snapshot does not have.
func (r *resolver) keep(s *model.Snapshot) {
	names := namesOf(s)
	r.mu.Lock()
	defer r.mu.Unlock()
	for name := range r.names {
		if !names[name] {
			delete(r.names, name)
		}
	}
}

// namesOf are the names of a snapshot's endpoints.
func namesOf(s *model.Snapshot) map[string]bool {
	var out map[string]bool
	for i := range s.Services {
		for j := range s.Services[i].Endpoints {
			host, _, err := net.SplitHostPort(s.Services[i].Endpoints[j].Host)
			if err != nil {
				continue // has none
			}
			if out == nil {
				out = map[string]bool{}
			}
			out[host] = true
		}
	}
	return out
}

// expand returns the snapshot with an endpoint for each address in place of each name. One that was never looked up has
// none. Without names it is the snapshot itself.
func (r *resolver) expand(s *model.Snapshot) *model.Snapshot {
	if len(namesOf(s)) == 0 {
		return s
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	out := *s
	out.Services = slices.Clone(s.Services)
	for i := range out.Services {
		svc := &out.Services[i]
		var all []model.Endpoint
		for _, e := range svc.Endpoints {
			if e.Host == "" {
				all = append(all, e)
				continue
			}
			all = append(all, r.endpoints(e)...)
		}
		svc.Endpoints = all
	}
	return &out
}

// endpoints are those that stand for a name. The lock is held.
func (r *resolver) endpoints(e model.Endpoint) []model.Endpoint {
	host, portText, err := net.SplitHostPort(e.Host)
	port, perr := strconv.ParseUint(portText, 10, 16)
	n := r.names[host]
	if err != nil || perr != nil || n == nil {
		return nil
	}
	addresses := n.addresses
	if e.OneHost && len(addresses) > 0 {
		addresses = []netip.Addr{n.one}
	}
	var out []model.Endpoint
	for _, a := range addresses {
		one := e
		one.Host, one.OneHost = "", false
		one.Address = netip.AddrPortFrom(a, uint16(port))
		one.ID = fmt.Sprintf("%s/%s", e.ID, a)
		out = append(out, one)
	}
	return out
}
