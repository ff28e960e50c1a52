package proxy

import (
	"errors"
	"strings"
	"time"

	"github.com/weft-mesh/weft/internal/resilience"
)

// A caller's deadline travels with its requests: as gRPC's own field, as weft-deadline-ms, and through programs that
// know of neither but pass on x-request-id, as most do for tracing: what a program asks for on behalf of a request
// that it is answering inherits what is left of that request's time.

var errDoomed = errors.New("the caller does not wait any longer")

// readDeadline finds out how long the caller waits. told is false when it does not say.
func (x *exchange) readDeadline() (left time.Duration, told bool) {
	take := func(d time.Duration, err error) {
		if err == nil && (!told || d < left) {
			left, told = d, true
		}
	}
	if v := x.req.Get(resilience.FieldGRPCTimeout); v != "" {
		take(resilience.ParseGRPCTimeout(v))
	}
	if v := x.req.Get(resilience.FieldDeadline); v != "" {
		take(resilience.ParseDeadline(v))
	}
	if x.o.kind != fromMesh {
		if at, ok := x.w.e.inherited.deadline(x.rec.RequestID); ok {
			take(at.Sub(x.w.loop.Now()), nil)
		}
	}
	return left, told
}

// boundInTime limits the exchange by what the caller waits and what the policy allows, whichever is shorter. Work for a
// caller who has left is refused before it is sent anywhere.
func (x *exchange) boundInTime() *Failure {
	var own time.Duration
	if x.plan != nil {
		own = x.plan.timeout
	}
	caller, told := x.readDeadline()
	if !told && x.o.kind == fromMesh {
		x.w.e.inherited.forgive(x.rec.RequestID, x.w.loop.Now())
	}
	if !told && own == 0 {
		return nil
	}
	x.deadline = resilience.NewDeadline(caller, told, own)
	if _, ok := x.deadline.Left(0, 0); !ok {
		return &Failure{"route", 504, flagDeadline, errDoomed}
	}
	x.startTimeout(x.deadline.Total)
	if told && x.o.kind == fromMesh && x.rec.RequestID != "" {
		id := strings.Clone(x.rec.RequestID)
		if x.w.e.inherited.remember(id, x.rec.Start.Add(caller), x.w.loop.Now()) {
			x.remembered = id
		}
	}
	return nil
}

// tellDeadline writes what is left for whoever is asked next.
func (x *exchange) tellDeadline() {
	if x.deadline.By == resilience.Unbounded {
		return
	}
	left, _ := x.deadline.Left(x.w.loop.Now().Sub(x.rec.Start), 0)
	if x.plan != nil && x.plan.tryTimeout > 0 {
		left = min(left, x.plan.tryTimeout)
	}
	field := resilience.FieldDeadline
	if x.w.scratch = resilience.AppendDeadline(x.w.scratch[:0], left); isGRPC(x.req) {
		field = resilience.FieldGRPCTimeout
		x.w.scratch = resilience.AppendGRPCTimeout(x.w.scratch[:0], left)
	}
	x.req.Set(field, x.req.Keep(x.w.scratch))
}

// deadlinePassed reports, by the clock itself, that the time told to the server is over. The server may say so before
// our own timer does, which is armed by the loop's clock.
func (x *exchange) deadlinePassed() bool {
	_, left := x.deadline.Left(time.Since(x.rec.Start), 0)
	return !left
}

// forgetDeadline ends what boundInTime remembered.
func (x *exchange) forgetDeadline() {
	if x.remembered != "" {
		x.w.e.inherited.forget(x.remembered, x.w.loop.Now(), x.gone)
		x.remembered = ""
	}
}
