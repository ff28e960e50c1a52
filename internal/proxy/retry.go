package proxy

import (
	"errors"
	"fmt"
	"strings"

	"github.com/weft-mesh/weft/internal/message"
	"github.com/weft-mesh/weft/internal/model"
	"github.com/weft-mesh/weft/internal/resilience"
)

// maxAttempts bounds how many endpoints one request is tried on when no policy says so: only as long as it was
// certainly not processed.
const maxAttempts = 3

// try is one attempt at an endpoint of a set, as far as it concerns what is learnt about it.
type try struct {
	at      int  // index of the endpoint
	open    bool // its outcome is to be told
	probe   bool // on which its return depends
	counted bool // a retry that the budget and the bounds have counted
}

// again decides whether another try follows one that ended with f, or with an answer when f is nil.
func (x *exchange) again(f *Failure, attempt int) bool {
	var policy *resilience.RetryPolicy
	if x.plan != nil {
		policy = x.plan.retry
	}
	if f == nil && policy == nil {
		return false // the usual case
	}
	if x.gone || x.late || x.silent {
		return false
	}
	if f != nil && f.Stage == "stale" && x.canRetry {
		// The connection had ended unnoticed: no fault of the endpoint, and no retry in the sense of a policy.
		return attempt <= maxAttempts && (idempotent(x.req.Method) || x.o.kind == fromQuestion)
	}
	if policy == nil {
		notProcessed := f.Flag == flagConnect || f.Flag == flagRefused
		return notProcessed && x.canRetry && x.fixed == nil && attempt < maxAttempts
	}
	retry, _ := policy.Decide(resilience.Try{
		Outcome: x.outcome(f, x.final), Retries: attempt - 1, Idempotent: resilience.Idempotent(x.req.Method),
		Spent: !x.canRetry,
	})
	if !retry || !x.fits(f) || !x.mayRetry() {
		return false
	}
	if f == nil && x.fixed == nil {
		x.tried = append(x.tried, x.ep)
	}
	return true
}

// mayRetry asks the budget and the bounds of the service for a retry.
func (x *exchange) mayRetry() bool {
	if x.set == nil {
		return true
	}
	x.retryDone() // of the last one
	if b := x.set.bounds; b != nil && !b.Acquire(resilience.Retries) {
		return false
	}
	if ok, _ := x.set.budget.Withdraw(x.w.loop.Now()); !ok {
		if x.set.bounds != nil {
			x.set.bounds.Release(resilience.Retries)
		}
		x.rec.Failure = flagBudget
		return false
	}
	x.try.counted = true
	return true
}

func (x *exchange) retryDone() {
	if !x.try.counted {
		return
	}
	x.try.counted = false
	x.set.budget.Done()
	if x.set.bounds != nil {
		x.set.bounds.Release(resilience.Retries)
	}
}

// outcome says how a try ended: with f, or with the head h of an answer.
func (x *exchange) outcome(f *Failure, h *message.Head) resilience.Outcome {
	o := resilience.Outcome{Probe: x.try.probe}
	if f == nil {
		o.Status = h.Status
		if isGRPC(x.req) {
			if o.GRPC = x.rec.GRPCStatus; o.GRPC == "" {
				o.GRPC = h.Get("grpc-status")
			}
		}
		return o
	}
	switch f.Flag {
	case flagConnect:
		o.Failure = resilience.Connect
	case flagRefused:
		o.Failure = resilience.Refused
	case flagTimeout:
		o.Failure = resilience.Timeout
	default:
		o.Failure = resilience.Reset
	}
	return o
}

// settle tells what a try says about its endpoint. What is the client's doing says nothing.
func (x *exchange) settle(f *Failure, h *message.Head) {
	if !x.try.open {
		return
	}
	x.try.open = false
	e := x.set.eject
	if e == nil {
		return
	}
	ours := f != nil && (f.Flag == flagClientGone || f.Flag == flagOverload || f.Stage == "stale" || f.Stage == "pick")
	if x.gone || ours || f == nil && h == nil { // nothing that the endpoint did
		e.Abandon(x.try.at, x.try.probe)
		return
	}
	now := x.w.loop.Now()
	if e.Observe(x.try.at, x.outcome(f, h), now, x.w.random.Uint64()) {
		if x.set.chooser != nil {
			x.set.chooser.Invalidate()
		}
		x.w.log.Info("endpoint ejected", "service", x.where(), "endpoint", x.ep.model.ID, "why", ejectedWhy(e, x.ep.model.ID, x))
	}
}

func ejectedWhy(e *resilience.Ejector, id string, x *exchange) string {
	for _, out := range e.Explain(x.w.loop.Now()) {
		if out.ID == id {
			return out.Why
		}
	}
	return ""
}

// backOff waits before a retry of a try that ended with f, which a policy asked for, and reports whether it is still
// wanted.
func (x *exchange) backOff(attempt int, f *Failure) bool {
	if x.plan == nil || x.plan.retry == nil {
		return true
	}
	wait := x.plan.retry.Backoff(attempt-1, x.w.random.Uint64())
	if pause := x.pauseLeft(f); pause > 0 {
		// The back-off comes on top, so that those who wait do not return together. Whoever was tried may be asked again.
		wait, x.tried = wait+pause, x.tried[:0]
	}
	if wait > 0 {
		x.sleep(wait)
	}
	return !x.gone && !x.late
}

// pick chooses the endpoint of a try. One that was tried is better than none where a policy asks for more tries
// than there are endpoints.
func (x *exchange) pick() *endpoint {
	set := x.set
	i := x.kept()
	if i < 0 {
		hash, hashed := x.affinity()
		x.w.choice.remote = len(x.tried) > 0 && x.plan != nil && x.plan.remote
		i = x.w.pickFrom(set, x.tport, x.tried, hash, hashed)
		if i < 0 && len(x.tried) > 0 && x.plan != nil && x.plan.retry != nil {
			x.tried = x.tried[:0]
			i = x.w.pickFrom(set, x.tport, nil, hash, hashed)
		}
	}
	if i < 0 {
		return nil
	}
	x.try.at, x.try.open = i, true
	x.try.probe = set.eject.Begin(i, x.w.loop.Now())
	return set.all[i]
}

var errInFlight = errors.New("as many requests are in flight as its limit allows")

// enter counts a request into the bounds of its service.
func (x *exchange) enter() *Failure {
	if x.set == nil {
		return nil
	}
	x.set.budget.Deposit(x.w.loop.Now())
	if x.set.bounds == nil {
		return nil
	}
	if !x.set.bounds.Acquire(resilience.Requests) {
		if x.target == nil {
			return &Failure{"pick", 503, flagLimit, fmt.Errorf("%s: %w", x.where(), errInFlight)}
		}
		return &Failure{"pick", 503, flagLimit, fmt.Errorf("service %s: %w", x.target.Name, errInFlight)}
	}
	x.entered = true
	return nil
}

// leave takes it out again.
func (x *exchange) leave() {
	x.retryDone()
	if x.entered {
		x.entered = false
		x.set.bounds.Release(resilience.Requests)
	}
}

// grpcPrefix begins the media types of gRPC.
const grpcPrefix = "application/grpc"

func isGRPCWeb(h *message.Head) bool {
	return strings.HasPrefix(h.Get("content-type"), grpcPrefix+"-web")
}

func isGRPC(h *message.Head) bool { return strings.HasPrefix(h.Get("content-type"), grpcPrefix) }

// usesEWMA reports whether the latency of answers matters.
func (s *endpointSet) usesEWMA() bool {
	return s != nil && s.chooser != nil && s.pool.upstream.Balance.Algorithm == model.PeakEWMA
}
