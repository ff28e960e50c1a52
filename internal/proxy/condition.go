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
		own := map[string]*discoveryv1.PoolState{} // rules that name the same subset have a pool each
		w.loop.Call(func() {
			for _, set := range w.sets {
				if !slices.Contains(services, set.pool.service.Name) {
					continue
				}
				s := own[set.pool.key]
				if s == nil {
					s = &discoveryv1.PoolState{
						Service: set.pool.service.Name.String(), Subset: set.pool.subset, Port: uint32(set.pool.port), Endpoints: uint32(len(set.all)), Loops: 1,
						Datagrams: set.pool.datagrams,
					}
					own[set.pool.key] = s
				}
				set.addTo(s, w.loop.Now())
			}
		})
		for key, s := range own {
			if have := all[key]; have != nil {
				addLoop(have, s)
			} else {
				all[key] = s
				order = append(order, key)
			}
		}
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

// addLoop adds one loop's account to that of the others.
func addLoop(s, loop *discoveryv1.PoolState) {
	s.Loops += loop.GetLoops()
	for _, x := range loop.GetOut() {
		if have := addOut(s, x); have != x {
			have.Loops++
		}
	}
	if b := loop.GetBudget(); b != nil {
		addBudget(s, b)
	}
}

// addTo adds what a loop has learnt about the endpoints of a pool to its account.
func (set *endpointSet) addTo(s *discoveryv1.PoolState, now time.Time) {
	for _, x := range set.eject.Explain(now) {
		addOut(s, &discoveryv1.EndpointState{Id: x.ID, State: stateEjected, Until: timestamppb.New(x.Until), Reason: x.Why})
	}
	for _, ep := range set.all {
		if ep.sick {
			addOut(s, &discoveryv1.EndpointState{Id: ep.model.ID, State: stateSick, Reason: "fails its health checks"})
		}
		if now.Before(ep.retryAt) {
			why := "no connection to it came to be"
			if set.pool.datagrams {
				why = "it refused datagrams, or there is no way to it"
			}
			addOut(s, &discoveryv1.EndpointState{Id: ep.model.ID, State: stateUnreachable, Until: timestamppb.New(ep.retryAt), Reason: why})
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
		b := set.budget.State(now)
		addBudget(s, &discoveryv1.BudgetState{
			Ratio: b.Ratio, Window: durationpb.New(b.Window), Requests: b.Requests, Retries: b.Retries, Left: b.Left, Refused: b.Refused,
		})
	}
}

// addOut notes an endpoint once, until the latest of the times, and returns what stands for it.
func addOut(s *discoveryv1.PoolState, x *discoveryv1.EndpointState) *discoveryv1.EndpointState {
	for _, have := range s.Out {
		if have.GetId() == x.GetId() && have.GetState() == x.GetState() {
			if x.GetUntil().AsTime().After(have.GetUntil().AsTime()) {
				have.Until, have.Reason = x.GetUntil(), x.GetReason()
			}
			return have
		}
	}
	if x.Loops = 1; len(s.Out) < maxOut {
		s.Out = append(s.Out, x)
	}
	return x
}

func addBudget(s *discoveryv1.PoolState, b *discoveryv1.BudgetState) {
	if s.Budget == nil {
		s.Budget = b
		return
	}
	s.Budget.Requests += b.Requests
	s.Budget.Retries += b.Retries
	s.Budget.Left += b.Left
	s.Budget.Refused += b.Refused
}
