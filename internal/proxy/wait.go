package proxy

import (
	"fmt"
	"time"

	"github.com/weft-mesh/weft/internal/loop"
	"github.com/weft-mesh/weft/internal/resilience"
)

// What bounds an exchange in time: the whole of it (late), a try (tryLate), silence (idle). A timer that fires
// aborts the stream at hand, which wakes whoever waits for it, and wakes the exchange's task where it waits for
// something else.

// timing is what an exchange knows of its time.
type timing struct {
	deadline   resilience.Deadline
	remembered string        // the request ID by which what this one leads to finds the deadline
	limit      time.Duration // of the whole exchange

	late     bool       // the exchange has taken too long
	overtime bool       // its caller's deadline has passed
	tryLate  bool       // the present try has
	silent   bool       // nothing came or went for too long
	aged     bool       // a connection of bytes is as old as it may become
	slept    bool       // sleep's time is over
	parked   *loop.Task // the exchange's, where timers and the client's leaving wake it

	timer, tryTimer, pause, idleTimer loop.Timer

	quiet   int    // looks at the content since some came or went
	carried uint64 // bytes at the last look

	tryLimit  time.Duration // of the present try; 0: none
	idleLimit time.Duration // of silence; 0: none
}

// startTimeout bounds the exchange from its beginning on.
func (x *exchange) startTimeout(d time.Duration) {
	if d > 0 {
		x.limit = d
		x.w.loop.AfterFunc(&x.timer, d, x.onLate)
	}
}

// callerGrace is how much longer than its own deadline a caller is given that has part of its answer: it is about to give
// up by itself, and makes less of an answer that is cut a moment before than of one that it has left.
const callerGrace = 50 * time.Millisecond

// whenLate ends an exchange that has taken too long.
func (x *exchange) whenLate() {
	if x.answered && !x.overtime && x.deadline.By == resilience.ByCaller {
		x.overtime = true
		x.w.loop.AfterFunc(&x.timer, callerGrace, x.onLate)
		return
	}
	x.late = true
	x.interrupt()
}

// startTry bounds a try.
func (x *exchange) startTry() {
	x.tryLate, x.tryStart = false, x.w.loop.Now()
	x.tryLimit = 0
	if x.plan != nil {
		x.tryLimit = x.plan.tryTimeout
	}
	if x.opaque && x.tunnelFor(x.ep) != nil {
		x.tryLimit = x.patience() // a forward proxy may not answer
	}
	if x.tryLimit > 0 {
		x.w.loop.AfterFunc(&x.tryTimer, x.tryLimit, x.onTryLate)
	}
}

// whenTryLate ends a try; the exchange may make another.
func (x *exchange) whenTryLate() {
	x.tryLate = true
	x.interrupt()
}

// interrupt ends what the exchange does at the moment.
func (x *exchange) interrupt() {
	if x.collecting {
		x.down.StopReceiving()
	}
	x.abortAll(abortCancel)
	if x.answered {
		x.down.Abort(abortInternal) // the answer has begun: it is cut
	}
	x.w.loop.Wake(x.parked)
}

// patience is how long the exchange may wait for a connection.
func (x *exchange) patience() time.Duration {
	d, now := x.ep.timing.ConnectTimeout, x.w.loop.Now()
	if x.limit > 0 {
		d = min(d, x.rec.Start.Add(x.limit).Sub(now))
	}
	if x.plan != nil && x.plan.tryTimeout > 0 {
		d = min(d, x.plan.tryTimeout)
	}
	return max(d, time.Millisecond)
}

// sleep parks the exchange for a time, unless its client leaves or it is late.
func (x *exchange) sleep(d time.Duration) {
	x.parked = x.w.loop.Current()
	x.slept = false
	x.w.loop.AfterFunc(&x.pause, d, x.onSlept)
	for !x.slept && !x.gone && !x.late {
		x.w.loop.Park()
	}
	x.pause.Stop()
	x.parked = nil
}

func (x *exchange) whenSlept() {
	x.slept = true
	x.w.loop.Wake(x.parked)
}

// stopTimers is called when an exchange ends.
func (x *exchange) stopTimers() {
	x.timer.Stop()
	x.tryTimer.Stop()
	x.pause.Stop()
	x.idleTimer.Stop()
	x.forgetDeadline()
}

// expired reports that the exchange, or its present try, must not wait any longer.
func (x *exchange) expired() bool { return x.late || x.tryLate || x.silent || x.aged }

// timeoutFailure says which bound was reached.
func (x *exchange) timeoutFailure() *Failure {
	what, d := "the request", x.limit
	switch {
	case x.silent:
		return &Failure{"receive", 504, flagTimeout, fmt.Errorf("nothing came or went for %s", x.idleLimit)}
	case x.aged:
		return &Failure{"receive", 504, flagTimeout, fmt.Errorf("the connection may be %s old, as its policy says", x.limit)}
	case !x.late:
		what, d = "a try", x.tryLimit
	case x.deadline.By == resilience.ByCaller:
		return &Failure{"receive", 504, flagDeadline, fmt.Errorf("the caller waits no longer than %s", d)}
	}
	return &Failure{"receive", 504, flagTimeout, fmt.Errorf("%s took longer than %s", what, d)}
}
