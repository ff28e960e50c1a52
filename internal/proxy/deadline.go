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

// maxDeadlines bounds the requests that come in with a deadline and are remembered while they are answered.
const maxDeadlines = 65_536

// keepPassed is for how long after a request has ended by its deadline, or without an answer, what its program asks for on
// its behalf is refused: a program that was slow to ask must not begin work that nobody bounds.
const keepPassed = 30 * time.Second

// passed is a deadline that is remembered after its request.
type passed struct {
	id       string
	deadline time.Time
	until    time.Time
}

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
	if x.o.kind != fromMesh && len(x.w.deadlines) > 0 {
		if at, ok := x.w.deadlines[x.rec.RequestID]; ok {
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
		x.forgive()
	}
	if !told && own == 0 {
		return nil
	}
	x.deadline = resilience.NewDeadline(caller, told, own)
	if _, ok := x.deadline.Left(0, 0); !ok {
		return &Failure{"route", 504, flagDeadline, errDoomed}
	}
	x.startTimeout(x.deadline.Total)
	x.w.forgetPassed()
	if told && x.o.kind == fromMesh && x.rec.RequestID != "" && len(x.w.deadlines) < maxDeadlines {
		if x.w.deadlines == nil {
			x.w.deadlines = map[string]time.Time{}
		}
		x.remembered = strings.Clone(x.rec.RequestID)
		x.w.deadlines[x.remembered] = x.rec.Start.Add(caller)
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

// forgetDeadline ends what boundInTime remembered: at once if the request was answered in time, else after a while.
func (x *exchange) forgetDeadline() {
	if x.remembered == "" {
		return
	}
	id, now := x.remembered, x.w.loop.Now()
	x.remembered = ""
	at, there := x.w.deadlines[id]
	switch {
	case !there:
	case now.Before(at) && !x.gone, len(x.w.passed) >= maxDeadlines:
		delete(x.w.deadlines, id)
	default:
		x.w.passed = append(x.w.passed, passed{id, at, now.Add(keepPassed)})
	}
}

// forgetPassed forgets the deadlines that have been kept for long enough; they are in the order of time.
func (w *worker) forgetPassed() {
	now, n := w.loop.Now(), 0
	for n < len(w.passed) && w.passed[n].until.Before(now) {
		if p := &w.passed[n]; w.deadlines[p.id].Equal(p.deadline) { // not a later request's with the same ID
			delete(w.deadlines, p.id)
		}
		n++
	}
	w.passed = w.passed[n:]
}

// forgive forgets a deadline that has passed when its caller asks again with the same ID, as in a retry, and does not say
// that it is in a hurry.
func (x *exchange) forgive() {
	if at, ok := x.w.deadlines[x.rec.RequestID]; ok && !x.w.loop.Now().Before(at) {
		delete(x.w.deadlines, x.rec.RequestID)
	}
}
