package proxy

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
	"google.golang.org/protobuf/types/known/timestamppb"

	discoveryv1 "github.com/weft-mesh/weft/api/weft/discovery/v1"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// maxOut bounds the endpoints that Conditions names of a pool.
const maxOut = 100

// The states of an endpoint that is left out of the choice.
const (
	stateEjected     = "ejected"     // by the policy's ejection
	stateSick        = "sick"        // fails its health checks
	stateUnreachable = "unreachable" // no connection came to be
	stateWaiting     = "waiting"     // asked to be left alone for a time
)

// Conditions returns what has been learnt about the endpoints of services, and of their subsets that rules name: who
// is left out of the choice and until when, and what is left of retry budgets. Each loop keeps its own account; figures
// are sums over them. Services that the proxy does not know are left out. It waits for a turn of each loop.
func (e *Engine) Conditions(services []model.ServiceName) []*discoveryv1.PoolState {
	all := map[string]*discoveryv1.PoolState{}
	var order []string
	for _, w := range e.workers {
		w.loop.Call(func() {
			for _, set := range w.sets {
				if !slices.Contains(services, set.pool.service.Name) {
					continue
				}
				s := all[set.pool.key]
				if s == nil {
					s = &discoveryv1.PoolState{
						Service: set.pool.service.Name.String(), Subset: set.pool.subset, Endpoints: uint32(len(set.all)),
					}
					all[set.pool.key] = s
					order = append(order, set.pool.key)
				}
				set.addTo(s, w.loop.Now())
			}
		})
	}
	slices.Sort(order)
	out := make([]*discoveryv1.PoolState, 0, len(order))
	for _, key := range order {
		s := all[key]
		slices.SortFunc(s.Out, func(a, b *discoveryv1.EndpointState) int {
			return cmp.Or(cmp.Compare(a.GetId(), b.GetId()), cmp.Compare(a.GetState(), b.GetState()))
		})
		out = append(out, s)
	}
	return out
}

// addTo adds one loop's account to that of the others.
func (set *endpointSet) addTo(s *discoveryv1.PoolState, now time.Time) {
	s.Loops++
	for _, x := range set.eject.Explain(now) {
		addOut(s, &discoveryv1.EndpointState{Id: x.ID, State: stateEjected, Until: timestamppb.New(x.Until), Reason: x.Why})
	}
	for _, ep := range set.all {
		if ep.sick {
			addOut(s, &discoveryv1.EndpointState{Id: ep.model.ID, State: stateSick, Reason: "fails its health checks"})
		}
		if now.Before(ep.retryAt) {
			addOut(s, &discoveryv1.EndpointState{
				Id: ep.model.ID, State: stateUnreachable, Until: timestamppb.New(ep.retryAt), Reason: "no connection to it came to be",
			})
		}
	}
	for _, ep := range set.all {
		if set.heeds() && now.Before(ep.pausedUntil) {
			addOut(s, &discoveryv1.EndpointState{
				Id: ep.model.ID, State: stateWaiting, Until: timestamppb.New(ep.pausedUntil),
				Reason: fmt.Sprintf("it answered %d with Retry-After", ep.pausedBy),
			})
		}
	}
	if set.budget != nil {
		addBudget(s, set.budget.State(now))
	}
}

// addOut notes an endpoint once, however many loops leave it out: until the latest of their times.
func addOut(s *discoveryv1.PoolState, x *discoveryv1.EndpointState) {
	for _, have := range s.Out {
		if have.GetId() == x.GetId() && have.GetState() == x.GetState() {
			have.Loops++
			if x.GetUntil().AsTime().After(have.GetUntil().AsTime()) {
				have.Until, have.Reason = x.GetUntil(), x.GetReason()
			}
			return
		}
	}
	if len(s.Out) < maxOut {
		x.Loops = 1
		s.Out = append(s.Out, x)
	}
}

func addBudget(s *discoveryv1.PoolState, b resilience.BudgetState) {
	if s.Budget == nil {
		s.Budget = &discoveryv1.BudgetState{Ratio: b.Ratio, Window: durationpb.New(b.Window)}
	}
	s.Budget.Requests += b.Requests
	s.Budget.Retries += b.Retries
	s.Budget.Left += b.Left
	s.Budget.Refused += b.Refused
}
